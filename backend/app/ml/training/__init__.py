"""What a training run is made of, up to the whole run; only `training.run` may import `evaluation`."""
