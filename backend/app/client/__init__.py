"""A client of SignFlow's own server: what replay, benchmark and tests speak `signflow.v1` with."""
