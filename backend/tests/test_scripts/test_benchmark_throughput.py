import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.ml.evaluation.throughput import CallFigures, advise
from app.ml.pipeline import SignFlowInferencePipeline
from scripts.benchmark_throughput import app
from tests.fake_model_server import serve_model
from tests.untrained_model import write_untrained_model


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_untrained_model(folder)
    return folder


def run(model_dir: Path, *options: str) -> tuple[int, str, str]:
    arguments = ["--model-dir", str(model_dir), "--seconds", "0.2", "--window-ms", "600", *options]
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout, result.stderr


def test_backends_are_measured_side_by_side(model_dir: Path) -> None:
    code, output, complaints = run(
        model_dir, "--backend", "onnx", "--backend", "torch", "--batch-size", "4", "--clients", "1", "--clients", "8",
        "--json",
    )  # fmt: skip

    assert code == 0, complaints
    reports = json.loads(output)
    assert [report["backend"] for report in reports] == ["onnx", "torch"]
    for report in reports:
        assert [call["batch_size"] for call in report["calls"]] == [1, 2, 4]
        assert [(load["mode"], load["num_clients"]) for load in report["loads"]] == [
            ("single", 1), ("single", 8), ("batch", 1), ("batch", 8),
        ]  # fmt: skip
        for load in report["loads"]:
            assert load["windows_per_s"] > 0
            assert load["p50_ms"] <= load["p95_ms"] <= load["p99_ms"]
            assert load["calibration_ms"] > 0
        assert report["advice"]["batch_size"] in (1, 2, 4)


def test_the_settings_that_follow_are_printed(model_dir: Path) -> None:
    code, output, _ = run(model_dir, "--backend", "onnx", "--mode", "batch", "--batch-size", "2", "--clients", "2")

    assert code == 0
    assert "SIGNFLOW_INFERENCE__BACKEND=onnx" in output
    assert "SIGNFLOW_BATCH__BATCH_SIZE=" in output


def test_what_is_not_there_is_left_out_unless_it_was_asked_for(model_dir: Path) -> None:
    options = ("--mode", "single", "--clients", "1", "--batch-size", "1")
    code, _, complaints = run(model_dir, *options)
    assert code == 0
    assert "onnx-int8 is left out: " in complaints

    code, _, complaints = run(model_dir, *options, "--backend", "onnx-int8")
    assert code == 2
    assert "has no file of model v1" in complaints


async def test_an_inference_server_is_measured_through_the_products_own_client(model_dir: Path) -> None:
    options = ("--backend", "onnx", "--mode", "remote", "--clients", "3", "--batch-size", "2", "--json")
    async with serve_model(SignFlowInferencePipeline.load(model_dir)) as server:
        code, output, complaints = await asyncio.to_thread(run, model_dir, *options, "--url", server.url)
        server.status = 500
        failed, _, reason = await asyncio.to_thread(run, model_dir, *options, "--url", server.url)

    assert code == 0, complaints
    (load,) = json.loads(output)[0]["loads"]
    assert (load["mode"], load["num_clients"]) == ("remote", 3)
    assert load["num_windows"] > 0
    assert (failed, "500" in reason) == (2, True)


def test_names_that_do_not_exist_are_refused(model_dir: Path) -> None:
    code, _, complaints = run(model_dir, "--backend", "abacus")

    assert code == 2
    assert "unknown backend abacus; choose from onnx, onnx-int8, torch, openvino" in complaints


def calls(per_window_ms: float, per_call_ms: float) -> list[CallFigures]:
    return [
        CallFigures(
            batch_size=size,
            stack_ms=0.0,
            features_ms=None,
            model_ms=per_window_ms + per_call_ms / size,
            answers_ms=0.0,
            bare_windows_per_s=1.0,
            calibration_ms=1.0,
        )
        for size in (1, 2, 4, 8, 16, 32)
    ]


def test_advice_is_a_small_batch_where_calls_cost_nothing_and_a_large_one_where_they_do() -> None:
    cheap, dear = advise(calls(1.0, 0.01)), advise(calls(0.1, 20.0))

    assert (cheap.batch_size, cheap.max_latency_ms) == (1, 0.0)
    assert (dear.batch_size, dear.max_latency_ms) == (32, pytest.approx(9.9, abs=0.1))


def test_a_network_that_nobody_has_trained_can_be_measured(model_dir: Path) -> None:
    code, output, complaints = run(
        model_dir, "--network", "baseline", "--backend", "onnx", "--mode", "single", "--clients", "1", "--batch-size",
        "1", "--json",
    )  # fmt: skip

    assert code == 0, complaints
    (trained,) = json.loads(run(model_dir, "--backend", "onnx", "--mode", "single", "--clients", "1", "--batch-size",
                                "1", "--json")[1])  # fmt: skip
    (report,) = json.loads(output)
    assert report["calls"][0]["model_ms"] > 2 * trained["calls"][0]["model_ms"], "not the tiny network of the folder"


def test_an_unknown_network_is_refused(model_dir: Path) -> None:
    code, _, complaints = run(model_dir, "--network", "huge")

    assert code != 0
    assert "unknown network huge; choose from tiny, baseline, large" in complaints
