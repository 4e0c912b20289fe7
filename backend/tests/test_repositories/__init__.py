"""Tests; each folder mirrors the source it tests."""
