"""Command lines over `app`: import, train, evaluate, replay, benchmark."""
