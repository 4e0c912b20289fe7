"""Training sessions through the interface, with both ways to train: real worker processes, a real Redis."""

import asyncio
import json
import os
import signal
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import get_args

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

pytest.importorskip("torch", reason="installed by: make lab")

from app.ml.artifacts.files import read_manifest
from app.ml.recordings.clips import load_dataset, save_clip, save_dataset
from tests.redis_server import RedisServer
from tests.test_api.live import OPERATOR_TOKEN, Message
from tests.training_workers import SIGNS, Lab, Runner, celery_worker, open_lab, write_data

PATIENCE_S = 240.0
"""A worker starts within seconds on an idle machine, and within minutes on a very busy one."""
ENDED = ("finished", "failed", "cancelled", "lost")


@pytest.fixture(params=get_args(Runner))
def runner(request: pytest.FixtureRequest) -> Runner:
    return request.param


@pytest.fixture
def redis(tmp_path: Path, runner: Runner) -> Iterator[RedisServer | None]:
    if runner == "process":
        yield None
        return
    server = RedisServer(folder=tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def lab(tmp_path: Path, runner: Runner, redis: RedisServer | None) -> AsyncGenerator[Lab]:
    """A server with data, and a worker that is ready or will be started."""
    write_data(tmp_path / "datasets")
    async with open_lab(tmp_path, runner, redis=redis) as lab:
        with nullcontext() if redis is None else celery_worker(tmp_path, redis):
            yield lab
            await end_all(lab)


async def end_all(lab: Lab) -> None:
    """Leave no worker behind."""
    for session in (await lab.http.get("/api/v1/training/sessions")).json()["sessions"]:
        if session["status"] not in ENDED:
            await lab.post(session, "cancel")
            await until(lab, session, lambda update: update["session"]["status"] in ENDED)


async def until(lab: Lab, session: Message, is_met: Callable[[Message], bool]) -> Message:
    """The first state of a session that meets a condition."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        update = await lab.get(session)
        if is_met(update):
            return update
        assert time.monotonic() < deadline_s, f"still {update['session']}"
        await asyncio.sleep(0.05)


def is_in(*statuses: str) -> Callable[[Message], bool]:
    return lambda update: update["session"]["status"] in statuses


def has_done(step: int) -> Callable[[Message], bool]:
    def reached(update: Message) -> bool:
        assert update["session"]["status"] in ("queued", "running"), update["session"]
        return update["session"]["step"] >= step

    return reached


async def watch(lab: Lab, session: Message, *, token: str = OPERATOR_TOKEN) -> tuple[list[Message], int | None]:
    """Everything that the live socket says, and with which code it closes."""
    updates: list[Message] = []
    address = lab.live.http.replace("http", "ws") + f"/api/v1/training/sessions/{session['id']}/stream"
    async with connect(address, compression=None) as socket:
        await socket.send(json.dumps({"token": token}))
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    updates.append(json.loads(await socket.recv()))
        except ConnectionClosed:
            return updates, socket.close_code


def worker_pid(lab: Lab, session: Message) -> int:
    """The process that trains a session, as it signed the database."""
    database = sqlite3.connect(lab.folder / "signflow.db")
    try:
        query = "SELECT worker FROM training_sessions WHERE id = ?"
        (worker,) = database.execute(query, (session["id"],)).fetchone()
    finally:
        database.close()
    return int(worker.rsplit(":", 1)[1])


async def test_a_session_trains_in_view_and_leaves_a_candidate_that_nothing_activates(lab: Lab) -> None:
    session = await lab.create()

    updates, code = await watch(lab, session)
    end = updates[-1]["session"]
    result = end["result"]

    assert (end["status"], end["message"], code) == ("finished", "", 1000)
    points = [point for update in updates for point in update["points"]]
    assert [point["step"] for point in points] == list(range(1, 21))
    assert [point["step"] for point in points if point["val_accuracy"] is not None] == [10, 20]
    assert [(score["signer"], score["num_clips"]) for score in result["signers"]] == [("person2", len(SIGNS))]
    folder = lab.folder / "models" / "candidates" / "v1"
    assert Path(result["folder"]) == folder
    assert sorted(path.name for path in folder.iterdir()) == sorted(result["files"])
    manifest = read_manifest(folder / "model_v1.onnx")
    assert set(manifest.label_names) >= set(SIGNS)
    assert manifest.provenance["signers"] == ["person0", "person1"]
    assert result["activate"] == f"cp {folder}/model_v1.* {lab.folder}/models/"
    assert list((lab.folder / "models").glob("model_*")) == []
    file = await lab.http.get(f"/api/v1/training/sessions/{session['id']}/files/model_v1.onnx")
    assert file.content == (folder / "model_v1.onnx").read_bytes()
    other = await lab.http.get(f"/api/v1/training/sessions/{session['id']}/files/worker.log")
    assert other.status_code == 404


async def test_cancelling_stops_within_a_batch_and_resuming_goes_on_from_the_checkpoint(lab: Lab) -> None:
    session = await lab.create(steps=400)
    await until(lab, session, has_done(15))

    before = (await lab.get(session))["session"]["step"]
    answer = await lab.post(session, "cancel")
    again = await lab.post(session, "cancel")
    stopped = await until(lab, session, is_in("cancelled"))

    assert (answer.status_code, answer.json()["cancelling"]) == (200, True)
    assert again.status_code in (200, 409)
    # What was under way when the cancellation came, and what had not been reported yet (twice a second).
    assert stopped["points"][-1]["step"] - before < 60
    late = await lab.post(session, "cancel")
    assert (late.status_code, late.json()["code"]) == (409, "wrong_state")

    assert (await lab.post(session, "resume")).json()["status"] == "queued"
    resumed = await until(lab, session, has_done(stopped["points"][-1]["step"] + 1))
    steps = [point["step"] for point in resumed["points"]]
    assert steps == list(range(1, len(steps) + 1)), "each step once, in order"
    assert resumed["session"]["attempt"] == 2
    assert resumed["session"]["resumed_from"] == stopped["points"][-1]["step"]


async def test_a_session_that_was_cancelled_before_its_first_step_says_that_it_began_again(lab: Lab) -> None:
    session = await lab.create(steps=400)
    await until(lab, session, lambda update: update["session"]["status"] == "running")
    await lab.post(session, "cancel")
    stopped = await until(lab, session, is_in("cancelled"))

    await lab.post(session, "resume")
    resumed = await until(lab, session, has_done(stopped["session"]["step"] + 1))

    assert resumed["session"]["resumed_from"] == stopped["session"]["step"]


async def test_a_dead_workers_session_is_marked_lost_and_goes_on_from_its_checkpoint(lab: Lab) -> None:
    session = await lab.create(steps=200)  # reported twice a second: a few steps would be over before the kill
    await until(lab, session, has_done(11))
    os.kill(worker_pid(lab, session), signal.SIGKILL)

    lost = (await until(lab, session, is_in("lost")))["session"]
    assert "resuming goes on from its last checkpoint" in lost["message"]

    assert (await lab.post(session, "resume")).status_code == 200
    end = await until(lab, session, is_in(*ENDED))
    assert (end["session"]["status"], end["session"]["message"]) == ("finished", "")
    assert end["session"]["resumed_from"] >= 10
    assert [point["step"] for point in end["points"]] == list(range(1, 201)), "each step once, in order"


async def test_recordings_that_cannot_be_used_are_named_and_the_rest_trains(lab: Lab) -> None:
    folder = lab.folder / "datasets" / "안녕"
    folder.mkdir()
    clips = load_dataset(lab.folder / "datasets" / "mine.npz")
    clips[-1].landmarks[:] = float("nan")  # nobody is seen in the last one
    for number, clip in enumerate(clips):
        save_clip(folder / f"{number}.npz", clip)

    session = await lab.create(datasets=["안녕"], held_out=[])
    end = (await until(lab, session, is_in(*ENDED)))["session"]

    assert (end["status"], end["message"]) == ("finished", "")
    assert end["result"]["num_left_out"] == 1
    assert end["result"]["left_out"] == [
        {"name": f"안녕/{len(clips) - 1}.npz", "reason": "has no landmark in any frame"},
    ]
    assert end["result"]["num_clips"] == len(clips) - 1


async def test_data_that_cannot_be_trained_on_fails_with_a_sentence(lab: Lab) -> None:
    clips = load_dataset(lab.folder / "datasets" / "mine.npz")
    for clip in clips:
        clip.landmarks[:] = float("nan")
    save_dataset(lab.folder / "datasets" / "nobody.npz", clips)

    session = await lab.create(datasets=["nobody.npz"], held_out=[])
    end = (await until(lab, session, is_in(*ENDED)))["session"]

    assert end["status"] == "failed"
    assert "has no landmark in any frame" in end["message"]
    assert list((lab.folder / "models" / "candidates").iterdir()) == []
