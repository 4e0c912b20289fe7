"""Model artifacts: one self-contained file each, `.pt` or `.onnx`, with a manifest that says what it expects.

    model_v3.pt          a dictionary of tensors and texts, loaded with weights_only: no code runs
    model_v3.onnx        the same manifest in `metadata_props`, sealed with a hash over everything before the seal
    model_v3.int8.onnx   the same with int8 weights

The manifest names the weights it was made from (`weights_sha256`), so files beside each other are known to be
one model. Reading an ONNX file's manifest needs no torch, no onnx and no onnxruntime.
"""

import hashlib
import io
import pickle
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zipfile import BadZipFile

from app.ml.artifacts.interface import INTERFACE_KEY
from app.ml.artifacts.manifest import ModelManifest, manifest_from_json, manifest_to_json
from app.ml.artifacts.metadata import SEAL_KEY, find_seal, read_entries, seal, unseal
from app.ml.artifacts.whole_files import write_whole
from app.ml.errors import ArtifactError, ManifestMismatchError, MissingExtraError, ModelNotFoundError

if TYPE_CHECKING:
    from torch import Tensor

MANIFEST_KEY: Final = "signflow.manifest"
PRECISION_KEY: Final = "signflow.precision"
_TORCH_FORMAT: Final = "signflow-model-1"
UNREADABLE: Final = (
    RuntimeError,
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    struct.error,
    BadZipFile,
)
"""What `torch.load` raises at files that are damaged or no files of PyTorch; its texts advise to load them unsafely."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxArtifact:
    """A sealed ONNX file: its bytes, its manifest, the precision of its weights (`f32` or `int8`), and what goes in and
    out (`interface.py`); empty for a file from before landmarks went in."""

    content: bytes = field(repr=False)
    manifest: ModelManifest
    precision: str
    interface: str


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
    except (OSError, *UNREADABLE) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        msg = f"{path}: not a readable model file ({reason}); 'python -m scripts.train' writes such files"
        raise ArtifactError(msg) from error
    if not isinstance(content, dict) or content.get("format") != _TORCH_FORMAT:
        msg = f"{path}: not a SignFlow model (format {_TORCH_FORMAT!r} expected); 'python -m scripts.train' writes one"
        raise ArtifactError(msg)
    manifest = _parse_manifest(path, content.get("manifest"))
    weights = content.get("state_dict")
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in weights.items()
    ):
        msg = f"{path}: holds no weights"
        raise ArtifactError(msg)
    found = _hash_weights(weights)
    if found != manifest.weights_sha256:
        msg = f"{path}: hash of the weights differs: the manifest says {manifest.weights_sha256}, the file has {found}"
        raise ManifestMismatchError(msg)
    return weights, manifest


def write_onnx_artifact(
    path: Path, *, model: bytes, manifest: ModelManifest, interface: str, precision: str = "f32"
) -> None:
    """Write an ONNX model with its manifest and a seal over both, whole or not at all.

    Args:
        path: where to.
        model: a serialised ONNX model without our metadata.
        manifest: what it expects; `weights_sha256` tells which weights it was exported from.
        interface: what goes in and out, see `interface.py`.
        precision: of its weights, `f32` or `int8`.
    """
    entries = {MANIFEST_KEY: manifest_to_json(manifest), PRECISION_KEY: precision, INTERFACE_KEY: interface}
    write_whole(path, seal(model, entries))


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
        interface=entries.get(INTERFACE_KEY, ""),
    )


def rewrite_manifest(path: Path, manifest: ModelManifest) -> None:
    """Give a `.pt` (needs torch) or `.onnx` file another manifest of the same weights, whole or not at all.

    Raises:
        ModelNotFoundError: there is no such file.
        ArtifactError: it cannot be read.
        ManifestMismatchError: it is damaged, or has other weights than the manifest.
        OSError: it cannot be written; the file is as it was.
    """
    before = read_manifest(path)
    if before.weights_sha256 != manifest.weights_sha256:
        msg = f"{path} has weights {before.weights_sha256[:16]}, the manifest is of {manifest.weights_sha256[:16]}"
        raise ManifestMismatchError(msg)
    if path.suffix == ".pt":
        save_torch_artifact(path, state_dict=load_torch_artifact(path)[0], manifest=manifest)
        return
    artifact = read_onnx_artifact(path)
    model = unseal(artifact.content, (MANIFEST_KEY, PRECISION_KEY, INTERFACE_KEY))
    write_onnx_artifact(
        path, model=model, manifest=manifest, interface=artifact.interface, precision=artifact.precision
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
        msg = f"{path} needs PyTorch; 'make lab' installs it; or export the model to ONNX where PyTorch is"
        raise MissingExtraError(msg) from error
    return torch
