"""The 75-point landmark language: layout, normalisation, features, augmentation, extraction."""
