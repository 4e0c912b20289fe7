"""Trains a recogniser: `SignTrainer.fit`.

Every batch and every random number is a function of (seed, step), so a run that was interrupted and resumed ends with
the same
weights as one that was not, and the same machine and seed give the same model.
"""

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from app.ml.dataset import BACKGROUND, LandmarkDataset
from app.ml.errors import DatasetError
from app.ml.landmarks.features import features_of, get_feature_spec
from app.ml.model import ModelOutput, SignEncoder, build_model
from app.ml.model_configs import ModelConfig, check_inputs
from app.ml.training.averaging import WeightAverage
from app.ml.training.checkpoints import load_checkpoint, save_checkpoint
from app.ml.training.config import TrainerConfig
from app.ml.training.mixup import mix
from app.ml.training.pretrained import PretrainedEncoder
from app.ml.training.sampling import IGNORE, Batch, WindowSampler
from app.ml.training.schedules import warmup_cosine
from app.ml.types import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """State of a run after `step` of `steps` batches; `val_accuracy` only where an evaluation was made."""

    step: int
    steps: int
    loss: float
    learning_rate: float
    val_accuracy: float | None = None


class ProgressListener(Protocol):
    """Told after every step; raising stops the run, the last checkpoint stays."""

    def __call__(self, progress: Progress, /) -> None:
        """Take one report."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingResult:
    """The trained model (averaged weights, evaluation mode) and its history, one entry an evaluation."""

    model: SignEncoder
    history: tuple[Progress, ...]


class SignTrainer:
    """Fits one model configuration to one data set."""

    def __init__(self, model_config: ModelConfig, config: TrainerConfig) -> None:
        """Take the settings.

        Raises:
            ManifestMismatchError: the network does not read what the feature spec gives.
        """
        self._model_config = model_config
        self._config = config
        self._spec = get_feature_spec(config.feature_spec)
        check_inputs(model_config, self._spec)

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

        Args:
            train: what to learn from.
            val: people who are in neither `train` nor the final test; judged every `eval_every` steps.
            pretrained: what the network's encoder starts from, instead of random weights.
            checkpoint: file that is written at every evaluation and read at the start when it exists.
            on_progress: told after every step.

        Raises:
            DatasetError: the sets' labels differ, or a signer is on both sides or was seen in pretraining.
            ArtifactError: the checkpoint is of another model, data set or configuration.
            ManifestMismatchError: the pretrained encoder is of another network.
        """
        if val is not None:
            _check_sides(train, val)
        config = self._config
        with _reproducible(config.num_threads):
            torch.manual_seed(config.seed)
            model = build_model(self._model_config, num_features=self._spec.num_features, num_labels=len(train.labels))
            if pretrained is not None:
                pretrained.require_unseen(() if val is None else val.signers)
                pretrained.load_into(model, feature_spec=config.feature_spec)
            run = _Run(model, config)
            identity = "" if checkpoint is None else self._identity(train, pretrained)
            if checkpoint is not None and checkpoint.exists():
                run.load(load_checkpoint(checkpoint, identity=identity))
            sampler = WindowSampler(
                train,
                spec=self._spec,
                sampling=config.sampling,
                augmentation=config.augmentation,
                batch_size=config.batch_size,
                seed=config.seed,
            )
            last = run.step if run.is_out_of_patience else config.steps
            for step, batch in _prefetched(sampler.batch, run.step, last):
                loss = run.train_step(batch)
                progress = Progress(step=step + 1, steps=config.steps, loss=loss, learning_rate=run.learning_rate(step))
                if (step + 1) % config.eval_every == 0 or step + 1 == config.steps:
                    progress = self._evaluate(run, val, progress)
                    if checkpoint is not None:
                        save_checkpoint(checkpoint, state=run.state_dict(), identity=identity)
                if on_progress is not None:
                    on_progress(progress)
                if run.is_out_of_patience:
                    break
            model = run.averaged()
            add_people_prior(model, train, weight=config.people_prior)
            return TrainingResult(model=model, history=tuple(run.history))

    def _identity(self, train: LandmarkDataset, pretrained: PretrainedEncoder | None) -> str:
        """What a checkpoint must have been made with to be continued."""
        start = "" if pretrained is None else f" {pretrained.sha256}"
        return f"{self._model_config.to_dict()} {asdict(self._config)} {train.content_hash()}{start}"

    def _evaluate(self, run: "_Run", val: LandmarkDataset | None, progress: Progress) -> Progress:
        accuracy = None
        if val is not None:
            logits = predict_logits(run.averaged(), [example.points for example in val.examples], self._config)
            targets = np.array([example.target for example in val.examples])
            accuracy = float((logits.argmax(1) == targets).mean())
        progress = Progress(
            step=progress.step,
            steps=progress.steps,
            loss=progress.loss,
            learning_rate=progress.learning_rate,
            val_accuracy=accuracy,
        )
        run.note(progress)
        return progress


class _Run:
    """Everything of a run that changes from step to step, and so everything that a checkpoint holds."""

    def __init__(self, model: SignEncoder, config: TrainerConfig) -> None:
        self._config = config
        self._model = model
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
        """One update; returns its loss."""
        config = self._config
        torch.manual_seed(config.seed * 1_000_003 + self.step)  # dropout, the same after a resume
        for group in self._optimizer.param_groups:
            group["lr"] = self.learning_rate(self.step)
        self._model.train()
        loss = self._loss(batch)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._model.parameters(), config.clip_norm)
        self._optimizer.step()
        self.step += 1
        if config.ema_decay:
            self._ema.update(self._model)
        if config.swa_fraction and self.step > config.steps * (1 - config.swa_fraction):
            self._swa.update(self._model)
        return float(loss.detach())

    def _loss(self, batch: Batch) -> Tensor:
        config = self._config
        features, mask = torch.from_numpy(batch.features), torch.from_numpy(batch.mask)
        targets, signing = torch.from_numpy(batch.targets), torch.from_numpy(batch.signing)
        frames = mask.float()
        weight = 1.0
        if config.mixup:
            rng = np.random.default_rng([config.seed, self.step, 1])
            weight = float(rng.beta(config.mixup, config.mixup))
            features, mask = mix(features, mask, weight=weight)
        output: ModelOutput = self._model(features, mask)
        loss = weight * _class_loss(output.logits, targets, config.label_smoothing)
        if config.mixup:
            loss = loss + (1 - weight) * _class_loss(output.logits, torch.roll(targets, 1, 0), config.label_smoothing)
        per_frame = functional.binary_cross_entropy_with_logits(output.signing, signing, reduction="none")
        return loss + config.signing_weight * (per_frame * frames).sum() / frames.sum()

    def note(self, progress: Progress) -> None:
        """Keep an evaluation and count how long ago the best one was."""
        self.history.append(progress)
        if progress.val_accuracy is not None:
            better = progress.val_accuracy > self._best
            self.evaluations_since_best = 0 if better else self.evaluations_since_best + 1
            self._best = max(self._best, progress.val_accuracy)

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
        return model.eval()

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


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Matrices with weight decay; biases and norms, which have one axis, without."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


@torch.no_grad()
def add_people_prior(model: SignEncoder, train: LandmarkDataset, *, weight: float) -> None:
    """Shift each sign's logit by `weight` times the log of (its people / the most people of any sign); ours.

    Never upwards, so that no sign gains on the background.
    """
    people = [
        len({example.signer for example in train.examples if example.target == target})
        for target in range(len(train.labels))
    ]
    is_sign = torch.tensor([label not in BACKGROUND for label in train.labels])
    log_people = torch.tensor(people, dtype=torch.float32).clamp(min=1).log()
    prior = torch.where(is_sign, log_people - log_people[is_sign].max(), torch.zeros(()))
    model.classifier.bias.add_(weight * prior)


@torch.inference_mode()
def predict_logits(
    model: SignEncoder, windows: list[FloatArray], config: TrainerConfig, *, batch_size: int = 128
) -> FloatArray:
    """Logits of whole clips: N windows `[G, 75, 3]` (grid, isotropic) to float32 `[N, C]`."""
    spec = get_feature_spec(config.feature_spec)
    order = np.argsort([len(window) for window in windows], kind="stable")
    logits = np.zeros((len(windows), model.num_labels), np.float32)
    for start in range(0, len(windows), batch_size):
        chosen = order[start : start + batch_size]
        longest = max(len(windows[number]) for number in chosen)
        features = np.zeros((len(chosen), longest, *spec.shape), np.float32)
        mask = np.zeros((len(chosen), longest), np.bool_)
        for row, number in enumerate(chosen):
            features[row, : len(windows[number])] = features_of(windows[number], spec)
            mask[row, : len(windows[number])] = True
        logits[chosen] = model(torch.from_numpy(features), torch.from_numpy(mask)).logits.numpy()
    return logits


def _class_loss(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    if bool((targets == IGNORE).all()):
        return logits.sum() * 0
    return functional.cross_entropy(logits, targets, ignore_index=IGNORE, label_smoothing=smoothing)


def _check_sides(train: LandmarkDataset, val: LandmarkDataset) -> None:
    if train.labels != val.labels:
        msg = "training and validation sets have different labels; build both with the same list"
        raise DatasetError(msg)
    both = set(train.signers) & set(val.signers)
    if both:
        msg = f"{', '.join(sorted(both))} would be on both sides; a validation of known people means nothing"
        raise DatasetError(msg)


@contextmanager
def _reproducible(num_threads: int) -> Generator[None]:
    """One thread count for the whole run: sums in another order give other weights."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _prefetched(make: Callable[[int], Batch], first: int, last: int) -> Iterator[tuple[int, Batch]]:
    """Batches `first` to `last - 1`, the next ones made in a thread while the model trains on this one."""
    ahead = 3
    with ThreadPoolExecutor(max_workers=1) as executor:
        pending: list[Future[Batch]] = [executor.submit(make, step) for step in range(first, min(first + ahead, last))]
        for step in range(first, last):
            batch = pending.pop(0).result()
            if step + ahead < last:
                pending.append(executor.submit(make, step + ahead))
            yield step, batch
