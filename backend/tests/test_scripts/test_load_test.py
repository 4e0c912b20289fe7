"""The load test itself, with a small model: real workers, a real Redis, a real faulty line."""

from pathlib import Path

import orjson
from typer.testing import CliRunner

from scripts.load_test import app
from tests.binaries import require_binary


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_nothing_is_lost_repeated_or_hidden_when_lines_break_redis_restarts_and_a_worker_dies(
    tiny_model_dir: Path,
) -> None:
    require_binary("redis-server", install="sudo apt-get install redis-server")

    code, out, errors = run(
        "faults", "--clients", 3, "--fps", 15, "--seconds", 45, "--rest", 4, "--model-dir", tiny_model_dir, "--json",
        "--only", "half-open", "--only", "redis-restart", "--only", "worker-kill", "--only", "cut",
    )  # fmt: skip

    report = orjson.loads(out)
    assert code == 0, errors + out
    assert [fault["name"] for fault in report["faults"]] == ["cut", "half-open", "redis-restart", "worker-kill"]
    assert report["signs"] == {"expected": report["signs"]["expected"], "lost": 0, "repeated": 0, "changed": 0}
    assert report["signs"]["expected"] > 10
    assert report["reconnects"] >= 6
    assert report["frames_handled"] + report["frames_dropped"] == report["frames_sent"] > 1_500
    assert report["has_passed"] is True


def test_overload_is_compared_with_the_load_that_the_server_carries(tiny_model_dir: Path) -> None:
    require_binary("redis-server", install="sudo apt-get install redis-server")

    code, out, _ = run(
        "overload", "--capacity", 1, "--factor", 3, "--fps", 15, "--seconds", 5, "--processes", 1,
        "--model-dir", tiny_model_dir, "--max-sessions", 1, "--json",
    )  # fmt: skip

    report = orjson.loads(out)
    assert code in {0, 1}  # how fast this machine is at this moment is not what is tested
    assert report["peak"]["clients_refused"] == 0
    assert report["overload"]["clients_refused"] == 2
    assert report["overload"]["refusal_ms"]["p50"] > 0
    assert report["overload"]["frames_handled"] == report["peak"]["frames_handled"]


def test_a_fault_that_nobody_knows_is_refused_with_those_that_there_are() -> None:
    code, _, errors = run("faults", "--only", "earthquake")

    assert code == 2
    assert "earthquake" in errors
    assert "worker-kill" in errors
