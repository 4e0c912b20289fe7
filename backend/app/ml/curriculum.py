"""A curriculum: training begins with the easy clips of every class, and lets the others in stage by stage."""

from typing import Final

import numpy as np

from app.ml.dataset import LandmarkDataset
from app.ml.training.curricula import CurriculumConfig, easiest
from app.ml.training.sampling import Pool, SamplerOptions, WindowSampler, make_pool
from app.ml.types import BoolArray, FloatArray

_NEVER: Final = -1


class CurriculumSampler(WindowSampler):
    """A `WindowSampler` whose signs and recorded background come from the clips that the curriculum has let in.

    Movements between signs, streams and made-up movement teach no sign and stay as they are. The schedule depends on
    seed and step alone (by confidence, also on the scores, which every process gets alike), never on the rank.
    """

    def __init__(
        self, dataset: LandmarkDataset, options: SamplerOptions, *, curriculum: CurriculumConfig, steps: int
    ) -> None:
        """See `WindowSampler`; `steps` is the length of the whole training."""
        super().__init__(dataset, options)
        self._dataset = dataset
        self._curriculum = curriculum
        self._steps = steps
        self._classes = [example.target for example in dataset.examples]
        self._durations_ms = np.array([example.duration_ms for example in dataset.examples])
        self._losses = np.zeros(0, np.float32)
        self._scored_stage = _NEVER
        self._pools: dict[int, Pool] = {}

    def wants_scores(self, step: int) -> bool:
        """Whether `take_scores` is due before the batch of a step."""
        stage = self._curriculum.stage(step, steps=self._steps)
        by_model = self._curriculum.kind == "confidence"
        return by_model and 0 < stage < self._curriculum.num_stages and stage != self._scored_stage

    def next_scores(self, step: int) -> int:
        """The first step after `step` before which `take_scores` may be due; the end of training if there is none."""
        if self._curriculum.kind == "length":
            return self._steps
        stage = self._curriculum.stage(step, steps=self._steps)
        return next(
            (
                later
                for later in range(step + 1, self._steps)
                if self._curriculum.stage(later, steps=self._steps) != stage
            ),
            self._steps,
        )

    def take_scores(self, losses: FloatArray, *, step: int) -> None:
        """From this step on, a clip's difficulty is the model's loss on it: float32 `[N]`, in the data set's order."""
        self._losses = losses
        self._scored_stage = self._curriculum.stage(step, steps=self._steps)
        self._pools.clear()

    def available(self, step: int) -> BoolArray:
        """bool `[N]`: the clips that a step may draw a sign or recorded background from."""
        stage = self._curriculum.stage(step, steps=self._steps)
        by_model = self._curriculum.kind == "confidence"
        if stage == self._curriculum.num_stages or (by_model and self._scored_stage == _NEVER):
            return np.ones(len(self._classes), np.bool_)
        difficulty = self._losses if by_model else self._durations_ms
        fraction = self._curriculum.fraction(stage)
        return easiest(difficulty, self._classes, fraction=fraction, seed=self._options.seed)

    def pool(self, step: int) -> Pool:
        """The clips that the curriculum has let in by this step."""
        stage = self._curriculum.stage(step, steps=self._steps)
        if stage not in self._pools:
            self._pools[stage] = make_pool(self._dataset, self.available(step))
        return self._pools[stage]

    def state_dict(self) -> dict[str, object]:
        """The scores, for a checkpoint; plain values."""
        return {"losses": self._losses.tolist(), "scored_stage": self._scored_stage}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on with saved scores."""
        losses, stage = state["losses"], state["scored_stage"]
        assert isinstance(losses, list)
        assert isinstance(stage, int)
        self._losses = np.array(losses, np.float32)
        self._scored_stage = stage
        self._pools.clear()
