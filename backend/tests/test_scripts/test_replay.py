import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from typer.testing import CliRunner

from app.ml.recordings.clips import Clip, save_clip, save_dataset
from scripts.replay import app
from tests.e2e.live_server import free_port
from tests.fakes import signing_frame, still_frame
from tests.test_api.live import serve, serve_without_model


async def run(*arguments: object) -> tuple[int, str, str]:
    """The tool beside the server that runs in this test's loop."""
    result = await asyncio.to_thread(CliRunner().invoke, app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def clip_of(label: str, *, signer: str = "anna") -> Clip:
    frames = [signing_frame(index * 40.0, label=label) for index in range(25)] + [still_frame()] * 25
    return Clip(landmarks=np.stack(frames), times_ms=np.arange(50) * 40.0, label=label, signer=signer)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    clips = [clip_of("hello"), clip_of("yes"), clip_of("hello", signer="ben")]
    save_dataset(tmp_path / "clips.npz", clips)
    return tmp_path / "clips.npz"


async def test_a_recording_is_translated_and_what_was_expected_gives_exit_code_0(tmp_path: Path) -> None:
    save_clip(tmp_path / "clip.npz", clip_of("hello"))
    async with serve(tmp_path) as server:
        code, out, _ = await run(
            tmp_path / "clip.npz", "--server", server.http, "--pace", "replay", "--expect", "hello"
        )
        wrong, _, errors = await run(
            tmp_path / "clip.npz", "--server", server.http, "--pace", "replay", "--expect", "yes"
        )

    assert code == 0
    assert "sign 1: hello 90%" in out
    assert "recording" in out
    assert wrong == 1
    assert "expected yes; got hello" in errors


async def test_json_lines_hold_every_event_and_its_clip(tmp_path: Path, dataset: Path) -> None:
    async with serve(tmp_path) as server:
        code, out, _ = await run(
            dataset, "--server", server.http, "--pace", "replay", "--signer", "anna", "--json", "--check"
        )

    events = [orjson.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [(event["clip"], event["label"]) for event in events if event["type"] == "sign"] == [
        (0, "hello"),
        (1, "yes"),
    ]
    assert {"ready", "state", "partial", "caption", "ended"} <= {event["type"] for event in events}


async def test_clips_are_chosen_by_position_label_person_and_number(tmp_path: Path, dataset: Path) -> None:
    async with serve(tmp_path) as server:
        for choice, positions in (
            (("--index", 1), ["clip 1"]),
            (("--label", "hello"), ["clip 0", "clip 2"]),
            (("--label", "hello", "--signer", "ben"), ["clip 2"]),
            (("--limit", 2), ["clip 0", "clip 1"]),
        ):
            code, out, _ = await run(dataset, "--server", server.http, "--pace", "replay", *choice)
            assert code == 0
            assert [line.split(":")[0] for line in out.splitlines() if line.startswith("clip")] == positions


async def test_a_clip_that_is_answered_wrongly_fails_the_check(tmp_path: Path) -> None:
    clip = clip_of("hello")
    wrong = Clip(landmarks=clip.landmarks, times_ms=clip.times_ms, label="goodbye")
    idle = Clip(landmarks=np.stack([still_frame()] * 25), times_ms=np.arange(25) * 40.0, label="idle")
    save_dataset(tmp_path / "clips.npz", [clip, wrong, idle])
    async with serve(tmp_path) as server:
        code, _, errors = await run(tmp_path / "clips.npz", "--server", server.http, "--pace", "replay", "--check")

    assert code == 1
    assert "clip 1: expected goodbye; got hello" in errors
    assert "2 of 3 clips as expected" in errors


async def test_mistakes_are_one_line_and_exit_code_2(tmp_path: Path, dataset: Path) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    for arguments, message in (
        ((tmp_path / "absent.npz",), "no such file"),
        ((dataset, "--label", "nope"), "labels: hello, yes; signers: anna, ben"),
        ((dataset, "--index", 9), "there is no clip 9; the 3 clips are counted from 0"),
        ((dataset, "--server", nobody), "no SignFlow server at"),
        ((dataset, "--server", "ftp://x"), "is not a server's address"),
    ):
        code, out, errors = await run(*arguments)
        assert code == 2
        assert message in errors
        assert "Traceback" not in out + errors
    async with serve_without_model(tmp_path) as server:
        code, _, errors = await run(dataset, "--server", server.http)
    assert code == 2
    assert "has no model: no model here" in errors


async def test_a_recording_that_cannot_be_used_is_named_and_the_others_are_streamed(tmp_path: Path) -> None:
    clip = clip_of("hello")
    pixels = replace(clip, landmarks=clip.landmarks * np.float32(640.0), clip_id="take 2")
    save_dataset(tmp_path / "clips.npz", [clip, pixels, clip_of("yes")])
    async with serve(tmp_path) as server:
        code, out, errors = await run(tmp_path / "clips.npz", "--server", server.http, "--pace", "replay")
        named, _, told = await run(tmp_path / "clips.npz", "--server", server.http, "--index", 1)
        chosen, _, _ = await run(tmp_path / "clips.npz", "--server", server.http, "--pace", "replay", "--index", 2)

    assert code == 1
    assert [line.split(":")[0] for line in out.splitlines() if line.startswith("clip")] == ["clip 0", "clip 2"]
    assert "take 2: shoulders" in errors
    assert named == 2
    assert "clip 1 cannot be used" in told
    assert chosen == 0


async def test_times_in_seconds_are_refused_before_anything_is_sent(tmp_path: Path) -> None:
    clip = clip_of("hello")
    save_clip(tmp_path / "clip.npz", replace(clip, times_ms=clip.times_ms / 1000))

    code, out, errors = await run(tmp_path / "clip.npz")

    assert (code, out) == (2, "")
    assert "50 frames in 1.96 ms; times_ms are milliseconds: multiply seconds by 1000" in errors
