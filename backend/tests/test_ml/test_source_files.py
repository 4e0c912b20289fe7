import os
from pathlib import Path

import pytest

from app.ml.recordings.source_files import Place, find_data_files, is_data, natural, place_of, show_path


@pytest.mark.parametrize(
    "litter",
    [
        ".DS_Store", "._a.npy", "a/._0.npy", "__MACOSX/a/0.npy", ".ipynb_checkpoints/0.npy", "a/Thumbs.db",
        "a/desktop.ini", "~$notes.npy",
    ],
)  # fmt: skip
def test_hidden_files_and_litter_are_no_data(litter: str, tmp_path: Path) -> None:
    root = tmp_path / ".cache"  # a hidden folder that somebody names is no litter
    (root / litter).parent.mkdir(parents=True, exist_ok=True)
    (root / litter).touch()
    (root / "good.npy").touch()

    assert not is_data(root / litter, root=root)
    assert find_data_files(root) == [root / "good.npy"]


def test_files_come_in_the_order_of_their_numbers_and_with_the_endings_that_were_asked_for(tmp_path: Path) -> None:
    for name in ("b/10.npy", "b/9.NPY", "a/2.npy", "a/note.txt", "a/10/1.npy"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    found = [path.relative_to(tmp_path).as_posix() for path in find_data_files(tmp_path, {".npy"})]

    assert found == ["a/2.npy", "a/10/1.npy", "b/9.NPY", "b/10.npy"]
    assert find_data_files(tmp_path / "a" / "note.txt", {".npy"}) == [tmp_path / "a" / "note.txt"]


def test_names_sort_by_every_number_in_them() -> None:
    names = ["take2_frame_10_left", "take10_frame_1_left", "take2_frame_9_left", "take2_frame_9_right"]

    assert sorted(names, key=natural) == [names[2], names[3], names[0], names[1]]


def test_the_first_folder_is_the_label_and_the_second_the_signer(tmp_path: Path) -> None:
    def place(name: str) -> Place:
        return place_of(tmp_path / name, root=tmp_path)

    assert place("x.mp4") == Place(label=None, signer=None)
    assert place("hello/x.mp4") == Place(label="hello", signer=None)
    assert place("hello/anna/x.mp4") == place("hello/anna/front/x.mp4") == Place(label="hello", signer="anna")
    assert place_of(tmp_path / "x.mp4", root=tmp_path / "x.mp4") == Place(label=None, signer=None)


def test_a_path_of_other_bytes_than_utf8_can_be_shown() -> None:
    assert show_path(Path(os.fsdecode(b"h\xf6ren/0.npy"))) == r"h\xf6ren/0.npy"
