"""What a model is worth, from scores to reports; may import all of the library but `training.run`."""
