"""Checkpoints through damage, kills between any two steps of a save, and full disks."""

import errno
from pathlib import Path

import pytest
import torch

from app.ml.artifacts.whole_files import write_whole
from app.ml.errors import ArtifactError, TrainingError
from app.ml.training.checkpoints import load_checkpoint, previous_of, save_checkpoint
from tests.full_disk import disk_with_room_for

RUN = {"feature_spec": "hands256", "steps": "6"}


def state(step: int) -> dict[str, object]:
    return {"step": step, "weights": torch.full((50_000,), float(step))}


def loaded_step(path: Path) -> object:
    found = load_checkpoint(path, identity=RUN)
    return None if found is None else found["step"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A checkpoint of step 2, that of step 1 beside it."""
    path = tmp_path / "deep" / "run.ckpt"
    for step in (1, 2):
        save_checkpoint(path, state=state(step), identity=RUN)
    return path


def test_the_newest_is_read_and_the_one_before_is_kept(path: Path) -> None:
    assert loaded_step(path) == 2
    assert loaded_step(previous_of(path)) == 1
    assert sorted(one.name for one in path.parent.iterdir()) == ["run.ckpt", "run.previous.ckpt"]


def test_there_may_be_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "run.ckpt", identity=RUN) is None


@pytest.mark.parametrize("content", [b"", b"garbage", None], ids=["empty", "garbage", "half"])
def test_the_one_before_replaces_a_damaged_one_with_a_warning(
    path: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)

    assert loaded_step(path) == 1
    assert "run.ckpt is not a readable checkpoint" in caplog.text
    assert "going on from run.previous.ckpt" in caplog.text


def test_two_damaged_ones_are_refused_with_what_to_do(path: Path) -> None:
    path.write_bytes(b"garbage")
    previous_of(path).write_bytes(b"garbage")

    with pytest.raises(ArtifactError, match=r"run\.previous\.ckpt is not a readable checkpoint .*delete it"):
        load_checkpoint(path, identity=RUN)


@pytest.mark.parametrize("left_behind", ["run.ckpt.new.partial", "run.ckpt.new"])
def test_a_kill_while_the_next_one_is_written_leaves_this_one(path: Path, left_behind: str) -> None:
    (path.parent / left_behind).write_bytes(b"half of it")

    assert loaded_step(path) == 2
    save_checkpoint(path, state=state(3), identity=RUN)
    assert loaded_step(path) == 3


def test_a_kill_between_the_two_names_leaves_the_one_before(path: Path) -> None:
    path.replace(previous_of(path))

    assert loaded_step(path) == 2


def test_another_run_is_refused_with_what_differs(path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"another run \(feature_spec was hands256, is base469\)"):
        load_checkpoint(path, identity={**RUN, "feature_spec": "base469"})
    with pytest.raises(ArtifactError, match="teacher was not stated, is large"):
        load_checkpoint(path, identity={**RUN, "teacher": "large"})


def test_a_full_disk_is_named_and_the_last_checkpoints_stay(path: Path) -> None:
    with disk_with_room_for(1000), pytest.raises(TrainingError, match=r"cannot be written .*make room, then start"):
        save_checkpoint(path, state=state(3), identity=RUN)

    assert loaded_step(path) == 2
    assert loaded_step(previous_of(path)) == 1
    assert len(list(path.parent.iterdir())) == 2


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(TrainingError, match="cannot be written"):
        save_checkpoint(tmp_path / "file" / "run.ckpt", state=state(1), identity=RUN)


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    write_whole(path, b"old")
    with disk_with_room_for(2), pytest.raises(OSError, match="File too large") as raised:
        write_whole(path, b"new content")
    assert raised.value.errno == errno.EFBIG
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]

    write_whole(path, b"new content")

    assert path.read_bytes() == b"new content"
