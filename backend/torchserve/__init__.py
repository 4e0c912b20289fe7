"""What runs inside TorchServe; `scripts/package_torchserve.py` puts it into a model archive."""
