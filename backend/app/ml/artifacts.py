"""Model artifacts: one self-contained file each, `.pt` or `.onnx`, with a manifest that says what it expects and where it came from."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class SignLabel:
    """One class of a model.

    Attributes:
        label: spelling used everywhere, e.g. `thank_you`, `letter_a`, `idle`.
        language: ISO 639-3 code, e.g. `ase`.
        num_people: how many different people the model was trained on for this sign; 1 is shown as such.
    """

    label: str
    language: str
    num_people: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How logits become a decision, fitted on people held out of training.

    Attributes:
        temperature: divides the logits before softmax.
        threshold: the best sign's probability under which the answer is "not sure".
    """

    temperature: float = 1.0
    threshold: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelManifest:
    """What every artifact carries beside its weights.

    Attributes:
        version: e.g. `v1`; part of the file's name (`model_v1.onnx`).
        config: name and values of the model config.
        feature_spec: name of the feature specification; must equal one that `landmarks/features.py` defines.
        num_features: F, width of the `features` input.
        labels: one per logit, in order; background classes (`idle`, `unknown`) are listed in `background`.
        background: labels that are never reported as signs.
        provenance: free facts: git revision, data fingerprint, signers, seed, licences, date.
    """

    version: str
    config: dict[str, str | int | float | bool]
    feature_spec: str
    num_features: int
    labels: tuple[SignLabel, ...]
    background: tuple[str, ...] = ("idle",)
    calibration: Calibration = field(default_factory=Calibration)
    provenance: dict[str, str | int | float | list[str]] = field(default_factory=dict)
