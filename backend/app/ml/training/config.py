"""How a model is trained: plain settings, readable where PyTorch is not installed."""

from dataclasses import dataclass, field

from app.ml.landmarks.augment import AugmentConfig
from app.ml.training.sampling import SamplingConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerConfig:
    """How to train; `steps` and `eval_every` count batches.

    Attributes:
        feature_spec: what the model reads; see `landmarks/features.py`.
        learning_rate: peak of warm-up and cosine.
        weight_decay: on matrices only, never on norms and biases.
        label_smoothing: share of the target spread over all classes.
        mixup: parameter of the Beta distribution; 0 is off.
        ema_decay: of the averaged weights that are kept; 0 is off.
        swa_fraction: last share of the steps over which weights are averaged evenly instead of the EMA; 0 is off.
        signing_weight: weight of the per-frame "is signing" loss.
        people_prior: what the finished model adds to each sign's logit, times the log of its share of the most people
            that any sign was learned from (never above 0).
            A sign that one person has shown may be that person's own variant; one that ten share is likelier on an
            eleventh.
        patience: evaluations without a better validation accuracy before training stops; 0 is never.
    """

    feature_spec: str = "hands256"
    steps: int = 650
    batch_size: int = 64
    learning_rate: float = 2.5e-3
    weight_decay: float = 0.05
    warmup_steps: int = 50
    label_smoothing: float = 0.1
    mixup: float = 0.0
    ema_decay: float = 0.99
    swa_fraction: float = 0.0
    clip_norm: float = 1.0
    signing_weight: float = 1.0
    eval_every: int = 100
    patience: int = 0
    people_prior: float = 0.0
    num_threads: int = 1
    seed: int = 0
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    augmentation: AugmentConfig = field(default_factory=AugmentConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainingConfig:
    """How an encoder learns from unlabelled clips before it is trained; `steps` counts batches.

    Attributes:
        masked: share of the landmarks in view that are hidden and must be found.
        max_frames: T at most; longer clips are cut.
        speed: log standard deviation of the playback speed.
        learning_rate: peak of warm-up and cosine.
        weight_decay: on matrices only, never on norms and biases.
    """

    steps: int = 300
    batch_size: int = 64
    masked: float = 0.15
    max_frames: int = 36
    speed: float = 0.22
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup_steps: int = 30
    clip_norm: float = 1.0
    num_threads: int = 1
    augmentation: AugmentConfig = field(
        default_factory=lambda: AugmentConfig(jitter=0.0, hand_gap=0.0, hand_loss=0.0, slow_camera=0.0)
    )
