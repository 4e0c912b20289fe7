"""Trains a recogniser: `SignTrainer.fit`.

Every batch and every random number is a function of (seed, step), so a run that was interrupted and resumed ends with
the same weights as one that was not, and the same machine and seed give the same model.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from app.ml.curriculum import CurriculumSampler
from app.ml.dataset import LandmarkDataset, require_disjoint
from app.ml.inference.familiarity import choose_clips, learn_prototypes
from app.ml.landmarks.features import FeatureSpec, features_of, get_feature_spec
from app.ml.model import SignEncoder, build_model
from app.ml.model_configs import ModelConfig, check_inputs
from app.ml.training.averaging import WeightAverage
from app.ml.training.checkpoints import load_checkpoint, save_checkpoint
from app.ml.training.config import TrainerConfig
from app.ml.training.devices import Device, reproducible
from app.ml.training.objectives import LossConfig, SignObjective
from app.ml.training.optimizers import parameter_groups
from app.ml.training.people_prior import add_people_prior
from app.ml.training.prefetch import prefetched
from app.ml.training.pretrained import PretrainedEncoder
from app.ml.training.sampling import Batch, SamplerOptions, WindowSampler
from app.ml.training.schedules import warmup_cosine
from app.ml.training.world import ALONE, World
from app.ml.types import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """State of a run after `step` of `steps` batches.

    Attributes:
        val_accuracy: only where an evaluation was made.
        waited_s: how long this step waited until its batch had been made; a run is the same however long that was.
    """

    step: int
    steps: int
    loss: float
    learning_rate: float
    val_accuracy: float | None = None
    waited_s: float = field(default=0.0, compare=False)


class TrainingStoppedError(Exception):
    """Raised by a listener that wants the run to stop here and to be gone on with later: a checkpoint is written."""


class ProgressListener(Protocol):
    """Told after every step; raising stops the run. After other errors than `TrainingStoppedError` the last checkpoint
    stays."""

    def __call__(self, progress: Progress, /) -> None:
        """Take one report."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingResult:
    """The trained model (averaged weights, evaluation mode) and its history, one entry an evaluation."""

    model: SignEncoder
    history: tuple[Progress, ...]


class SignTrainer:
    """Fits one model configuration to one data set, in one process or in several that `torchrun` started."""

    def __init__(self, model_config: ModelConfig, config: TrainerConfig, *, world: World = ALONE) -> None:
        """Take the settings.

        Raises:
            ManifestMismatchError: the network does not read what the feature spec gives.
            TrainingError: the device that they name is not there.
        """
        self._model_config = model_config
        self._config = config
        self._world = world
        self._spec = get_feature_spec(config.feature_spec)
        check_inputs(model_config, self._spec)
        self._teacher_spec: FeatureSpec | None = None
        self._device = Device(config.device, config.precision, local_rank=world.local_rank)

    def fit(
        self,
        train: LandmarkDataset,
        *,
        val: LandmarkDataset | None = None,
        pretrained: PretrainedEncoder | None = None,
        checkpoint: Path | None = None,
        on_progress: ProgressListener | None = None,
    ) -> TrainingResult:
        """Train, from the checkpoint on if there is one.

        Of several processes only the first validates, writes the checkpoint and reports; all return the same model.

        Args:
            train: what to learn from.
            val: people who are in neither `train` nor the final test; judged every `eval_every` steps.
            pretrained: what the network's encoder starts from, instead of random weights.
            checkpoint: file that is written at every evaluation and when the run is stopped, and read at the start when
                it exists.
            on_progress: told after every step.

        Raises:
            DatasetError: the sets' labels differ, or a signer or a recording is on both sides or was seen in
                pretraining.
            ArtifactError: the checkpoint is of another model, data set or configuration.
            ManifestMismatchError: the pretrained encoder is of another network.
            TrainingError: the checkpoint cannot be written, or another process is gone.
        """
        self._check(train, val)
        config, world = self._config, self._world
        with reproducible(config.num_threads), world.named_losses():
            torch.manual_seed(config.seed)
            model = build_model(self._model_config, num_features=self._spec.num_features, num_labels=len(train.labels))
            if pretrained is not None:
                pretrained.require_unseen(() if val is None else val.signers)
                pretrained.load_into(model, feature_spec=config.feature_spec)
            run = _Run(model, config, objective=self._objective(), device=self._device, world=world)
            sampler = self._sampler(train)
            identity = {} if checkpoint is None else self._identity(train, pretrained)
            if checkpoint is not None:
                state = world.from_first(lambda: load_checkpoint(checkpoint, identity=identity))
                if state is not None:
                    run.load(state)
                    sampler.load_state_dict(_part(state, "sampler"))

            def keep() -> None:
                if checkpoint is not None and world.is_first:
                    kept = {**run.state_dict(), "sampler": sampler.state_dict()}
                    save_checkpoint(checkpoint, state=kept, identity=identity)

            asked_s = time.monotonic()
            for step, batch in self._batches(run, sampler, train):
                waited_s = time.monotonic() - asked_s
                loss = run.train_step(batch)
                rate = run.learning_rate(step)
                progress = Progress(step=step + 1, steps=config.steps, loss=loss, learning_rate=rate, waited_s=waited_s)
                if (step + 1) % config.eval_every == 0 or step + 1 == config.steps:
                    progress = run.note(replace(progress, val_accuracy=self._validate(run, val)))
                    keep()
                if on_progress is not None and world.is_first:
                    try:
                        on_progress(progress)
                    except TrainingStoppedError:
                        keep()
                        raise
                if run.is_out_of_patience:
                    break
                asked_s = time.monotonic()
            model = run.averaged().cpu()
            add_people_prior(model, train, weight=config.people_prior)
            return TrainingResult(model=model, history=tuple(run.history))

    def _batches(self, run: "_Run", sampler: WindowSampler, train: LandmarkDataset) -> Iterator[tuple[int, Batch]]:
        """The batches that are left; a curriculum is told the clips' losses before the first batch that needs them."""
        last = run.step if run.is_out_of_patience else self._config.steps
        first = run.step
        while first < last:
            end = last
            if isinstance(sampler, CurriculumSampler):
                if sampler.wants_scores(first):
                    sampler.take_scores(self._score(run, train), step=first)
                end = sampler.next_scores(first)
            yield from prefetched(sampler.batch, first, end)
            first = end

    def _score(self, run: "_Run", train: LandmarkDataset) -> FloatArray:
        """The averaged model's loss on each clip, float32 `[N]`; several processes share the work."""
        rank, size = self._world.rank, self._world.size
        own = train.examples[rank::size]
        losses = torch.zeros(len(train))
        if own:
            logits = predict_logits(run.averaged(), [example.points for example in own], self._config)
            targets = torch.tensor([example.target for example in own])
            losses[rank::size] = functional.cross_entropy(torch.from_numpy(logits), targets, reduction="none")
        return self._world.sum(losses.to(self._device.torch_device)).cpu().numpy()

    def _validate(self, run: "_Run", val: LandmarkDataset | None) -> float | None:
        """Accuracy on the validation people, found by the first process and told to all."""
        if val is None:
            return None

        def measure() -> float:
            logits = predict_logits(run.averaged(), [example.points for example in val.examples], self._config)
            targets = np.array([example.target for example in val.examples])
            return float((logits.argmax(1) == targets).mean())

        return self._world.from_first(measure)

    def _sampler(self, train: LandmarkDataset) -> WindowSampler:
        config = self._config
        options = SamplerOptions(
            spec=self._spec,
            teacher_spec=self._teacher_spec,
            sampling=config.sampling,
            augmentation=config.augmentation,
            batch_size=self._world.split(config.batch_size),
            seed=config.seed,
            rank=self._world.place,
        )
        if config.curriculum is None:
            return WindowSampler(train, options)
        return CurriculumSampler(train, options, curriculum=config.curriculum, steps=config.steps)

    def _objective(self) -> SignObjective:
        return SignObjective(self._loss_config())

    def _loss_config(self) -> LossConfig:
        config = self._config
        return LossConfig(
            label_smoothing=config.label_smoothing,
            mixup=config.mixup,
            signing_weight=config.signing_weight,
            seed=config.seed,
        )

    def _identity(self, train: LandmarkDataset, pretrained: PretrainedEncoder | None) -> dict[str, str]:
        """What a checkpoint must have been made with to be continued."""
        return {
            "pretrained": "nothing" if pretrained is None else pretrained.sha256,
            **{f"model {key}": str(value) for key, value in self._model_config.to_dict().items()},
            **{key: str(value) for key, value in asdict(self._config).items()},
            "device": str(self._device),
            "processes": str(self._world.size),
            "data": train.content_hash(),
        }

    def _check(self, train: LandmarkDataset, val: LandmarkDataset | None) -> None:
        """Refuse a validation that would mean nothing."""
        if val is not None:
            require_disjoint(train, val)


class _Run:
    """Everything of a run that changes from step to step, and so everything that a checkpoint holds."""

    def __init__(
        self, model: SignEncoder, config: TrainerConfig, *, objective: SignObjective, device: Device, world: World
    ) -> None:
        self._config = config
        self._objective = objective
        self._device = device
        self._world = world
        self._model = model.to(device.torch_device)
        self._wrapped: nn.Module | None = None
        self._optimizer = torch.optim.AdamW(
            parameter_groups(model, config.weight_decay), lr=config.learning_rate, betas=(0.9, 0.98)
        )
        self._ema = WeightAverage(model, decay=config.ema_decay or None)
        self._swa = WeightAverage(model, decay=None)
        self.step = 0
        self.history: list[Progress] = []
        self.evaluations_since_best = 0
        self._best = -1.0

    @property
    def is_out_of_patience(self) -> bool:
        """Whether validation has not improved for as long as is allowed."""
        return self._config.patience > 0 and self.evaluations_since_best >= self._config.patience

    def learning_rate(self, step: int) -> float:
        """The rate of a step."""
        config = self._config
        return config.learning_rate * warmup_cosine(step, warmup_steps=config.warmup_steps, total_steps=config.steps)

    def train_step(self, batch: Batch) -> float:
        """One update; returns its loss, the mean over all processes."""
        config = self._config
        # Dropout: the same after a resume, another in each process.
        torch.manual_seed(config.seed * 1_000_003 + self.step + self._world.rank * 1_000_000_007)
        for group in self._optimizer.param_groups:
            group["lr"] = self.learning_rate(self.step)
        if self._wrapped is None:  # only now: a checkpoint may have been loaded into the model
            self._wrapped = self._world.wrap(self._model)
        self._wrapped.train()
        with self._device.autocast():
            loss = self._objective.loss(self._wrapped, batch, step=self.step, device=self._device.torch_device)
        self._device.step(loss, self._optimizer, self._model, clip_norm=config.clip_norm)
        self.step += 1
        if config.ema_decay:
            self._ema.update(self._model)
        if config.swa_fraction and self.step > config.steps * (1 - config.swa_fraction):
            self._swa.update(self._model)
        return float(self._world.mean(loss.detach()))

    def note(self, progress: Progress) -> Progress:
        """Keep an evaluation, count how long ago the best one was, and give the evaluation back."""
        self.history.append(progress)
        if progress.val_accuracy is not None:
            better = progress.val_accuracy > self._best
            self.evaluations_since_best = 0 if better else self.evaluations_since_best + 1
            self._best = max(self._best, progress.val_accuracy)
        return progress

    def averaged(self) -> SignEncoder:
        """A copy with the averaged weights: SWA once it has begun, else EMA, else the present ones."""
        source = self._swa if self._swa.num_updates else self._ema
        weights = source.weights if source.num_updates else self._model.state_dict()
        model = build_model(
            self._model.config,
            num_features=self._model.num_features,
            num_labels=self._model.num_labels,
        )
        model.load_state_dict(weights)
        return model.to(self._device.torch_device).eval()

    def state_dict(self) -> dict[str, object]:
        """Plain values and tensors only, so that it loads without pickle's code path."""
        return {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "ema": self._ema.state_dict(),
            "swa": self._swa.state_dict(),
            "step": self.step,
            "history": [asdict(progress) for progress in self.history],
            "since_best": self.evaluations_since_best,
            "best": self._best,
            "loss_scale": self._device.state_dict(),
        }

    def load(self, state: dict[str, object]) -> None:
        """Continue from a checkpoint."""
        self._model.load_state_dict(state["model"])  # pyright: ignore[reportArgumentType]
        self._optimizer.load_state_dict(state["optimizer"])  # pyright: ignore[reportArgumentType]
        self._ema.load_state_dict(state["ema"])  # pyright: ignore[reportArgumentType]
        self._swa.load_state_dict(state["swa"])  # pyright: ignore[reportArgumentType]
        self.step = int(state["step"])  # pyright: ignore[reportArgumentType]
        self.history = [Progress(**entry) for entry in state["history"]]  # pyright: ignore
        self.evaluations_since_best = int(state["since_best"])  # pyright: ignore[reportArgumentType]
        self._best = float(state["best"])  # pyright: ignore[reportArgumentType]
        self._device.load_state_dict(_part(state, "loss_scale"))


def predict_logits(
    model: SignEncoder, windows: list[FloatArray], config: TrainerConfig, *, batch_size: int = 128
) -> FloatArray:
    """Logits of whole clips: N windows `[G, 75, 3]` (grid, isotropic) to float32 `[N, C]`."""
    return predict(model, windows, config, batch_size=batch_size).logits


def find_prototypes(model: SignEncoder, train: LandmarkDataset, config: TrainerConfig) -> FloatArray:
    """The prototypes `[C, D]` of a trained network's labels, from the clips that it was trained on."""
    targets = np.array([example.target for example in train.examples], np.int64)
    chosen = choose_clips(targets)
    embeddings = predict(model, [train.examples[i].points for i in chosen], config).embeddings
    return learn_prototypes(embeddings, targets[chosen], num_labels=len(train.labels))


class Predicted(NamedTuple):
    """What a network says of N clips: `logits` float32 `[N, C]`, `embeddings` float32 `[N, D]` of length 1."""

    logits: FloatArray
    embeddings: FloatArray


@torch.inference_mode()
def predict(
    model: SignEncoder, windows: list[FloatArray], config: TrainerConfig, *, batch_size: int = 128
) -> Predicted:
    """Ask a network about whole clips: N windows `[G, 75, 3]` (grid, isotropic)."""
    spec = get_feature_spec(config.feature_spec)
    device = model.classifier.bias.device
    order = np.argsort([len(window) for window in windows], kind="stable")
    logits = np.zeros((len(windows), model.num_labels), np.float32)
    embeddings = np.zeros((len(windows), model.config.embedding), np.float32)
    for start in range(0, len(windows), batch_size):
        chosen = order[start : start + batch_size]
        longest = max(len(windows[number]) for number in chosen)
        features = np.zeros((len(chosen), longest, *spec.shape), np.float32)
        mask = np.zeros((len(chosen), longest), np.bool_)
        for row, number in enumerate(chosen):
            features[row, : len(windows[number])] = features_of(windows[number], spec)
            mask[row, : len(windows[number])] = True
        output = model(torch.from_numpy(features).to(device), torch.from_numpy(mask).to(device))
        logits[chosen] = output.logits.cpu().numpy()
        embeddings[chosen] = output.embedding.cpu().numpy()
    return Predicted(logits, embeddings)


def _part(state: Mapping[str, object], name: str) -> dict[str, object]:
    part = state[name]
    assert isinstance(part, dict)
    return part
