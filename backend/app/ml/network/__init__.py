"""Networks as they are served: landmarks in, answers out; may import `model` and `landmarks`."""
