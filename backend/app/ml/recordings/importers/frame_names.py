"""The order of frames that lie in one file each, and which are missing, by the numbers in their names."""

import re
from collections.abc import Sequence
from pathlib import Path

from app.ml.errors import DatasetError
from app.ml.recordings.source_files import natural

_NUMBER = re.compile(r"\d+")


def number_frames(files: Sequence[Path]) -> list[tuple[int, Path]]:
    """Frames in order, each with its number counted from the first one's; a number that is missing stays a gap.

    `0`, `frame_2`, `img_003_left`: the number is the only one that changes from name to name. Where several change (a
    date), the order is right and the frames are counted.

    Raises:
        DatasetError: a name has no number, the names follow different patterns, or two have the same number.
    """
    if len(files) < 2:
        return [(0, file) for file in files]
    ordered = sorted(files, key=lambda file: natural(file.stem))
    patterns = {_NUMBER.sub("#", file.stem): file.name for file in reversed(ordered)}
    if len(patterns) > 1 or "#" not in next(iter(patterns)):
        names = " and ".join(sorted(patterns.values())[:2])
        msg = (
            f"the order of frames is the number in their names, which {names} do not share; name them 0.npy, 1.npy, ..."
        )
        raise DatasetError(msg)
    numbers = [[int(number) for number in _NUMBER.findall(file.stem)] for file in ordered]
    changing = [place for place, values in enumerate(zip(*numbers, strict=True)) if len(set(values)) > 1]
    for before, after, one, other in zip(numbers, numbers[1:], ordered, ordered[1:], strict=False):
        if before == after:
            msg = f"{one.name} and {other.name} are both frame {before[-1]}; remove one"
            raise DatasetError(msg)
    if len(changing) > 1:
        return list(enumerate(ordered))
    place = changing[0]
    return [(values[place] - numbers[0][place], file) for values, file in zip(numbers, ordered, strict=True)]
