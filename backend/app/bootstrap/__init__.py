"""Puts the server together: the only reader of `Settings`, and the only place where implementations are chosen."""
