"""Trains a tiny model in a process of its own, so that tests can kill it: `python -m tests.training_worker FOLDER`.

Prints a line a step; writes `weights-RANK.pt` when done. Saves a checkpoint after every step.
"""

import sys
from dataclasses import replace
from pathlib import Path

from app.ml.artifacts.files import save_torch_artifact
from app.ml.artifacts.manifest import ModelManifest
from app.ml.dataset import LandmarkDataset
from app.ml.model_configs import get_model_config
from app.ml.recordings.labels import BACKGROUND
from app.ml.trainer import Progress, SignTrainer
from app.ml.training.config import TrainerConfig
from app.ml.training.curricula import CurriculumConfig
from app.ml.training.fitting import describe_model
from app.ml.training.recipes import Recipe
from app.ml.training.sampling import SamplingConfig
from app.ml.training.world import joined_world
from tests.parametric_signer import IDLE, make_clips

LABELS = ("letter_v", "sun", *BACKGROUND)
STEPS = 24
CONFIG = TrainerConfig(
    steps=STEPS,
    batch_size=8,
    warmup_steps=2,
    ema_decay=0.9,
    eval_every=1,
    curriculum=CurriculumConfig(kind="confidence", num_stages=3),
    sampling=SamplingConfig(max_frames=20),
    device="cpu",
)


def train(folder: Path) -> None:
    """Train, from the folder's checkpoint on."""
    clips = make_clips(num_people=2, takes=2, labels=("letter_v", "sun", IDLE))
    val = LandmarkDataset(
        make_clips(num_people=1, takes=1, labels=("letter_v", "sun"), seed=50), labels=LABELS, is_complete=False
    )
    network = replace(get_model_config("tiny"), drop_path=0.2, head_dropout=0.2)

    def report(progress: Progress, /) -> None:
        print(f"step {progress.step}", flush=True)  # noqa: T201 - the test reads it

    with joined_world() as world:
        result = SignTrainer(network, CONFIG, world=world).fit(
            LandmarkDataset(clips, labels=LABELS), val=val, checkpoint=folder / "run.ckpt", on_progress=report
        )
        recipe = Recipe(name="test", model=network, trainer=CONFIG)
        manifest: ModelManifest = describe_model(clips, LABELS, recipe, version="v1", provenance={})
        path = folder / f"weights-{world.rank}.pt"
        save_torch_artifact(path, state_dict=result.model.state_dict(), manifest=manifest)


if __name__ == "__main__":
    train(Path(sys.argv[1]))
