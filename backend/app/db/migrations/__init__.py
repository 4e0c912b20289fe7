"""Database migrations, oldest first by their revision numbers."""
