import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from app.ml.artifacts.whole_files import write_arrays_whole, write_whole
from tests.full_disk import disk_with_room_for

_WRITES_FOREVER = """
import sys
from pathlib import Path
from app.ml.artifacts.whole_files import write_whole
path = Path(sys.argv[1])
print("ready", flush=True)
while True:
    for letter in (b"a", b"b"):
        write_whole(path, letter * 3_000_000)
"""


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    write_whole(path, b"old")

    with disk_with_room_for(4), pytest.raises(OSError, match="File too large") as raised:
        write_whole(path, b"new content")

    assert raised.value.filename == str(path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"report.md": b"old"}


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_a_writer_that_is_stopped_leaves_a_whole_file(tmp_path: Path, stop: signal.Signals) -> None:
    path = tmp_path / "report.npz"
    with subprocess.Popen(
        [sys.executable, "-c", _WRITES_FOREVER, str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        while not path.exists():
            assert writer.poll() is None
        writer.send_signal(stop)
        writer.wait(20)

    content = path.read_bytes()
    assert content in (b"a" * 3_000_000, b"b" * 3_000_000)
    assert not [file for file in tmp_path.iterdir() if file.suffix == ".npz" and file != path]
    if stop is signal.SIGINT:
        assert list(tmp_path.iterdir()) == [path]


def test_permissions_and_links_stay(tmp_path: Path) -> None:
    path, link = tmp_path / "secret", tmp_path / "link"
    path.touch(0o600)
    link.symlink_to(path)

    write_whole(link, b"new")

    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert link.is_symlink()


def test_what_is_no_file_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    write_whole(pipe, b"told")

    assert os.read(reader, 10) == b"told"
    os.close(reader)
    assert pipe.is_fifo()


def test_arrays_keep_the_name_that_they_were_given(tmp_path: Path) -> None:
    write_arrays_whole(tmp_path / "clip.v1", {"values": np.arange(3), "text": "hello"})

    assert [file.name for file in tmp_path.iterdir()] == ["clip.v1"]
    with np.load(tmp_path / "clip.v1") as saved:
        assert saved.files == ["values", "text"]
        assert (saved["values"].tolist(), str(saved["text"])) == ([0, 1, 2], "hello")
