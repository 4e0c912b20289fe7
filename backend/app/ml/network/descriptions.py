"""What models read of a body, by feature specification (`landmarks/features.py` says what each value is), in PyTorch.

What is linear in the points is one product with a constant matrix; squares, dot and cross products are a second one,
over products of its columns; which points a value needs is a third, over flags of missing points. So few and large
operators cost little on one window and on many.

Shapes: B windows, G grid steps, N = B * G rows, F features.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from app.ml.landmarks.features import FACED, LIMIT, MATCHING, SLOWED
from app.ml.landmarks.layout import (
    FINGERTIPS,
    LEFT_ELBOW,
    LEFT_SHOULDER,
    LEFT_WRIST,
    NOSE,
    NUM_HAND,
    NUM_POINTS,
    NUM_POSE,
    RIGHT_ELBOW,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
)
from app.ml.network.body import Body
from app.ml.network.linear_maps import XY, XYZ, Vector, make_vectors, span, sum_groups

_EPSILON: Final = 1e-6
_HAND: Final = 3 * NUM_HAND


def _velocity(places: Tensor, missing: Tensor, *, step_s: float) -> Tensor:
    """Central differences per second, `[B, G, V]`; one-sided at the ends and beside a gap, zero where nothing is known.

    Args:
        places: `[B, G, V]`, any number where missing.
        missing: `[B, G, V]`, above 0 where a value is.
    """
    known = (missing < 0.5).to(places.dtype)
    both = known[:, 1:] * known[:, :-1]
    change = torch.cat([(places[:, 1:] - places[:, :-1]) * both, both], -1)
    change = functional.pad(change, (0, 0, 1, 1))
    total, count = (change[:, :-1] + change[:, 1:]).split(places.shape[-1], -1)
    return total / (count.clamp(min=1.0) * step_s)


def _cosine(dot: Tensor, square: Tensor, other: Tensor) -> Tensor:
    return dot / (square.sqrt() * other.sqrt() + _EPSILON)


class _Relations(nn.Module):
    """What arms and hands are to each other: 4 cosines in the picture plane, 5 distances between the hands."""

    linear: Tensor
    sums: Tensor

    def __init__(self, *, num_pose: int, axes: Sequence[int]) -> None:
        super().__init__()
        num_points = num_pose + 2 * NUM_HAND
        left, right = num_pose, num_pose + NUM_HAND
        first = [Vector(LEFT_SHOULDER, LEFT_ELBOW), Vector(RIGHT_SHOULDER, RIGHT_ELBOW)]
        first += [Vector(LEFT_ELBOW, left), Vector(RIGHT_ELBOW, right)]
        second = [Vector(LEFT_WRIST, LEFT_ELBOW), Vector(RIGHT_WRIST, RIGHT_ELBOW)]
        second += [Vector(left + 9, left), Vector(right + 9, right)]
        between = [Vector(left + point, right + point) for point in MATCHING]
        planar = [[*first, *first, *second], [*second, *first, *second]]
        self.size = 2 * 12 + len(axes) * 5
        self.linear = torch.cat(
            [
                matrix
                for vectors in planar
                for matrix in (
                    make_vectors(vectors, num_points=num_points, axes=XY),
                    make_vectors(between, num_points=num_points, axes=axes),
                )
            ],
            1,
        )
        groups = [*(span(i, 2) for i in range(12)), *(span(i, len(axes), first=24) for i in range(5))]
        self.register_buffer("sums", sum_groups(groups, num_inputs=self.size), persistent=False)
        self.angle_needs = [sorted({*a.points, *b.points}) for a, b in zip(first, second, strict=True)]
        self.between_needs = [one.points for one in between]

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Both halves of a row times `linear` to cosines `[B, G, 4]` and distances `[B, G, 5]`."""
        dots, first, second, between = ((left * right) @ self.sums).split((4, 4, 4, 5), -1)
        return _cosine(dots, first, second), between.sqrt()


_BONES: Final = [
    [Vector(4 * finger + 1, 0), *(Vector(4 * finger + joint, 4 * finger + joint - 1) for joint in (2, 3, 4))]
    for finger in range(5)
]
"""Of each finger: from each joint to the next one, beginning at the wrist."""
_THUMB: Final = FINGERTIPS[0]
_APART: Final = [
    *(Vector(_THUMB, tip) for tip in FINGERTIPS[1:]),
    *(Vector(tip, following) for tip, following in pairwise(FINGERTIPS[1:])),
    *(Vector(_THUMB, knuckle) for knuckle in (5, 17)),
]
"""The thumb from each other finger, neighbours from each other, the thumb from both ends of the palm."""
_ALONG: Final = Vector(9, 0)
_ACROSS: Final = Vector(17, 5)
_SHAPE_NEEDS: Final = [
    *((0, joint) for joint in range(1, NUM_HAND) for _ in XYZ),
    *(sorted({*a.points, *b.points}) for bones in _BONES for a, b in pairwise(bones)),
    *(one.points for one in _APART),
    *((*_ALONG.points, *_ACROSS.points) for _ in XYZ),
    *(_ALONG.points for _ in XYZ),
]
"""Points that each of the 90 values of a hand's shape needs."""


class _HandShape(nn.Module):
    """A hand by itself, in palm sizes: 20 places, 15 bends, 9 distances, 2 directions: 90 values; and 10 of its tips,
    x and y of each, for their motion."""

    linear: Tensor
    squares: Tensor
    dots: Tensor

    def __init__(self) -> None:
        super().__init__()
        relative = [Vector(joint, 0) for joint in range(1, NUM_HAND)]
        tips = [Vector(tip, 0) for tip in FINGERTIPS]
        squared = [*(bone for bones in _BONES for bone in bones), *_APART, _ALONG]
        earlier = [bone for bones in _BONES for bone in bones[:-1]]
        later = [bone for bones in _BONES for bone in bones[1:]]
        # A cross product is the difference of two products of turned axes.
        turned, turned_back = (1, 2, 0), (2, 0, 1)
        parts = (
            (relative, XYZ),
            (tips, XY),
            (squared, XYZ),
            (earlier, XYZ), ([_ALONG], turned), ([_ALONG], turned_back),
            (later, XYZ), ([_ACROSS], turned_back), ([_ACROSS], turned),
        )  # fmt: skip
        linear = torch.cat([make_vectors(vectors, num_points=NUM_HAND, axes=axes) for vectors, axes in parts], 1)
        joints = [span(4 * finger + joint, 3) for finger in range(5) for joint in range(4)]
        groups = [
            *(joints[4 * finger + joint] for finger in range(5) for joint in range(3)),
            *(joints[4 * finger + joint + 1] for finger in range(5) for joint in range(3)),
            *(span(i, 3) for i in range(20, 30)),
        ]
        dots = sum_groups([*(span(i, 3) for i in range(15)), *((45 + axis,) for axis in XYZ)], num_inputs=51)
        dots -= sum_groups([*([()] * 15), *((48 + axis,) for axis in XYZ)], num_inputs=51)
        self.register_buffer("linear", linear, persistent=False)
        self.register_buffer("squares", sum_groups(groups, num_inputs=90), persistent=False)
        self.register_buffer("dots", dots, persistent=False)

    def forward(self, hands: Tensor) -> tuple[Tensor, Tensor]:
        """Points of hands in palm sizes `[N, 63]` to `[N, 90]` and `[N, 10]`."""
        relative, tips, squared, left, right = (hands @ self.linear).split((60, 10, 90, 51, 51), -1)
        lengths = ((squared * squared) @ self.squares).sqrt()
        earlier, later, apart, along = lengths.split((15, 15, 9, 1), -1)
        dots, normal = ((left * right) @ self.dots).split((15, 3), -1)
        bends = dots / (earlier * later + _EPSILON)
        normal = normal / ((normal * normal).sum(-1, keepdim=True).sqrt() + _EPSILON)
        along = relative[..., 24:27] / (along + _EPSILON)
        return torch.cat([relative, -bends, apart, normal, along], -1), tips


class Hands256(nn.Module):
    """`hands256`."""

    num_pose = NUM_HAND
    linear: Tensor
    needs: Tensor

    def __init__(self, *, step_ms: float) -> None:
        super().__init__()
        self.step_s = step_ms / 1000 / SLOWED
        num_points = self.num_pose + 2 * NUM_HAND
        left, right = self.num_pose, self.num_pose + NUM_HAND
        self.shape = _HandShape()
        self.relations = _Relations(num_pose=self.num_pose, axes=XY)
        moved = [[Vector(hand), Vector(hand + 9)] for hand in (left, right)]
        wrists = [Vector(LEFT_WRIST), Vector(RIGHT_WRIST)]
        elbows = [Vector(LEFT_ELBOW), Vector(RIGHT_ELBOW)]
        faced = [[Vector(hand + point, NOSE) for point in FACED] for hand in (left, right)]
        placed = [*moved[0], *faced[0], *moved[1], *faced[1], *moved[0], *moved[1], *wrists, *elbows, *wrists]
        placed += [Vector(NOSE), Vector(left, right)]
        linear = torch.cat([self.relations.linear, make_vectors(placed, num_points=num_points, axes=XY)], 1)
        self.register_buffer("linear", linear, persistent=False)

        needs: list[Sequence[int]] = []
        motion: list[Sequence[int]] = []
        for side, hand in enumerate((left, right)):
            needs += [[hand + point for point in points] for points in _SHAPE_NEEDS]
            needs += [one.points for one in (*moved[side], *faced[side]) for _ in XY]
            needs += [()] * 14 + [(hand,)]
            motion += [one.points for one in moved[side] for _ in XY]
            motion += [(hand, hand + tip) for tip in FINGERTIPS for _ in XY]
        motion += [one.points for one in wrists for _ in XY]
        needs += [one.points for one in (*elbows, *wrists) for _ in XY] + [()] * 4
        needs += [*self.relations.angle_needs, (NOSE,), (NOSE,), *self.relations.between_needs]
        needs += [(left, right), (left, right), (NOSE,)]
        self.register_buffer("needs", sum_groups([*needs, *motion], num_inputs=num_points), persistent=False)

    def forward(self, body: Body) -> Tensor:
        """To features `[B, G, 256]`."""
        batch = body.points.shape[0]
        shape, tips = self.shape(body.in_palms.reshape(-1, _HAND))
        half = self.relations.size
        left, right, of_hands, moved, wrists, arms, rest = (body.points @ self.linear).split(
            (half, half, 20, 8, 4, 8, 4), -1
        )
        angles, between = self.relations(left, right)
        absent, motion_absent = (body.missing @ self.needs).split((256, 32), -1)
        there = (absent < 0.5).to(shape.dtype)
        moving = torch.cat([moved.reshape(-1, 4), tips], -1).reshape(batch, -1, 28)
        motion = _velocity(torch.cat([moving, wrists], -1), motion_absent, step_s=self.step_s)
        hands = torch.cat(
            [
                shape,
                of_hands.reshape(-1, 10),
                motion[..., :28].reshape(-1, 14),
                torch.ones_like(tips[:, :1]),
            ],
            -1,
        ).reshape(batch, -1, 230)
        nose, apart = rest.split(2, -1)
        features = torch.cat(
            [hands, arms, motion[..., 28:], angles, nose, between, apart, torch.ones_like(nose[..., :1])], -1
        )
        return features.clamp(-LIMIT, LIMIT) * there


class Base469(nn.Module):
    """`base469`."""

    num_pose = NUM_POSE
    linear: Tensor
    needs: Tensor
    reach: Tensor
    sums: Tensor

    def __init__(self, *, step_ms: float) -> None:
        super().__init__()
        self.step_s = step_ms / 1000
        hands = (NUM_POSE, NUM_POSE + NUM_HAND)
        self.relations = _Relations(num_pose=NUM_POSE, axes=XYZ)
        self.register_buffer("linear", self.relations.linear, persistent=False)
        reach = make_vectors([Vector(tip, 0) for tip in FINGERTIPS], num_points=NUM_HAND)
        self.register_buffer("reach", reach, persistent=False)
        self.register_buffer("sums", sum_groups([span(i, 3) for i in range(5)], num_inputs=15), persistent=False)
        points = [(point,) for point in range(NUM_POINTS) for _ in XYZ]
        needs = [*points, *([()] * 225), *self.relations.between_needs, *self.relations.angle_needs]
        needs += [(hand, hand + tip) for hand in hands for tip in FINGERTIPS]
        self.register_buffer("needs", sum_groups([*needs, *points], num_inputs=NUM_POINTS), persistent=False)

    def forward(self, body: Body) -> Tensor:
        """To features `[B, G, 469]`."""
        half = self.relations.size
        angles, between = self.relations(*(body.points @ self.linear).split(half, -1))
        reach = body.in_palms.reshape(-1, _HAND) @ self.reach
        shape = ((reach * reach) @ self.sums).sqrt().reshape(body.points.shape[0], -1, 10)
        absent, motion_absent = (body.missing @ self.needs).split((469, 225), -1)
        motion = _velocity(body.points, motion_absent, step_s=self.step_s)
        features = torch.cat([body.points, motion, between, angles, shape], -1)
        return features.clamp(-LIMIT, LIMIT) * (absent < 0.5).to(features.dtype)


class Landmarks75(nn.Module):
    """`landmarks75`."""

    num_pose = NUM_POSE
    each_axis: Tensor

    def __init__(self) -> None:
        super().__init__()
        points = sum_groups([(point,) for point in range(NUM_POINTS) for _ in XYZ], num_inputs=NUM_POINTS)
        self.register_buffer("each_axis", points, persistent=False)

    def forward(self, body: Body) -> Tensor:
        """To landmarks `[B, G, 75, 3]`, NaN where missing."""
        points = torch.where(body.missing @ self.each_axis < 0.5, body.points.clamp(-LIMIT, LIMIT), torch.nan)
        return points.reshape(points.shape[0], -1, NUM_POINTS, 3)


def make_description(name: str, *, step_ms: float) -> Hands256 | Base469 | Landmarks75:
    """The description of a feature specification.

    Raises:
        KeyError: there is none of this name; `get_feature_spec` says which there are.
    """
    return {
        "hands256": lambda: Hands256(step_ms=step_ms),
        "base469": lambda: Base469(step_ms=step_ms),
        "landmarks75": Landmarks75,
    }[name]()
