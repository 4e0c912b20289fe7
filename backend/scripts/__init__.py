"""Command lines over `app`: import, train, evaluate, replay, benchmark.

Each runs as `python scripts/x.py` and as `python -m scripts.x`.
"""
