"""Tensors in the Open Inference Protocol v2, as Triton, KServe and our TorchServe handler speak it over HTTP.

JSON carries values as flat lists. The binary extension appends raw little-endian bytes after the JSON, whose length
then stands in the header `Inference-Header-Content-Length`.
https://github.com/kserve/open-inference-protocol and its extension `binary_tensor_data`.
"""

import math
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

Tensors: TypeAlias = Mapping[str, NDArray[Any]]
Side: TypeAlias = Literal["inputs", "outputs"]

JSON_LENGTH_HEADER: Final = "inference-header-content-length"
_DTYPES: Final = {"BOOL": np.dtype(np.bool_), "FP32": np.dtype("<f4"), "FP64": np.dtype("<f8")}
_NAMES: Final = {dtype: name for name, dtype in _DTYPES.items()}


class TensorMessageError(ValueError):
    """A message that is not of the protocol, or holds tensors that SignFlow's models neither take nor give."""


def encode_tensors(
    tensors: Tensors, side: Side, *, binary: bool, extra: Mapping[str, object] | None = None
) -> tuple[bytes, dict[str, str]]:
    """Write a request (`inputs`) or an answer (`outputs`).

    Args:
        tensors: float32, float64 or bool arrays by name; NaN goes as raw bytes only.
        side: what they are.
        binary: append raw bytes, and ask for the answer in the same form.
        extra: further fields of the message.

    Returns:
        The body and the headers that belong to it.
    """
    entries: list[dict[str, object]] = []
    raw: list[bytes] = []
    for name, array in tensors.items():
        entry: dict[str, object] = {"name": name, "shape": list(array.shape), "datatype": _NAMES[array.dtype]}
        if binary:
            content = array.tobytes()
            raw.append(content)
            entry["parameters"] = {"binary_data_size": len(content)}
        else:
            entry["data"] = array.ravel()
        entries.append(entry)
    message: dict[str, object] = {**(extra or {}), side: entries}
    if binary and side == "inputs":
        message["parameters"] = {"binary_data_output": True}
    text = orjson.dumps(message, option=orjson.OPT_SERIALIZE_NUMPY)
    if not binary:
        return text, {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(text))}
    return b"".join((text, *raw)), headers


def decode_tensors(
    content: bytes | Mapping[str, object], side: Side, *, json_length: str | None
) -> dict[str, NDArray[Any]]:
    """Read a request or an answer.

    Args:
        content: the body, or the object that was read from it already.
        side: which tensors to read.
        json_length: the header `Inference-Header-Content-Length`; None when there is none.

    Raises:
        TensorMessageError: it is malformed, or has a type other than FP32, FP64 and BOOL; says which tensor.
    """
    if json_length is not None and not (json_length.isdecimal() and not isinstance(content, Mapping)):
        msg = f"header {JSON_LENGTH_HEADER} is {json_length!r}; expected the number of bytes of JSON before raw tensors"
        raise TensorMessageError(msg)
    if isinstance(content, Mapping):
        message, raw = content, b""
    else:
        length = len(content) if json_length is None else int(json_length)
        message, raw = _read_json(content[:length]), content[length:]
    entries = message.get(side)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        msg = f"the message has no list of {side}"
        raise TensorMessageError(msg)
    tensors: dict[str, NDArray[Any]] = {}
    position = 0
    for entry in entries:
        name, dtype, shape, size = _read_entry(entry)
        if size is None:
            tensors[name] = _from_list(name, entry.get("data"), dtype, shape)
        else:
            tensors[name] = _from_bytes(name, raw[position : position + size], dtype, shape)
            position += size
    return tensors


def decode_wishes(content: bytes | Mapping[str, object], *, json_length: str | None) -> tuple[tuple[str, ...], bool]:
    """What a request, already decoded once, asks to be answered: names of outputs (none for all), and raw bytes."""
    if isinstance(content, Mapping):
        message = content
    else:
        message = _read_json(content if json_length is None else content[: int(json_length)])
    outputs, parameters = message.get("outputs"), message.get("parameters")
    names = [entry.get("name") for entry in outputs if isinstance(entry, dict)] if isinstance(outputs, list) else []
    binary = isinstance(parameters, dict) and parameters.get("binary_data_output") is True
    return tuple(name for name in names if isinstance(name, str)), binary


def _read_json(content: bytes) -> Mapping[str, object]:
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        msg = f"not JSON: {error}"
        raise TensorMessageError(msg) from error
    if not isinstance(value, dict):
        msg = "the message is no JSON object"
        raise TensorMessageError(msg)
    return value


def _read_entry(entry: Mapping[str, Any]) -> tuple[str, np.dtype[Any], tuple[int, ...], int | None]:
    name, shape, datatype = entry.get("name"), entry.get("shape"), entry.get("datatype")
    if not isinstance(name, str):
        msg = f"a tensor's name is {name!r}"
        raise TensorMessageError(msg)
    if not isinstance(shape, list) or not all(isinstance(side, int) and side >= 0 for side in shape):
        msg = f"tensor {name!r}: shape is {shape!r}; expected a list of whole numbers"
        raise TensorMessageError(msg)
    if not isinstance(datatype, str) or datatype not in _DTYPES:
        msg = f"tensor {name!r}: datatype is {datatype!r}; expected one of {', '.join(_DTYPES)}"
        raise TensorMessageError(msg)
    parameters = entry.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is not None and not (isinstance(size, int) and size >= 0):
        msg = f"tensor {name!r}: binary_data_size is {size!r}"
        raise TensorMessageError(msg)
    return name, _DTYPES[datatype], tuple(shape), size


def _from_list(name: str, data: object, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    try:
        array = np.array(data, dtype)
    except (ValueError, TypeError) as error:
        msg = f"tensor {name!r}: data are no numbers: {error}"
        raise TensorMessageError(msg) from error
    return _shaped(name, array.ravel(), shape)


def _from_bytes(name: str, content: bytes, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if len(content) % dtype.itemsize:
        msg = f"tensor {name!r}: {len(content)} bytes are no whole number of values"
        raise TensorMessageError(msg)
    return _shaped(name, np.frombuffer(content, dtype).copy(), shape)  # PyTorch wants arrays that can be written to


def _shaped(name: str, values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if values.size != math.prod(shape):
        msg = f"tensor {name!r}: {values.size} values do not fill the shape {list(shape)}"
        raise TensorMessageError(msg)
    return values.reshape(shape)
