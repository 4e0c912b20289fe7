"""The curve of a training run: passed on step by step, kept for its picture, tracked in batches."""

from collections.abc import Callable, Sequence
from typing import Final

from app.ml.evaluation.figures import CurvePoint
from app.ml.tracking import Tracker
from app.ml.trainer import Progress

_LOGGED_EVERY: Final = 10
"""Steps between the losses that are tracked."""


class TrainingCurve:
    """Passes progress on, keeps the curve for its picture, and tracks it in batches at every evaluation."""

    def __init__(self, tracker: Tracker, on_progress: Callable[[Progress], None], so_far: Sequence[CurvePoint]) -> None:
        self._tracker = tracker
        self._on_progress = on_progress
        self._has_begun = False
        self._waiting: list[Progress] = []
        self.points = list(so_far)
        self.waited_s = 0.0

    def note(self, progress: Progress) -> None:
        """Take one step."""
        if not self._has_begun:  # what an earlier attempt did after its checkpoint is done again
            self.points = [point for point in self.points if point.step < progress.step]
            self._has_begun = True
        self.waited_s += progress.waited_s
        is_evaluation = progress.val_accuracy is not None
        self.points.append(CurvePoint(step=progress.step, loss=progress.loss, val_accuracy=progress.val_accuracy))
        if is_evaluation or progress.step % _LOGGED_EVERY == 0 or progress.step == progress.steps:
            self._waiting.append(progress)
        if is_evaluation or len(self._waiting) >= _LOGGED_EVERY:
            self.flush()
        self._on_progress(progress)

    def flush(self) -> None:
        """Track what has not been tracked yet."""
        for progress in self._waiting:
            metrics = {"loss": progress.loss, "learning_rate": progress.learning_rate}
            if progress.val_accuracy is not None:
                metrics["val_accuracy"] = progress.val_accuracy
            self._tracker.log_metrics(metrics, step=progress.step)
        self._waiting.clear()
