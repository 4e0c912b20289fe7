"""Tests of settings, logging and background tasks."""
