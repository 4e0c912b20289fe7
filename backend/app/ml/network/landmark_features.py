"""From what a camera gives to what a network reads: `landmarks/features.py` in PyTorch, the same in serving and export.

Shapes: B windows, T frames (padded), G grid steps (padded), F features.
"""

from typing import NamedTuple

from torch import Tensor, nn

from app.ml.landmarks.features import FeatureSpec
from app.ml.network.body import BodyFrame
from app.ml.network.descriptions import make_description
from app.ml.network.resampling import Resampling


class GridFeatures(NamedTuple):
    """`values` `[B, G, F]` (landmarks `[B, G, 75, 3]`, NaN where missing); `mask` bool `[B, G]`, true = a step of the
    window; `to_frames` `[B, T, G]`, which brings what is known of each step back to the frames."""

    values: Tensor
    mask: Tensor
    to_frames: Tensor


class LandmarkFeatures(nn.Module):
    """Resamples by time, normalises and describes windows. Without weights: nothing of it is in a `.pt` file."""

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.description = make_description(spec.name, step_ms=spec.step_ms)
        self.resampling = Resampling(num_pose=self.description.num_pose, step_ms=spec.step_ms)
        self.body = BodyFrame(num_pose=self.description.num_pose)

    def forward(self, landmarks: Tensor, times_ms: Tensor, aspect: Tensor, mask: Tensor) -> GridFeatures:
        """Describe windows; see `WindowBatch` for the arguments."""
        grid = self.resampling(landmarks, times_ms, mask)
        values = self.description(self.body(grid.points, aspect))
        return GridFeatures(values, grid.mask, grid.to_frames)
