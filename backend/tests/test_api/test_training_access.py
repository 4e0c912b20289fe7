"""Who may use training, what is refused, and what is said where the training packages are missing."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.ml.recordings.clips import load_dataset, save_clip
from tests.test_api.live import http_client, serve
from tests.training_workers import PEOPLE, REQUEST, SIGNS, Lab, open_lab, write_data

NOBODY = "0" * 32


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncGenerator[Lab]:
    """A server with data, whose workers are never asked for."""
    write_data(tmp_path / "datasets")
    async with open_lab(tmp_path, "process") as lab:
        yield lab


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "options"),
        ("GET", "datasets"),
        ("GET", "sessions"),
        ("POST", "sessions"),
        ("GET", f"sessions/{NOBODY}"),
        ("POST", f"sessions/{NOBODY}/cancel"),
        ("POST", f"sessions/{NOBODY}/resume"),
        ("DELETE", f"sessions/{NOBODY}"),
        ("GET", f"sessions/{NOBODY}/files/model_v1.pt"),
    ],
)
async def test_training_is_for_operators_only(tmp_path: Path, method: str, path: str) -> None:
    async with serve(tmp_path) as live, http_client(live) as http:
        anonymous = await http.request(method, f"/api/v1/training/{path}", json=REQUEST)
        wrong = await http.request(
            method, f"/api/v1/training/{path}", json=REQUEST, headers={"Authorization": "Bearer wrong"}
        )

    assert (anonymous.status_code, wrong.status_code) == (401, 401)


@pytest.mark.parametrize("opening", ['{"token": "wrong"}', "{}", "no json", '{"token": ""}'])
async def test_the_live_socket_says_nothing_without_the_token(lab: Lab, opening: str) -> None:
    address = lab.live.http.replace("http", "ws") + f"/api/v1/training/sessions/{NOBODY}/stream"

    async with connect(address) as socket:
        await socket.send(opening)
        with pytest.raises(ConnectionClosed):
            await socket.recv()

    assert socket.close_code == 4010


async def test_the_live_socket_refuses_foreign_pages_and_unknown_sessions(lab: Lab) -> None:
    address = lab.live.http.replace("http", "ws") + f"/api/v1/training/sessions/{NOBODY}/stream"

    with pytest.raises(InvalidStatus) as refused:
        await connect(address, additional_headers={"Origin": "https://elsewhere.example"})
    async with connect(address) as socket:
        await socket.send(json.dumps({"token": "operator-token-for-tests"}))
        with pytest.raises(ConnectionClosed):
            await socket.recv()

    assert refused.value.response.status_code == 403
    assert socket.close_code == 4011


async def test_data_sets_are_listed_with_people_and_signs_and_broken_files_with_their_reason(lab: Lab) -> None:
    folder = lab.folder / "datasets"
    (folder / "broken.npz").write_bytes(b"not an archive")
    (folder / "takes" / "sun").mkdir(parents=True)
    for number, clip in enumerate(load_dataset(folder / "mine.npz")[:2]):
        save_clip(folder / "takes" / "sun" / f"{number}.npz", clip)

    answer = (await lab.http.get("/api/v1/training/datasets")).json()
    found = {one["name"]: one for one in answer["datasets"]}

    assert list(found) == ["broken.npz", "mine.npz", "takes"]
    assert "broken.npz is no .npz file; make one with" in found["broken.npz"]["problem"]
    assert found["mine.npz"]["problem"] is None
    assert set(found["mine.npz"]["signers"]) == set(PEOPLE)
    assert found["mine.npz"]["signs"] == dict.fromkeys(SIGNS, 3)
    assert found["mine.npz"]["num_clips"] == 9
    assert found["takes"]["num_clips"] == 2
    assert answer["folder"] == str(folder)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"datasets": ["../signflow.db"]}, "no data set ../signflow.db in the server's data folder; known: mine.npz"),
        ({"datasets": ["/etc/passwd"]}, "no data set /etc/passwd"),
        ({"datasets": []}, "datasets"),
        ({"recipe": "secret"}, "unknown recipe 'secret'; known: reference, starter"),
        ({"held_out": ["zoe"]}, "zoe signs in none of the chosen data sets; there are: person0, person1, person2"),
        ({"held_out": list(PEOPLE)}, "everybody is held out"),
        ({"steps": 0}, "steps"),
        ({"language": "English"}, "language"),
    ],
)
async def test_what_cannot_be_trained_is_refused_with_a_reason(
    lab: Lab, changes: dict[str, Any], complaint: str
) -> None:
    answer = await lab.http.post("/api/v1/training/sessions", json={**REQUEST, **changes})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert complaint in answer.json()["message"]
    assert (await lab.http.get("/api/v1/training/sessions")).json() == {"sessions": []}


async def test_a_session_that_is_not_there_is_not_found(lab: Lab) -> None:
    answers: list[httpx.Response] = [
        await lab.http.get(f"/api/v1/training/sessions/{NOBODY}"),
        await lab.http.post(f"/api/v1/training/sessions/{NOBODY}/cancel"),
        await lab.http.delete(f"/api/v1/training/sessions/{NOBODY}"),
    ]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, "not_found")] * 3


async def test_recipes_and_the_runner_are_offered(lab: Lab) -> None:
    options = (await lab.http.get("/api/v1/training/options")).json()

    assert {recipe["name"] for recipe in options["recipes"]} >= {"starter", "trial"}
    assert (options["runner"], options["install_command"]) == ("process", "make lab")
