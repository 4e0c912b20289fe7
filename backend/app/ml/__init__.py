"""The ML library: landmarks, features, models, training, inference. Knows no web framework, database, queue or
settings."""
