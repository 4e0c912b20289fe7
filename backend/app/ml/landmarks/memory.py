"""Working memory that each thread keeps between calls.

Arrays of some hundred kilobytes are handed back to the system when they are freed, and getting them again, page by
page, costs more than the arithmetic on them.
"""

import math
import threading
from typing import Final

import numpy as np

from app.ml.types import FloatArray


class _Memory(threading.local):
    def __init__(self) -> None:
        self._values: dict[str, FloatArray] = {}

    def take(self, name: str, *shape: int) -> FloatArray:
        """A float32 array with anything in it; taking the same name again in this thread gives it away again."""
        size = math.prod(shape)
        values = self._values.get(name)
        if values is None or values.size < size:
            values = self._values[name] = np.empty(size, np.float32)
        return values[:size].reshape(shape)


MEMORY: Final = _Memory()
