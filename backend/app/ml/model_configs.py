"""Named model configurations; `app.ml.model.count_parameters` gives their true sizes."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final

from app.ml.errors import ManifestMismatchError
from app.ml.landmarks.features import FeatureSpec


class Architecture(StrEnum):
    """Which network `app.ml.model.build_model` builds."""

    TRANSFORMER = "transformer"
    CONV_ATTENTION = "conv_attention"
    SPATIAL = "spatial"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Shape of one network.

    Attributes:
        name: what manifests and command lines call it.
        architecture: `transformer` (attention over all frames, sinusoidal positions), `conv_attention` (depthwise
            convolutions in time, then attention; ours, after the winners of a public 250-sign competition) or
            `spatial` (reads landmarks through a graph of the skeleton, then as `conv_attention`).
        width: channels of each frame's vector.
        num_layers: attention blocks.
        num_heads: heads of each attention block; divides `width`.
        feedforward: hidden width of each attention block's feed-forward part.
        num_conv_blocks: depthwise-convolution blocks before attention (not in `transformer`).
        kernel_size: frames each convolution sees; odd.
        embedding: D, width of the embedding that the classifier reads.
        drop_path: probability that a sequence skips a block while training.
        head_dropout: probability before the classifier.
        num_tokens: tokens that `TemporalConvPooling` makes of the frames before attention; 0 is attention over frames.
        joint_channels: channels of each joint in the graph (`spatial` only).
        joint_outputs: values of each joint that reach the frame's vector (`spatial` only).
    """

    name: str
    architecture: Architecture
    width: int
    num_layers: int
    num_heads: int
    feedforward: int
    num_conv_blocks: int = 0
    kernel_size: int = 9
    embedding: int = 128
    drop_path: float = 0.1
    head_dropout: float = 0.3
    num_tokens: int = 0
    joint_channels: int = 0
    joint_outputs: int = 0

    @property
    def reads_landmarks(self) -> bool:
        """Whether the network takes landmarks `[B, T, 75, 3]` rather than features `[B, T, F]`."""
        return self.architecture is Architecture.SPATIAL

    def to_dict(self) -> dict[str, str | int | float | bool]:
        """Plain values for a manifest."""
        return {**asdict(self), "architecture": str(self.architecture)}

    @classmethod
    def from_dict(cls, values: dict[str, str | int | float | bool]) -> "ModelConfig":
        """Read what `to_dict` wrote.

        Raises:
            ValueError: a value is missing, unknown or of an unknown architecture.
        """
        known = dict(values)
        try:
            architecture = Architecture(str(known.pop("architecture")))
            return cls(architecture=architecture, **known)  # pyright: ignore[reportArgumentType]
        except (KeyError, TypeError) as error:
            msg = f"model config {values} does not fit this version of SignFlow: {error}"
            raise ValueError(msg) from error


_CONFIGS: Final = {
    config.name: config
    for config in (
        ModelConfig(
            name="tiny", architecture=Architecture.CONV_ATTENTION, width=32, num_layers=1, num_heads=2, feedforward=64,
            num_conv_blocks=1, kernel_size=5, embedding=32, drop_path=0.0, head_dropout=0.0,
        ),
        ModelConfig(
            name="baseline", architecture=Architecture.TRANSFORMER, width=192, num_layers=4, num_heads=6,
            feedforward=768,
        ),
        ModelConfig(
            name="large", architecture=Architecture.TRANSFORMER, width=384, num_layers=6, num_heads=8, feedforward=1536,
        ),
        ModelConfig(
            name="starter",
            architecture=Architecture.CONV_ATTENTION,
            width=96,
            num_layers=1,
            num_heads=4,
            feedforward=192,
            num_conv_blocks=2,
        ),
        ModelConfig(
            name="student", architecture=Architecture.CONV_ATTENTION, width=96, num_layers=2, num_heads=4,
            feedforward=192,
            num_conv_blocks=3,
        ),
        ModelConfig(
            name="spatial", architecture=Architecture.SPATIAL, width=96, num_layers=1, num_heads=4, feedforward=192,
            num_conv_blocks=2, joint_channels=16, joint_outputs=8,
        ),
        ModelConfig(
            name="spatial_tcn", architecture=Architecture.SPATIAL, width=96, num_layers=1, num_heads=4,
            feedforward=192, num_tokens=64, joint_channels=16, joint_outputs=8,
        ),
    )
}  # fmt: skip


def get_model_config(name: str) -> ModelConfig:
    """Look a configuration up by name.

    Raises:
        ValueError: no configuration has that name.
    """
    if name not in _CONFIGS:
        msg = f"unknown model config {name!r}; known: {', '.join(_CONFIGS)}"
        raise ValueError(msg)
    return _CONFIGS[name]


def model_config_names() -> tuple[str, ...]:
    """Names that `get_model_config` takes."""
    return tuple(_CONFIGS)


def check_inputs(config: ModelConfig, spec: FeatureSpec) -> None:
    """Refuse a network and a feature specification that do not fit.

    Raises:
        ManifestMismatchError: one is made for landmarks and the other for features.
    """
    if config.reads_landmarks != spec.is_landmarks:
        reads, gives = ("landmarks" if one else "features" for one in (config.reads_landmarks, spec.is_landmarks))
        msg = (
            f"model config {config.name!r} reads {reads}, feature spec {spec.name!r} gives {gives}: change one of them"
        )
        raise ManifestMismatchError(msg)
