"""Which model files a folder has: `model_vN.pt`, `model_vN.onnx` and `model_vN.int8.onnx` are one model, version N."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.ml.errors import ModelNotFoundError

_FILE_NAME: Final = re.compile(r"model_v(\d+)(\.int8\.onnx|\.onnx|\.pt)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """The files of one model version in a folder; None where there is none."""

    version: str
    onnx: Path | None = None
    onnx_int8: Path | None = None
    torch: Path | None = None


def find_model(model_dir: Path, *, version: str | None = None) -> ModelFiles:
    """The files of the newest `model_vN` in a folder (by N, not by date), or of a chosen version.

    Raises:
        ModelNotFoundError: there is none.
    """
    found: dict[int, dict[str, Path]] = {}
    for path in model_dir.glob("model_v*"):
        match = _FILE_NAME.fullmatch(path.name)
        if match:
            found.setdefault(int(match[1]), {})[match[2]] = path
    if version is not None:
        found = {number: paths for number, paths in found.items() if f"v{number}" == version}
    if not found:
        msg = (
            f"no model_{version or 'vN'}.onnx or .pt in {model_dir}; train one with 'python -m scripts.train' or point "
            "SIGNFLOW_MODEL_DIR at a folder that has one"
        )
        raise ModelNotFoundError(msg)
    newest = max(found)
    paths = found[newest]
    return ModelFiles(
        version=f"v{newest}",
        onnx=paths.get(".onnx"),
        onnx_int8=paths.get(".int8.onnx"),
        torch=paths.get(".pt"),
    )
