"""The handler, its archive, and a real TorchServe."""
