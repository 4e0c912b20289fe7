"""Reads landmarks as what they are: joints of a skeleton, some of them missing.

Shapes: B batch, T frames (padded), 75 joints (`landmarks/layout.py`), C channels of a joint.
"""

from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from app.ml.landmarks.layout import EDGES, LEFT_HAND, LEFT_WRIST, NOSE, NUM_POINTS, RIGHT_HAND, RIGHT_WRIST

SPATIAL_FEATURES: Final = 256
"""Width of what the encoder gives for each frame."""
GRAPH_EDGES: Final = (
    *EDGES,
    (LEFT_WRIST, LEFT_HAND.start),
    (RIGHT_WRIST, RIGHT_HAND.start),
    *((LEFT_WRIST, point) for point in (17, 19, 21)),
    *((RIGHT_WRIST, point) for point in (18, 20, 22)),
)
"""The bones, and what joins each hand to its arm: a hand is found apart from the body and has a wrist of its own."""
_NUM_INPUTS: Final = 13
_HAND_SCALE: Final = 4.0
"""A palm is about a quarter of the shoulders' width: this brings what is measured inside a hand to the scale of the
rest."""
_MOTION_SCALE: Final = 6.0
"""From shoulder widths a grid step of 50 ms to 0.3 a second, as `hands256` has it."""


class SpatialLandmarkEncoder(nn.Module):
    """Two graph convolutions over hands and body, then one linear map that still knows every joint by its place.

    A joint starts with its position, its place relative to its own wrist (in the body: to the nose), the bone that
    leads to it, its movement, and whether it is there. A convolution is Kipf and Welling's (2017, arXiv:1609.02907)
    with a weight of its own for the joint itself and the mean taken over the neighbours that are present. The graph is
    a dense 75 x 75 matrix: faster than gathering edges at this size, and it exports as a matrix product.

    Missing joints and padding change nothing, whatever numbers stand there.
    """

    _adjacency: Tensor
    _anchor: Tensor
    _parent: Tensor
    _scale: Tensor

    def __init__(self, *, joint_channels: int, joint_outputs: int, num_features: int = SPATIAL_FEATURES) -> None:
        """Build the encoder.

        Args:
            joint_channels: C inside the two convolutions.
            joint_outputs: values that each joint hands to the frame's vector.
            num_features: width of the frame's vector.
        """
        super().__init__()
        self.register_buffer("_adjacency", _adjacency(GRAPH_EDGES), persistent=False)
        self.register_buffer("_anchor", _anchors(), persistent=False)
        self.register_buffer("_parent", _parents(GRAPH_EDGES), persistent=False)
        self.register_buffer("_scale", _scales(), persistent=False)
        self.joint = nn.Parameter(torch.randn(NUM_POINTS, 1, joint_channels) * 0.1)
        self.enter = nn.Linear(_NUM_INPUTS, joint_channels)
        self.own = nn.ModuleList([nn.Linear(joint_channels, joint_channels) for _ in range(2)])
        self.neighbours = nn.ModuleList([nn.Linear(joint_channels, joint_channels, bias=False) for _ in range(2)])
        self.leave = nn.Linear(joint_channels, joint_outputs)
        self.frame = nn.Linear(NUM_POINTS * joint_outputs, num_features)
        self.norm = nn.LayerNorm(num_features)

    def forward(self, landmarks: Tensor, mask: Tensor | None = None) -> Tensor:
        """Describe each frame.

        Args:
            landmarks: float32 `[B, T, 75, 3]`, normalised; a joint with NaN in any coordinate is missing.
            mask: bool `[B, T]`, True at real frames; without it all are.

        Returns:
            `[B, T, 256]`.
        """
        batch, frames = landmarks.shape[:2]
        is_present = ~torch.isnan(landmarks.sum(-1, keepdim=True))
        if mask is not None:
            is_present = is_present & mask.reshape(batch, frames, 1, 1)
        x = torch.where(is_present, landmarks, torch.zeros((), dtype=landmarks.dtype, device=landmarks.device))
        present = is_present.to(x.dtype)
        # Joints first, so that the graph is one matrix product over all frames.
        hidden = self._describe(x, present).reshape(batch * frames, NUM_POINTS, _NUM_INPUTS).transpose(0, 1)
        present = present.reshape(batch * frames, NUM_POINTS).t()  # [75, B T]
        share = (present / (self._adjacency @ present).clamp(min=1.0)).unsqueeze(-1)
        present = present.unsqueeze(-1)
        hidden = functional.silu(self.enter(hidden) + self.joint) * present
        for own, others in zip(self.own, self.neighbours, strict=True):
            gathered = (self._adjacency @ others(hidden).flatten(1)).reshape(hidden.shape)
            hidden = hidden + functional.silu(torch.addcmul(own(hidden), gathered, share)) * present
        joints = functional.silu(self.leave(hidden)) * present
        return self.norm(self.frame(joints.transpose(0, 1).reshape(batch, frames, -1)))

    def _describe(self, x: Tensor, present: Tensor) -> Tensor:
        """Position, place, bone, movement and presence of each joint: `[B, T, 75, 13]`."""
        place = (x - x[:, :, self._anchor]) * present[:, :, self._anchor] * self._scale
        bone = (x - x[:, :, self._parent]) * present[:, :, self._parent] * self._scale
        change = x[:, 1:] - x[:, :-1]
        known = present[:, 1:] * present[:, :-1]
        edge = torch.zeros_like(x[:, :1])
        before, after = torch.cat([edge, change * known], 1), torch.cat([change * known, edge], 1)
        counts = torch.cat([edge[..., :1], known], 1) + torch.cat([known, edge[..., :1]], 1)
        motion = (before + after) / counts.clamp(min=1.0) * _MOTION_SCALE
        return torch.cat([x, place, bone, motion, present], -1) * present


def _adjacency(edges: Iterable[tuple[int, int]]) -> Tensor:
    """float32 `[75, 75]`, 1 where two joints are joined and at each joint itself."""
    matrix = torch.eye(NUM_POINTS)
    for first, second in edges:
        matrix[first, second] = matrix[second, first] = 1.0
    return matrix


def _anchors() -> Tensor:
    """int64 `[75]`: the wrist for each point of a hand, the nose for the body."""
    anchors = torch.full((NUM_POINTS,), NOSE)
    for hand in (LEFT_HAND, RIGHT_HAND):
        anchors[hand] = hand.start
    return anchors


def _parents(edges: Iterable[tuple[int, int]]) -> Tensor:
    """int64 `[75]`: the joint at the other end of the first bone that leads to each; itself where none does."""
    parents = torch.arange(NUM_POINTS)
    for first, second in edges:
        if parents[second] == second:
            parents[second] = first
    return parents


def _scales() -> Tensor:
    """float32 `[75, 1]`."""
    scales = torch.ones(NUM_POINTS, 1)
    scales[LEFT_HAND.start :] = _HAND_SCALE
    return scales
