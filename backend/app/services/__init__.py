"""What the product does, without HTTP: sessions, captions, feedback, models."""
