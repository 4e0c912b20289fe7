"""Settings, logging, errors and background tasks: knows nothing of the rest."""
