"""Where the person is and how large: the robust frame that all points are brought to, in PyTorch.

Shapes: B windows, G grid steps, P points (some of the pose's, then both hands').
"""

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from app.ml.landmarks.layout import KNUCKLE_ROW, LEFT_SHOULDER, NUM_HAND, RIGHT_SHOULDER
from app.ml.landmarks.normalise import FALLBACK_SHOULDER_WIDTH, MAX_COORDINATE, MIN_PALM, MIN_SHOULDER_WIDTH
from app.ml.network.linear_maps import XY, Vector, make_vectors, span, sum_groups

_NUM_MEDIANS: Final = 5
"""x and y between the shoulders, the shoulder width, the size of the left and of the right palm."""

_MAX_ASPECT: Final = 1e5
"""No camera has such a shape; it counts as a square."""
_UNKNOWN: Final = 1e12
"""Stands for a median of nothing; infinity times a matrix's zeros would be NaN."""


class Body(NamedTuple):
    """A window's points.

    Attributes:
        points: `[B, G, P * 3]` in shoulder widths from the point between the shoulders; any number where missing.
        missing: `[B, G, P]`, 1 where a point is missing, 0 elsewhere.
        in_palms: `[B, G, 42 * 3]`, the hands' points in sizes of their own palm, from an origin that is no matter.
    """

    points: Tensor
    missing: Tensor
    in_palms: Tensor


class BodyFrame(nn.Module):
    """Brings points to shoulder widths from between the shoulders: `landmarks.normalise`, medians over the window.

    Coordinates beyond `MAX_COORDINATE` count as missing: their squares would overflow.
    """

    linear: Tensor
    sums: Tensor
    means: Tensor
    needs: Tensor
    every_point: Tensor
    each_hand: Tensor

    def __init__(self, *, num_pose: int) -> None:
        super().__init__()
        num_points = num_pose + 2 * NUM_HAND
        hands = (num_pose, num_pose + NUM_HAND)
        of_hands = range(num_pose, num_points)
        shoulders = (LEFT_SHOULDER, RIGHT_SHOULDER)
        reaches = [Vector(hand + knuckle, hand) for hand in hands for knuckle in KNUCKLE_ROW]

        points = make_vectors([Vector(point) for point in range(num_points)], num_points=num_points, axes=XY)
        middle = points @ sum_groups([[2 * s + axis for s in shoulders] for axis in XY], num_inputs=2 * num_points) / 2
        totals = points @ sum_groups([[2 * p + axis for p in of_hands] for axis in XY], num_inputs=2 * num_points)
        width = make_vectors([Vector(*shoulders)], num_points=num_points, axes=XY)
        reach = make_vectors(reaches, num_points=num_points)
        sums = sum_groups([span(0, 2), *(span(i, 3, first=2) for i in range(8))], num_inputs=26)
        means = sum_groups([[0], range(1, 5), range(5, 9)], num_inputs=9) / torch.tensor([1.0, 4.0, 4.0])
        palms = [(hand, *(hand + knuckle for knuckle in KNUCKLE_ROW)) for hand in hands]
        needs = sum_groups([shoulders, shoulders, shoulders, *palms, of_hands], num_inputs=num_points)
        for name, matrix in (
            ("linear", torch.cat([middle, totals, width, reach], 1)),
            ("sums", sums),
            ("means", means),
            ("needs", needs),
            ("every_point", torch.eye(3).repeat(1, num_points)),
            ("each_hand", torch.eye(2).repeat_interleave(3 * NUM_HAND, 1)),
        ):
            self.register_buffer(name, matrix, persistent=False)

    def forward(self, points: Tensor, aspect: Tensor) -> Body:
        """Normalise.

        Args:
            points: `[B, G, P * 3]`, fractions of the frame, NaN where missing.
            aspect: `[B]`, the frame's width by its height.
        """
        usable = points.abs() <= MAX_COORDINATE  # false for NaN
        there = usable[..., 0::3] & usable[..., 1::3] & usable[..., 2::3]
        missing = 1.0 - there.to(points.dtype)
        is_shape = (aspect >= 1.0 / _MAX_ASPECT) & (aspect <= _MAX_ASPECT)
        aspect = torch.where(is_shape, aspect, 1.0)
        isotropic = torch.stack([aspect, torch.ones_like(aspect), aspect], -1) @ self.every_point
        points = torch.where(usable, points, 0.0) * isotropic.unsqueeze(1)

        linear = points @ self.linear
        differences = linear[..., 4:]
        lengths = ((differences * differences) @ self.sums).sqrt() @ self.means
        needs = missing @ self.needs
        middle_and_sizes = torch.cat([linear[..., :2], lengths], -1)
        median = _median_over_time(middle_and_sizes, needs[..., :_NUM_MEDIANS] < 0.5)

        width = median[:, 2:3]
        seen = (width > MIN_SHOULDER_WIDTH) & (width < _UNKNOWN / 2)
        num_seen = (2.0 * NUM_HAND - needs[..., _NUM_MEDIANS:]).sum(1)
        mean_of_hands = linear[..., 2:4].sum(1) / num_seen.clamp(min=1.0)
        centre = torch.where(seen, median[:, :2], mean_of_hands)
        width = torch.where(seen, width, FALLBACK_SHOULDER_WIDTH)
        palms = torch.maximum(median[:, 3:], MIN_PALM * width) @ self.each_hand
        scale = 1.0 / width
        offset = torch.cat([centre, torch.zeros_like(width)], -1) * scale @ self.every_point
        in_palms = points[..., -6 * NUM_HAND :] / palms.unsqueeze(1)
        return Body(points * scale.unsqueeze(1) - offset.unsqueeze(1), missing, in_palms)


def _median_over_time(values: Tensor, known: Tensor) -> Tensor:
    """Median over the steps of the values that are known, `[B, G, N]` to `[B, N]`; `_UNKNOWN` where none is."""
    ordered = torch.where(known, values, _UNKNOWN).sort(1).values
    count = known.to(values.dtype).sum(1, keepdim=True)
    places = torch.cat([(count - 1.0) * 0.5, count * 0.5], 1).clamp(min=0.0).to(torch.int64)  # rounds down
    last = values.shape[1] - 1
    return ordered.gather(1, places.clamp(max=last)).sum(1) * 0.5
