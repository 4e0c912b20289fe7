"""Model artifacts: one self-contained file each, `.pt` or `.onnx`, with a manifest that says what it expects.

    model_v3.pt          a dictionary of tensors and texts, loaded with weights_only: no code runs
    model_v3.onnx        the same manifest in `metadata_props`, sealed with a hash over everything before the seal
    model_v3.int8.onnx   the same with int8 weights

The manifest names the weights it was made from (`weights_sha256`), so files beside each other are known to be
one model. Reading an ONNX file's manifest needs no torch, no onnx and no onnxruntime.
"""

import hashlib
import io
import json
import math
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from pydantic import ConfigDict, TypeAdapter, ValidationError

from app.ml.errors import ArtifactError, ManifestMismatchError, MissingExtraError, ModelNotFoundError
from app.ml.familiarity import prototypes_from_text
from app.ml.files import write_whole
from app.ml.landmarks.features import get_feature_spec
from app.ml.onnx_metadata import SEAL_KEY, find_seal, read_entries, seal

if TYPE_CHECKING:
    from torch import Tensor

MANIFEST_KEY: Final = "signflow.manifest"
PRECISION_KEY: Final = "signflow.precision"
_TORCH_FORMAT: Final = "signflow-model-1"


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
        threshold: the best sign's score under which the answer is "not sure": its familiarity, or its probability for a
            model without prototypes.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxArtifact:
    """A sealed ONNX file: its bytes, its manifest, and the precision of its weights (`f32` or `int8`)."""

    content: bytes = field(repr=False)
    manifest: ModelManifest
    precision: str


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


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal.

    Raises:
        ModelNotFoundError: there is no such file.
        ArtifactError: it cannot be read.
    """
    return hashlib.sha256(_read_bytes(path)).hexdigest()


def read_manifest(path: Path) -> ModelManifest:
    """Read the manifest of a `.pt` (needs torch) or `.onnx` file, after checking the file's own hash.

    Raises:
        ModelNotFoundError: there is no such file.
        ArtifactError: it cannot be read, or holds no manifest.
        ManifestMismatchError: the content's hash is not the one it was written with.
    """
    if path.suffix == ".onnx":
        return read_onnx_artifact(path).manifest
    if path.suffix == ".pt":
        return load_torch_artifact(path)[1]
    msg = f"{path}: a model is a .pt or .onnx file"
    raise ArtifactError(msg)


def save_torch_artifact(path: Path, *, state_dict: Mapping[str, "Tensor"], manifest: ModelManifest) -> ModelManifest:
    """Write weights and manifest into one `.pt` file, whole or not at all.

    Returns:
        The manifest as written, with `weights_sha256` set.

    Raises:
        OSError: it cannot be written, as on a full disk; the file is as it was.
    """
    torch = _import_torch(path)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in state_dict.items()}
    manifest = replace(manifest, weights_sha256=_hash_weights(weights))
    text = manifest_to_json(manifest)
    manifest_from_json(text)  # what could not be read back is never written
    content = io.BytesIO()
    torch.save({"format": _TORCH_FORMAT, "manifest": text, "state_dict": weights}, content)
    write_whole(path, content.getvalue())
    return manifest


def load_torch_artifact(path: Path) -> tuple[dict[str, "Tensor"], ModelManifest]:
    """Read weights (on the CPU) and manifest of a `.pt` file; nothing but tensors and texts is ever unpickled.

    Raises:
        ModelNotFoundError: there is no such file.
        ArtifactError: it cannot be read, or is not one of ours.
        ManifestMismatchError: the weights' hash is not the manifest's.
        MissingExtraError: torch is not installed.
    """
    torch = _import_torch(path)
    if not path.is_file():
        raise _not_found(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError) as error:
        first_line = str(error).partition("\n")[0]
        msg = f"{path}: not a readable model file ({first_line})"
        raise ArtifactError(msg) from error
    if not isinstance(content, dict) or content.get("format") != _TORCH_FORMAT:
        msg = f"{path}: not a SignFlow model (format {_TORCH_FORMAT!r} expected); write it with save_torch_artifact"
        raise ArtifactError(msg)
    manifest = _parse_manifest(path, content.get("manifest"))
    weights: dict[str, Tensor] = content["state_dict"]
    found = _hash_weights(weights)
    if found != manifest.weights_sha256:
        msg = f"{path}: hash of the weights differs: the manifest says {manifest.weights_sha256}, the file has {found}"
        raise ManifestMismatchError(msg)
    return weights, manifest


def write_onnx_artifact(path: Path, *, model: bytes, manifest: ModelManifest, precision: str = "f32") -> None:
    """Write an ONNX model with its manifest and a seal over both, whole or not at all.

    Args:
        path: where to.
        model: a serialised ONNX model without our metadata.
        manifest: what it expects; `weights_sha256` tells which weights it was exported from.
        precision: of its weights, `f32` or `int8`.
    """
    write_whole(path, seal(model, {MANIFEST_KEY: manifest_to_json(manifest), PRECISION_KEY: precision}))


def read_onnx_artifact(path: Path) -> OnnxArtifact:
    """Read an ONNX file and check its seal.

    Raises:
        ModelNotFoundError: there is no such file.
        ArtifactError: it is not ONNX, or was not exported by SignFlow.
        ManifestMismatchError: it was changed or damaged after it was written.
    """
    content = _read_bytes(path)
    try:
        entries = read_entries(content)
    except ValueError as error:  # UnicodeDecodeError too
        msg = f"{path}: not a readable ONNX file ({error})"
        raise ArtifactError(msg) from error
    if MANIFEST_KEY not in entries or SEAL_KEY not in entries:
        msg = f"{path}: holds no SignFlow manifest; export it with 'python -m app.ml.export'"
        raise ArtifactError(msg)
    found = find_seal(content)
    if found != entries[SEAL_KEY]:
        msg = (
            f"{path}: hash differs: sealed with {entries[SEAL_KEY]}, the file has {found}; it was changed or damaged, "
            "export it again"
        )
        raise ManifestMismatchError(msg)
    return OnnxArtifact(
        content=content,
        manifest=_parse_manifest(path, entries[MANIFEST_KEY]),
        precision=entries.get(PRECISION_KEY, "f32"),
    )


def _parse_manifest(path: Path, text: object) -> ModelManifest:
    if not isinstance(text, str):
        msg = f"{path}: holds no manifest"
        raise ArtifactError(msg)
    try:
        return manifest_from_json(text)
    except ArtifactError as error:
        msg = f"{path}: {error}"
        raise ArtifactError(msg) from error


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


def _hash_weights(weights: Mapping[str, "Tensor"]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).contiguous().numpy().tobytes())
    return digest.hexdigest()


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise _not_found(path) from error
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror})"
        raise ArtifactError(msg) from error


def _not_found(path: Path) -> ModelNotFoundError:
    return ModelNotFoundError(f"{path}: no such file")


def _import_torch(path: Path):
    try:
        import torch
    except ImportError as error:
        msg = (
            f"{path} needs torch: pip install -e 'backend[train]', or export the model to ONNX where torch is installed"
        )
        raise MissingExtraError(msg) from error
    return torch
