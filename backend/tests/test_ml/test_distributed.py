"""Training in several processes and through kills, with real processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from torch import Tensor

from app.ml.artifacts.files import load_torch_artifact
from app.ml.errors import TrainingError
from app.ml.training.world import ALONE, World, joined_world
from tests.training_worker import STEPS, train

BACKEND = Path(__file__).resolve().parents[2]
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
WORKER = ("-m", "tests.training_worker")


def start(*command: str | Path) -> subprocess.Popen[str]:
    """A process that can be killed with all its children."""
    return subprocess.Popen(
        [str(part) for part in command],
        cwd=BACKEND,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Wait for the end; kill what is left of a process that hangs."""
    try:
        return process.communicate(timeout=180)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def weights(folder: Path, rank: int = 0) -> Mapping[str, Tensor]:
    return load_torch_artifact(folder / f"weights-{rank}.pt")[0]


def assert_equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def wait_for_step(process: subprocess.Popen[str], step: int) -> bool:
    """True once the process has done a step, False when it ended before."""
    assert process.stdout is not None
    return any(line.strip() == f"step {step}" for line in process.stdout)


def test_a_run_killed_at_random_moments_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    train(whole)
    rng = np.random.default_rng(0)
    killed = 0
    for until in (5, 11, 17):
        process = start(sys.executable, *WORKER, broken)
        assert wait_for_step(process, until)
        time.sleep(float(rng.uniform(0, 0.05)))  # in the middle of a step or of a save
        process.kill()
        finish(process)
        killed += process.returncode == -signal.SIGKILL
        assert not (broken / "weights-0.pt").exists()

    output, errors = finish(start(sys.executable, *WORKER, broken))

    assert killed == 3
    first = int(output.split()[1])
    assert 17 <= first <= STEPS, errors
    assert_equal(weights(broken), weights(whole))


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of two processes."""
    folder = tmp_path_factory.mktemp("two")
    process = start(*TORCHRUN, *WORKER, folder)
    _, errors = finish(process)
    assert process.returncode == 0, errors
    return folder


def test_two_processes_end_with_the_same_model(two_processes: Path) -> None:
    assert_equal(weights(two_processes, 0), weights(two_processes, 1))


def test_one_of_two_processes_killed_gives_a_clear_error_and_a_clean_resume(
    two_processes: Path, tmp_path: Path
) -> None:
    process = start(*TORCHRUN, *WORKER, tmp_path)
    assert wait_for_step(process, 7)
    (second,) = [
        child for child in psutil.Process(process.pid).children(recursive=True) if child.environ().get("RANK") == "1"
    ]
    second.kill()
    _, errors = finish(process)

    assert process.returncode != 0
    # Whoever notices first speaks: the process that is left, or torchrun, which then ends it.
    assert "start the same command again" in errors or "Signal 9 (SIGKILL)" in errors
    assert not list(tmp_path.glob("weights-*"))

    process = start(*TORCHRUN, *WORKER, tmp_path)
    output, errors = finish(process)

    assert process.returncode == 0, errors
    assert int(output.split()[1]) >= 7
    assert_equal(weights(tmp_path), weights(two_processes))


def test_a_checkpoint_of_two_processes_is_not_continued_by_one(two_processes: Path) -> None:
    process = start(sys.executable, *WORKER, two_processes)
    _, errors = finish(process)

    assert process.returncode != 0
    assert "processes was 2, is 1" in errors


def test_without_torchrun_a_process_is_alone() -> None:
    with joined_world() as world:
        assert world == ALONE
    assert (world.is_first, world.place, world.split(7)) == (True, None, 7)


def test_a_batch_must_split_evenly() -> None:
    assert World(rank=1, size=2).split(64) == 32
    with pytest.raises(TrainingError, match="batch of 64 cannot be split evenly between 3"):
        World(size=3).split(64)


def test_only_errors_of_lost_processes_are_called_so() -> None:
    gone = "[../gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1"
    with pytest.raises(TrainingError, match="process 0 of 2 lost the others"), World(size=2).named_losses():
        raise RuntimeError(gone)
    for world in (ALONE, World(size=2)):
        with pytest.raises(RuntimeError, match="shape"), world.named_losses():
            raise RuntimeError("shape mismatch")
