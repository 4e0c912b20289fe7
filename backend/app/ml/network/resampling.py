"""From the camera's frames to the regular grid of the features, and back: written for PyTorch and for export.

Shapes: B windows, T frames (padded), G grid steps (padded), R rows of a pose: 21 points of one part each.
"""

from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from app.ml.landmarks.layout import LEFT_HAND, NUM_HAND, NUM_POSE, RIGHT_HAND
from app.ml.landmarks.normalise import MAX_COORDINATE, MAX_GAP_MS, MAX_WINDOW_MS

_EDGE: Final = 1e-6
"""In steps: what rounding of capture times may not decide."""


class Grid(NamedTuple):
    """`points` `[B, G, P * 3]`, NaN where missing; `mask` bool `[B, G]`, true = a step of the window; `to_frames`
    float32 `[B, T, G]`, which steps a frame lies between, and how near to each."""

    points: Tensor
    mask: Tensor
    to_frames: Tensor


class Resampling(nn.Module):
    """Resamples by time, each part on its own, and bridges short gaps in a part: `landmarks.normalise.resample`.

    Frames more than `MAX_WINDOW_MS` after the first, and such without a time, count as padding.
    """

    def __init__(self, *, num_pose: int, step_ms: float) -> None:
        super().__init__()
        self.step_ms = step_ms
        # A pose of more points than a hand has takes two rows, which overlap.
        starts = (0,) if num_pose <= NUM_HAND else (0, NUM_POSE - NUM_HAND)
        self.row_starts = (*starts, LEFT_HAND.start, RIGHT_HAND.start)
        self.part_of_row = (*(0 for _ in starts), 1, 2)

    def forward(self, landmarks: Tensor, times_ms: Tensor, mask: Tensor) -> Grid:
        """Resample.

        Args:
            landmarks: float32 `[B, T, 75, 3]`, NaN where missing.
            times_ms: float64 `[B, T]`, on any clock.
            mask: bool `[B, T]`, true at real frames, which come first.
        """
        num_rows = len(self.row_starts)
        batch, frames = mask.shape
        steps = (times_ms - times_ms[:, :1]) / self.step_ms
        real = mask & (steps.abs() <= MAX_WINDOW_MS / self.step_ms)
        steps = torch.where(real, steps, 0.0)
        last = (steps.amax(1) + _EDGE).floor()  # [B]
        num_steps: Any = last.amax().to(torch.int64) + 1  # a tensor, so that an export takes windows of any length
        grid = torch.arange(num_steps, device=mask.device)  # [G]
        grid_mask = grid <= last.unsqueeze(1)
        distance = steps.unsqueeze(1) - grid.unsqueeze(1)  # [B, G, T]

        rows = torch.cat([landmarks[:, :, first : first + NUM_HAND] for first in self.row_starts], 2)
        rows = rows.reshape(batch, frames, num_rows, 3 * NUM_HAND)

        # Which frame before and which one after a step shows a part: the largest number of those that do, from 1; 0 is
        # none. Products, because choosing by a condition takes five times as long.
        firsts = rows[:, :, :, 0] if num_rows == 3 else rows[:, :, (0, 2, 3), 0]
        shows = ((firsts.abs() <= MAX_COORDINATE) & real.unsqueeze(-1)).to(landmarks.dtype)  # false for NaN
        shows = shows.transpose(1, 2).unsqueeze(1)  # [B, 1, 3, T]
        number = torch.arange(1, frames + 1, device=mask.device, dtype=landmarks.dtype)
        seen = ((distance <= 0).to(landmarks.dtype).unsqueeze(2) * (shows * number)).amax(-1) - 1  # [B, G, 3]
        coming = (distance >= 0).to(landmarks.dtype).unsqueeze(2) * (shows * (frames + 1 - number))
        ahead = frames - coming.amax(-1)
        unseen, lost = seen < 0, ahead == frames
        after = torch.where(lost, seen, ahead)
        before = torch.where(unseen, after, seen)
        both = torch.stack([before, after]).clamp(min=0).to(torch.int64)  # [2, B, G, 3]
        offset = (torch.arange(batch, device=mask.device) * frames).reshape(-1, 1, 1)
        both = both + offset
        at = steps.reshape(-1)[both]  # [2, B, G, 3]
        start, end = at[0], at[1]
        here = grid.reshape(-1, 1)
        span = end - start
        weight = ((here - start) / span.clamp(min=1e-9)).clamp(0.0, 1.0)
        bridges = span <= MAX_GAP_MS / self.step_ms + _EDGE
        nearest = torch.minimum((end - here).abs(), (start - here).abs())
        weight = torch.where(bridges, weight, weight.round())
        usable = (bridges & (span > 0)) | (nearest <= 0.5 + _EDGE)
        usable = usable & ~(lost & unseen) & grid_mask.unsqueeze(-1)
        weight = torch.where(usable, weight, torch.nan).to(landmarks.dtype)

        if num_rows > 3:
            both = both[..., self.part_of_row]
            weight = weight[..., self.part_of_row]
        index = both * num_rows + torch.arange(num_rows, device=mask.device)
        values = rows.reshape(-1, 3 * NUM_HAND)[index]  # [2, B, G, R, 63]
        weight = weight.unsqueeze(-1)
        points = (values[0] * (1 - weight) + values[1] * weight).flatten(-2)
        if num_rows > 3:
            overlap = 3 * (2 * NUM_HAND - NUM_POSE)
            points = torch.cat([points[..., : 3 * NUM_HAND], points[..., 3 * NUM_HAND + overlap :]], -1)
        position = steps.minimum(last.unsqueeze(1)).unsqueeze(2) - grid  # [B, T, G]
        to_frames = (1 - position.to(landmarks.dtype).abs()).clamp(min=0.0)
        return Grid(points, grid_mask, to_frames)
