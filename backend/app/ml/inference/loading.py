"""Opens a model file with what can run it: ONNX Runtime, PyTorch or OpenVINO."""

from pathlib import Path

from app.ml.errors import ArtifactError, MissingExtraError, ModelNotFoundError
from app.ml.inference.backends import Backend, OnnxBackend


def open_backend(
    path: Path, *, num_threads: int | None = None, device: str = "auto", with_openvino: bool = False
) -> Backend:
    """Open a `.onnx` or `.pt` file.

    Args:
        path: the file.
        num_threads: inside one call; with PyTorch for everything in the process. None is one for ONNX Runtime and
            OpenVINO, and leaves PyTorch's as they are.
        device: `cpu`, `cuda`, `cuda:N`, or `mps` (a `.pt` only); `auto` takes a GPU where there is one.
        with_openvino: run a `.onnx` with OpenVINO, which here is on the CPU always.

    Raises:
        ArtifactError: it cannot be used; the message says what is wrong or what differs.
        MissingExtraError: what runs it is not installed; the message says which command installs it.
    """
    if path.suffix == ".onnx":
        if with_openvino:
            return _open_openvino(path, num_threads=num_threads or 1)
        return OnnxBackend(path, num_threads=num_threads or 1, device=device)
    if path.suffix != ".pt":
        msg = f"{path}: a model is a .pt or .onnx file"
        raise ArtifactError(msg)
    if not path.is_file():
        msg = f"{path}: no such file"
        raise ModelNotFoundError(msg)
    try:
        from app.ml.inference.torch_backend import TorchBackend
    except ImportError as error:
        msg = f"{path} needs PyTorch; 'make lab' installs it; or export the model to ONNX where PyTorch is"
        raise MissingExtraError(msg) from error
    return TorchBackend(path, num_threads=num_threads, device=device)


def _open_openvino(path: Path, *, num_threads: int) -> Backend:
    try:
        from app.ml.inference.openvino_backend import OpenVinoBackend
    except ImportError as error:
        msg = "the backend openvino needs OpenVINO; 'make extra NAME=openvino' installs it, or choose another backend"
        raise MissingExtraError(msg) from error
    return OpenVinoBackend(path, num_threads=num_threads)
