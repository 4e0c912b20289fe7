"""A client of SignFlow's own server: what `replay`, the load tests and the tests speak `signflow.v1` with."""
