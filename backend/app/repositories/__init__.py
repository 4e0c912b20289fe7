"""Reads and writes of the database, one class a table."""
