"""Labels that mean no sign."""

from typing import Final

IDLE: Final = "idle"
"""Background class: a person who does not sign, hands in view or not."""
UNKNOWN: Final = "unknown"
"""Background class: movement of the hands that is none of the model's signs."""
BACKGROUND: Final = (IDLE, UNKNOWN)
