import asyncio
from pathlib import Path

import orjson
from typer.testing import CliRunner

from app.ml.recordings.clips import save_dataset
from scripts.benchmark_stream import app
from tests.e2e.live_server import free_port
from tests.parametric_signer import IDLE, make_clips
from tests.test_api.live import serve


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_cameras_are_simulated_and_every_sign_is_held_against_the_truth(tiny_model_dir: Path, tmp_path: Path) -> None:
    save_dataset(tmp_path / "clips.npz", make_clips(num_people=2, takes=2, labels=("sun", "rain", "stone", IDLE)))

    code, out, _ = run(
        "--clients", 2, "--fps", 15, "--seconds", 8, "--data", tmp_path / "clips.npz", "--model-dir", tiny_model_dir,
        "--max-dropped", 0, "--json",
    )  # fmt: skip

    report = orjson.loads(out)
    assert code == 0
    assert report["frames_handled"] == report["frames_sent"] > 150
    assert report["signs_expected"] >= 4
    assert report["f1"] > 0.3  # the tiny model reads signs without a rest between them as one; guessing gives 0.1
    assert 0.0 <= report["frame_handled_ms"]["p50"] <= report["frame_handled_ms"]["p99"]
    assert report["frame_round_trip_ms"]["p50"] > 0
    assert report["sign_delay_ms"]["p50"] > 0
    assert report["memory_mb"] > 20
    assert report["cpu_cores"] > 0
    assert report["calibration_ms"] > 0
    assert report["ready_s"] > 0
    assert report["model"]["version"] == "v1"


async def test_a_running_server_is_measured_as_fast_as_it_reads(tmp_path: Path) -> None:
    async with serve(tmp_path) as server:
        code, out, _ = await asyncio.to_thread(
            run, "--url", server.http, "--clients", 2, "--seconds", 5, "--processes", 2, "--max-throughput", "--json"
        )
        printed, text, _ = await asyncio.to_thread(
            run, "--url", server.http, "--clients", 1, "--seconds", 3, "--min-f1", 0.5
        )

    report = orjson.loads(out)
    assert code == 0
    assert report["frames_handled"] == report["frames_sent"] > 200
    assert report["frames_dropped"] == 0
    assert report["f1"] is None  # the fake model knows none of the made-up signs
    assert printed == 1
    assert "the model knows none of these signs" in text


def test_mistakes_are_one_line_and_exit_code_2(tmp_path: Path) -> None:
    for arguments, message in (
        (("--url", f"127.0.0.1:{free_port()}"), "no SignFlow server at"),
        (("--url", "127.0.0.1:1", "--model-dir", tmp_path), "leave out --url"),
        (("--model-dir", tmp_path), "is not ready"),
    ):
        code, out, errors = run(*arguments)
        assert code == 2
        assert message in errors
        assert "Traceback" not in out + errors
