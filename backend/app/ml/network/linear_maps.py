"""Constant matrices that do to all grid steps at once what features need: make vectors of points, sum up products, and
say which points a value needs.

A row holds `P * 3` values, x, y, z of a point together.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

XYZ = (0, 1, 2)
XY = (0, 1)


class Vector(NamedTuple):
    """From the point `start` to the point `end`; from the origin when `start` is None."""

    end: int
    start: int | None = None

    def moved(self, by: int) -> "Vector":
        """The same between points whose numbers are higher."""
        return Vector(self.end + by, None if self.start is None else self.start + by)

    @property
    def points(self) -> tuple[int, ...]:
        """What it needs."""
        return (self.end,) if self.start is None else (self.end, self.start)


def make_vectors(vectors: Sequence[Vector], *, num_points: int, axes: Sequence[int] = XYZ) -> Tensor:
    """Matrix `[num_points * 3, len(vectors) * len(axes)]`: a row times it gives the vectors, the axes of each together.

    Args:
        vectors: in the order of their columns.
        num_points: P.
        axes: which coordinates, in which order.
    """
    matrix = torch.zeros(num_points, 3, len(vectors), len(axes))
    for number, vector in enumerate(vectors):
        for place, axis in enumerate(axes):
            matrix[vector.end, axis, number, place] += 1
            if vector.start is not None:
                matrix[vector.start, axis, number, place] -= 1
    return matrix.reshape(num_points * 3, -1)


def sum_groups(groups: Sequence[Iterable[int]], *, num_inputs: int) -> Tensor:
    """Matrix `[num_inputs, len(groups)]`: a row times it gives the sum of each group of its values."""
    matrix = torch.zeros(num_inputs, len(groups))
    for number, members in enumerate(groups):
        matrix[list(members), number] = 1
    return matrix


def span(number: int, size: int, *, first: int = 0) -> range:
    """Columns of the vector of this number among vectors of `size` axes that begin at column `first`."""
    return range(first + number * size, first + (number + 1) * size)
