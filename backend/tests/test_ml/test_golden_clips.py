"""Python takes and refuses the clip files that the page takes and refuses: both test suites read the same table."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.ml.errors import ClipFileError
from app.ml.recordings.clips import Clip, load_clip, load_dataset, save_dataset
from app.ml.recordings.summary import summarise
from tests.golden.write_clips import FOLDER, TABLE, make_files, render

ROWS: dict[str, Any] = json.loads(TABLE.read_text(encoding="utf-8"))


def contents(file: bytes) -> dict[str, bytes]:
    """What a file holds, or its bytes if that cannot be read: machines compress alike only with the same zlib."""
    try:
        with zipfile.ZipFile(io.BytesIO(file)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, RuntimeError):
        return {"": file}


def test_the_golden_files_are_what_the_script_writes() -> None:
    files = {path.stem: contents(path.read_bytes()) for path in FOLDER.glob("*.npz")}

    assert set(files) == set(ROWS)
    assert files == {name: contents(file) for name, file in make_files().items()}, (
        "run: python -m tests.golden.write_clips"
    )
    assert TABLE.read_text(encoding="utf-8") == render(), "run: python -m tests.golden.write_clips"


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if "taken" in row])
def test_a_clip_that_the_page_takes_is_taken_with_the_same_numbers(name: str) -> None:
    expected = ROWS[name]["taken"]

    clip = load_clip(FOLDER / f"{name}.npz")

    assert (clip.times_ms.tolist(), clip.width, clip.height, clip.label) == (
        expected["times_ms"],
        expected["width"],
        expected["height"],
        expected["label"],
    )
    for sample in expected["points"]:
        found = clip.landmarks[sample["frame"], sample["point"]]
        np.testing.assert_allclose(found, np.array(sample["at"], np.float32), atol=1e-6)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if "problem" in row])
def test_a_clip_that_the_page_refuses_is_refused_for_the_same_reason(name: str) -> None:
    with pytest.raises(ClipFileError) as caught:
        load_clip(FOLDER / f"{name}.npz")

    assert ROWS[name]["says"] in str(caught.value)


@pytest.mark.parametrize("name", ["whole", "letters_in_bytes", "letters_of_another_script"])
def test_a_list_of_data_says_the_label_that_the_clip_has(name: str) -> None:
    assert list(summarise(FOLDER / f"{name}.npz").signs) == [ROWS[name]["taken"]["label"]]


def test_a_list_of_data_names_a_file_that_is_encrypted() -> None:
    with pytest.raises(ClipFileError, match=r"encrypted\.npz"):
        summarise(FOLDER / "encrypted.npz")


def test_names_in_a_data_set_may_be_bytes(tmp_path: Path) -> None:
    landmarks = np.full((4, 75, 3), 0.5, np.float32)
    clip = Clip(landmarks=landmarks, times_ms=np.arange(4) * 40.0, label="niño", signer="josé", clip_id="1")
    save_dataset(tmp_path / "text.npz", [clip])
    with np.load(tmp_path / "text.npz") as file:
        encoded = {
            key: np.char.encode(file[key], "utf-8") if file[key].dtype.kind == "U" else file[key] for key in file
        }
    np.savez(tmp_path / "bytes.npz", **encoded)

    (loaded,) = load_dataset(tmp_path / "bytes.npz")

    assert (loaded.label, loaded.signer, loaded.clip_id) == ("niño", "josé", "1")
    assert dict(summarise(tmp_path / "bytes.npz").signs) == {"niño": 1}
