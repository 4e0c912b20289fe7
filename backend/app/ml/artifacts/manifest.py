"""The manifest: what a model file says of itself, and what is checked before it may answer."""

import json
import math
from dataclasses import asdict, dataclass, field, fields
from typing import ClassVar, Final

from pydantic import ConfigDict, TypeAdapter, ValidationError

from app.ml.artifacts.prototypes import prototypes_from_text
from app.ml.errors import ArtifactError, ManifestMismatchError
from app.ml.landmarks.features import get_feature_spec


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
class FamiliarityGate:
    """How likely a window shows a sign that the model can name: a logistic curve over the best sign's familiarity.

    Attributes:
        bias: of the logarithmic odds at familiarity 0.
        slope: how fast they rise with it; never negative.
    """

    bias: float
    slope: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How a model's answers become confidences (`app/ml/inference/confidence.py`), fitted on people held out.

    Attributes:
        temperature: divides the logits before softmax.
        threshold: the best sign's confidence under which the answer is "not sure". In a model with prototypes and
            without a gate, which SignFlow 0.9 and before wrote, a familiarity.
        gate: what familiarity adds; None for a model without prototypes.
    """

    temperature: float = 1.0
    threshold: float = 0.5
    gate: FamiliarityGate | None = None


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
        prototypes: each label's typical embedding (`familiarity.prototypes_to_text`); empty for a model without them.
        provenance: free facts: git revision, data fingerprint, signers, seed, licences, date.
        weights_sha256: hash of the trained weights, the same in every file of one model; `save_torch_artifact` sets it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    version: str
    config: dict[str, str | int | float | bool]
    feature_spec: str
    num_features: int
    labels: tuple[SignLabel, ...]
    background: tuple[str, ...] = ("idle",)
    calibration: Calibration = field(default_factory=Calibration)
    prototypes: str = field(default="", repr=False)
    provenance: dict[str, str | int | float | list[str]] = field(default_factory=dict)
    weights_sha256: str = ""

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels' spellings, one per logit, in order."""
        return tuple(label.label for label in self.labels)


_MANIFEST: Final = TypeAdapter(ModelManifest)


def manifest_to_json(manifest: ModelManifest) -> str:
    """The manifest as JSON text, keys sorted, so that equal manifests give equal texts."""
    return json.dumps(asdict(manifest), sort_keys=True, ensure_ascii=False, allow_nan=False)


def manifest_from_json(text: str) -> ModelManifest:
    """Read a manifest and check that it makes sense by itself.

    Raises:
        ArtifactError: not JSON, or a field is missing, unknown, of the wrong type or contradicts another.
    """
    try:
        manifest = _MANIFEST.validate_json(text)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'text'}: {one['msg']}" for one in error.errors())
        msg = f"the manifest cannot be used: {problems}"
        raise ArtifactError(msg) from error
    problems = "; ".join(_find_contradictions(manifest))
    if problems:
        msg = f"the manifest cannot be used: {problems}"
        raise ArtifactError(msg)
    return manifest


def check_feature_spec(manifest: ModelManifest) -> None:
    """Refuse a model that was trained on other features than this version computes.

    Raises:
        ManifestMismatchError: the feature spec is unknown, or has another width.
    """
    spec = get_feature_spec(manifest.feature_spec)
    if spec.num_features != manifest.num_features:
        msg = (
            f"feature spec {spec.name!r} has {spec.num_features} features, the model was trained on "
            f"{manifest.num_features}: retrain it or use the SignFlow version that made it"
        )
        raise ManifestMismatchError(msg)


def require_same_model(first: ModelManifest, second: ModelManifest, *, names: tuple[str, str]) -> None:
    """Check that two files hold the same model: same labels, features, calibration and weights.

    Raises:
        ManifestMismatchError: they do not; the message says which fields differ and how.
    """
    differences = [
        _describe_difference(item.name, getattr(first, item.name), getattr(second, item.name))
        for item in fields(ModelManifest)
        if getattr(first, item.name) != getattr(second, item.name)
    ]
    if differences:
        msg = f"{names[0]} and {names[1]} are different models: {'; '.join(differences)}"
        raise ManifestMismatchError(msg)


def _find_contradictions(manifest: ModelManifest) -> list[str]:
    names = manifest.label_names
    repeated = sorted({name for name in names if names.count(name) > 1})
    strangers = sorted(set(manifest.background) - set(names))
    checks = (
        (not names, "labels: there is none"),
        (bool(repeated), f"labels: {', '.join(repeated)} more than once"),
        (bool(names) and set(names) <= set(manifest.background), "labels: all of them are background"),
        (bool(strangers), f"background: {', '.join(strangers)} not among the labels"),
        (manifest.num_features < 1, f"num_features: {manifest.num_features} is not positive"),
        (
            not (math.isfinite(manifest.calibration.temperature) and manifest.calibration.temperature > 0),
            f"calibration.temperature: {manifest.calibration.temperature} is not positive",
        ),
        (
            not 0 <= manifest.calibration.threshold <= 1,
            f"calibration.threshold: {manifest.calibration.threshold} is not in [0, 1]",
        ),
        (
            manifest.calibration.gate is not None and manifest.calibration.gate.slope < 0,
            "calibration.gate.slope: it is negative: less familiar signs would be answered with more confidence",
        ),
        (
            manifest.calibration.gate is not None and not manifest.prototypes,
            "calibration.gate: it reads familiarity, and there are no prototypes to be familiar with",
        ),
        (not _has_readable_prototypes(manifest), "prototypes: they are not a row of numbers for each label"),
    )
    return [text for is_wrong, text in checks if is_wrong]


def _has_readable_prototypes(manifest: ModelManifest) -> bool:
    try:
        prototypes_from_text(manifest.prototypes, num_labels=len(manifest.labels))
    except ValueError:
        return False
    return True


def _describe_difference(name: str, first: object, second: object) -> str:
    if name == "labels" and isinstance(first, tuple) and isinstance(second, tuple):
        ours, theirs = ({label.label for label in one} for one in (first, second))
        only = [
            f"only the {which} has {', '.join(sorted(extra))}"
            for which, extra in (("first", ours - theirs), ("second", theirs - ours))
            if extra
        ]
        return f"labels ({'; '.join(only) or 'same names in another order or with other people'})"
    if name == "prototypes":
        return name
    return f"{name} ({first!r} / {second!r})"
