"""How much of a video a file promises: its bytes, and the pictures that its index shows.

Decoders read what is there and stop without a word where a file is cut. Containers say more: MP4 and MOV (ISO 14496-12)
and Matroska and WebM (RFC 8794) the size of their parts, AVI (RIFF) of the whole. Only what a file says exactly is
told: what is recorded live has no size, and the number of pictures in a Matroska file is OpenCV's guess from its
length, which sound or an uneven frame rate makes wrong by half.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

_ISO_BOXES: Final = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"})
_ISO_PARTS: Final = frozenset({b"moov", b"mdat", b"moof"})
_LIVE: Final = 0xFFFFFFFF
_EBML: Final = b"\x1a\x45\xdf\xa3"
_COUNTED: Final = frozenset({".mp4", ".mov", ".m4v", ".3gp", ".avi"})
_INSIDE: Final = frozenset({b"moov", b"trak", b"mdia", b"edts"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What a file says about itself.

    Attributes:
        num_bytes: how long it must be; None when it does not say.
        has_index: the number of pictures is counted, not guessed.
        shown: the share of the pictures that an edit list shows, as of a recording that a phone trimmed.
    """

    num_bytes: int | None
    has_index: bool
    shown: float = 1.0


def read_promise(path: Path) -> Promise:
    """What the container says; nothing for kinds that do not.

    Raises:
        OSError: the file cannot be read.
    """
    has_index = path.suffix.lower() in _COUNTED
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(12)
        if start[4:8] in _ISO_BOXES:
            boxes = list(_iso_boxes(file, 0, size))
            ends = [end for kind, _, end in boxes if kind in _ISO_PARTS]  # others may be a phone's own, of any size
            return Promise(num_bytes=max(ends, default=None), has_index=has_index, shown=_shown(file, boxes))
        if start[:4] == b"RIFF":
            length = int.from_bytes(start[4:8], "little")
            return Promise(num_bytes=None if length == _LIVE else 8 + length, has_index=has_index)
        if start[:4] == _EBML:
            return Promise(num_bytes=_ebml_bytes(file), has_index=False)
    return Promise(num_bytes=None, has_index=has_index)


def _iso_boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, first byte of the content and end of each box; the last may end past the file."""
    while start + 8 <= end:
        file.seek(start)
        head = file.read(16)
        length, content = int.from_bytes(head[:4], "big"), start + 8
        if length == 1:
            length, content = int.from_bytes(head[8:], "big"), start + 16
        stop = end if length == 0 else start + length  # 0: to the end of the file
        if stop < content:  # no box: what follows cannot be told
            return
        yield head[4:8], content, stop
        start = stop


def _shown(file: BinaryIO, boxes: list[tuple[bytes, int, int]]) -> float:
    """The share of the picture track's time that its edit list shows."""
    size = os.fstat(file.fileno()).st_size
    movie_scale = 0
    for kind, start, end in boxes:
        if kind != b"moov" or end > size:
            continue
        for inner, first, stop in _iso_boxes(file, start, end):
            if inner == b"mvhd":
                movie_scale, _ = _scale_and_length(_read(file, first, stop))
            elif inner == b"trak" and movie_scale:
                track = dict(_flatten(file, first, stop))
                scale, length = _scale_and_length(track.get(b"mdhd", b""))
                if track.get(b"hdlr", b"")[8:12] == b"vide" and b"elst" in track and scale and length:
                    return min(1.0, _edit_length(track[b"elst"]) / movie_scale / (length / scale))
    return 1.0


def _flatten(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    for kind, first, stop in list(_iso_boxes(file, start, end)):
        if kind in _INSIDE:
            yield from _flatten(file, first, stop)
        elif kind in (b"mdhd", b"hdlr", b"elst"):
            yield kind, _read(file, first, stop)


def _read(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(min(end - start, 1_000_000))


def _scale_and_length(box: bytes) -> tuple[int, int]:
    """Ticks a second, and length in ticks, of an `mvhd` or `mdhd` box."""
    at, width = (20, 8) if box[:1] == b"\x01" else (12, 4)
    return int.from_bytes(box[at : at + 4], "big"), int.from_bytes(box[at + 4 : at + 4 + width], "big")


def _edit_length(box: bytes) -> int:
    """Ticks of the movie that an `elst` box shows; a time of -1 is a pause before the first picture."""
    width = 8 if box[:1] == b"\x01" else 4
    entry = 2 * width + 4
    total = 0
    for at in range(8, 8 + entry * int.from_bytes(box[4:8], "big"), entry):
        if box[at + width : at + 2 * width] != b"\xff" * width:
            total += int.from_bytes(box[at : at + width], "big")
    return total


def _ebml_bytes(file: BinaryIO) -> int | None:
    """Where the segment ends; None when it was recorded live."""
    file.seek(4)
    header = _ebml_size(file)
    if header is None:
        return None
    file.seek(header, os.SEEK_CUR)
    file.seek(4, os.SEEK_CUR)  # the segment's own four bytes
    size = _ebml_size(file)
    return None if size is None else file.tell() + size


def _ebml_size(file: BinaryIO) -> int | None:
    first = file.read(1)
    if not first or first == b"\0":
        return None
    length = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(length - 1), "big") & ((1 << 7 * length) - 1)
    return None if value == (1 << 7 * length) - 1 else value  # all ones: unknown
