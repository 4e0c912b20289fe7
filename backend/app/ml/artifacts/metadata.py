"""Puts texts into an ONNX file and seals it, and reads them back without `onnx` or `onnxruntime`.

An ONNX file is one protobuf message (`ModelProto`), and `metadata_props` is its repeated field 14 of key and value
texts. Protobuf merges what is appended, so an entry is added by writing its bytes after the file's, and read by walking
over the top-level fields.
https://protobuf.dev/programming-guides/encoding/ has the format.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

SEAL_KEY: Final = "signflow.sha256"
_METADATA_PROPS: Final = 14
_KEY: Final = 1
_VALUE: Final = 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def seal(model: bytes, entries: Mapping[str, str]) -> bytes:
    """Append metadata entries, and last the SHA-256 of everything before that last entry."""
    body = model + b"".join(_encode_entry(key, value) for key, value in entries.items())
    return body + _encode_entry(SEAL_KEY, hashlib.sha256(body).hexdigest())


def unseal(content: bytes, keys: Sequence[str]) -> bytes:
    """What `seal` was given together with entries of these keys, in this order."""
    entries = read_entries(content)
    return content[: -len(seal(b"", {key: entries[key] for key in keys}))]


def find_seal(content: bytes) -> str:
    """The hash that the last entry of a sealed file must hold."""
    return hashlib.sha256(content[:-_SEAL_LENGTH]).hexdigest()


def _encode_entry(key: str, value: str) -> bytes:
    entry = b"".join(_encode_bytes(number, text.encode()) for number, text in ((_KEY, key), (_VALUE, value)))
    return _encode_bytes(_METADATA_PROPS, entry)


def read_entries(model: bytes) -> dict[str, str]:
    """All metadata entries of an ONNX file's bytes.

    Raises:
        ValueError: the bytes are not a protobuf message.
    """
    entries: dict[str, str] = {}
    for number, content in _walk(model):
        if number == _METADATA_PROPS:
            texts = dict(_walk(content))
            entries[texts.get(_KEY, b"").decode()] = texts.get(_VALUE, b"").decode()
    return entries


def _encode_bytes(number: int, content: bytes) -> bytes:
    return _encode_varint(number << 3 | _BYTES) + _encode_varint(len(content)) + content


def _encode_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _walk(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and content of each length-delimited field; the others are stepped over."""
    view, position = memoryview(message), 0
    while position < len(view):
        tag, position = _decode_varint(view, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            _, position = _decode_varint(view, position)
            continue
        if wire_type not in (_FIXED64, _BYTES, _FIXED32):
            msg = f"no field can start at byte {position}"
            raise ValueError(msg)
        if wire_type == _BYTES:
            length, position = _decode_varint(view, position)
        else:
            length = 8 if wire_type == _FIXED64 else 4
        end = position + length
        if end > len(view):
            msg = f"cut off: a field of {length} bytes starts at byte {position} of {len(view)}"
            raise ValueError(msg)
        if wire_type == _BYTES:
            yield number, bytes(view[position:end]) if number in (_KEY, _VALUE, _METADATA_PROPS) else b""
        position = end


def _decode_varint(view: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(view) or shift > 63:
            msg = f"cut off inside a number at byte {position}"
            raise ValueError(msg)
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


_SEAL_LENGTH: Final = len(_encode_entry(SEAL_KEY, "0" * 64))
