"""The language of 75 points: layout, normalisation, features, augmentation, wire format; imports no other room."""
