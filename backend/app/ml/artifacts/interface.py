"""What goes into an exported model and what comes out, as every `.onnx` file of ours says it in its metadata.

A server or a page that knows nothing of SignFlow can read there what to send. Files from before landmarks went in have
no such text.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from app.ml.artifacts.manifest import ModelManifest
from app.ml.errors import ManifestMismatchError

INTERFACE_KEY: Final = "signflow.interface"
INPUT_NAMES: Final = ("landmarks", "times_ms", "aspect", "mask")
OUTPUT_NAMES: Final = ("logits", "embedding", "signing")
FAMILIARITY: Final = "familiarity"
"""The output that only a model with prototypes has."""
MISSING: Final = 1e30
"""Stands for a coordinate that is missing where NaN cannot be sent, as in JSON."""
_VERSION: Final = "landmarks-1"
OLD_INPUTS: Final = ({"features", "mask"}, {"landmarks", "mask"})
"""What files from before landmarks went in take: features, or normalised landmarks, on a grid."""
_INPUTS: Final = (
    (
        "landmarks",
        "FP32",
        ("batch", "time", 75, 3),
        "x and y as fractions of the frame's width and height, y downwards, z on x's scale; in MediaPipe Holistic's "
        "order, 33 points of the pose, 21 of the left and 21 of the right hand; NaN, or beyond 1000, where missing",
    ),
    (
        "times_ms",
        "FP64",
        ("batch", "time"),
        "capture times in milliseconds on any clock, increasing; frames later than 60 s after the first are left out",
    ),
    ("aspect", "FP32", ("batch",), "the frame's width divided by its height"),
    ("mask", "BOOL", ("batch", "time"), "true for frames, which come first; false for padding"),
)


def output_names(manifest: ModelManifest) -> tuple[str, ...]:
    """What a model of ours gives, in order."""
    return (*OUTPUT_NAMES, FAMILIARITY) if manifest.prototypes else OUTPUT_NAMES


def describe_interface(manifest: ModelManifest, *, embedding: int) -> str:
    """The text for a file of this model, JSON; `embedding` is the width D of that output."""
    num_labels = len(manifest.labels)
    outputs = {
        "logits": (["batch", num_labels], "of the manifest's labels; divide by its temperature before a softmax"),
        "embedding": (["batch", embedding], "of length 1"),
        "signing": (["batch", "time"], "probability that the person signs in each frame"),
        FAMILIARITY: (["batch", num_labels], "how much the window resembles each label's prototype, in [0, 1]"),
    }
    return json.dumps(
        {
            "version": _VERSION,
            "inputs": [
                {"name": name, "datatype": datatype, "shape": shape, "meaning": meaning}
                for name, datatype, shape, meaning in _INPUTS
            ],
            "outputs": [
                {"name": name, "datatype": "FP32", "shape": outputs[name][0], "meaning": outputs[name][1]}
                for name in output_names(manifest)
            ],
        }
    )


def check_interface(
    path: Path,
    manifest: ModelManifest,
    *,
    interface: str,
    inputs: Mapping[str, Sequence[Any]],
    outputs: Mapping[str, Sequence[Any]],
) -> None:
    """Refuse a graph whose inputs and outputs, name to shape, are not what this version asks models.

    Raises:
        ManifestMismatchError: the message says which differs.
    """
    require_current(path, interface)
    expected = output_names(manifest)
    if set(inputs) != set(INPUT_NAMES) or set(outputs) != set(expected):
        msg = (
            f"{path}: takes {', '.join(inputs)} and gives {', '.join(outputs)}; expected {', '.join(INPUT_NAMES)} "
            f"and {', '.join(expected)}"
        )
        raise ManifestMismatchError(msg)
    for name in ("logits", FAMILIARITY):
        if name in expected and outputs[name][-1] != len(manifest.labels):
            msg = (
                f"{path}: number of labels differs: the manifest says {len(manifest.labels)}, the graph has "
                f"{outputs[name][-1]} {name}"
            )
            raise ManifestMismatchError(msg)


def require_current(path: Path, interface: str) -> None:
    """Refuse an `.onnx` file of another interface than this version's.

    Raises:
        ManifestMismatchError: for a file from before landmarks went in the message holds the command that converts it.
    """
    if not interface:
        msg = (
            f"{path} takes features, as models did before landmarks went in; convert it, without training: "
            f"python -m app.ml.export --model-path {path} --output {path}"
        )
        raise ManifestMismatchError(msg)
    version = _read_version(interface)
    if version != _VERSION:
        msg = f"{path}: its interface is {version!r}, this version of SignFlow speaks {_VERSION!r}; update SignFlow"
        raise ManifestMismatchError(msg)


def _read_version(interface: str) -> object:
    try:
        content = json.loads(interface)
    except json.JSONDecodeError:
        return None
    return content.get("version") if isinstance(content, dict) else None
