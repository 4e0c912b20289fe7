"""What is counted, how many series that may be, and several workers that count together."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.api.errors import HTTP_ERRORS
from app.api.ws_messages import CloseCode, ErrorCode
from app.core import errors as core_errors
from app.core.metrics import DropReason, ServerMetrics, SessionOutcome
from app.ml import errors as ml_errors
from app.ml.metrics import Fallback, SkipReason, Stage
from app.ml.types import Alternative, Prediction

BACKEND = Path(__file__).resolve().parents[2]
DOCUMENT = BACKEND.parent / "docs" / "metrics.md"
VOCABULARY = [f"sign_{number:04d}" for number in range(5_000)]
NUM_VERSIONS = 40


def documented_budget() -> tuple[dict[str, int], int]:
    """Series that docs/metrics.md allows: of each metric, and of a server."""
    text = DOCUMENT.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(signflow_\w+)` \|[^|]*\| (\d+) \|", text, re.MULTILINE)
    total = re.search(r"\*\*One server may have ([\d,]+) series", text)
    assert total is not None
    return {name: int(limit) for name, limit in rows}, int(total[1].replace(",", ""))


def series_of(page: bytes) -> dict[tuple[str, ...], float]:
    """Every series with its value; the key is the name and the labels' values."""
    return {
        (sample.name, *(value for name, value in sorted(sample.labels.items()) if name != "worker")): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def count_by_metric(page: bytes) -> Counter[str]:
    """How many series each metric has; a counter's name ends in `_total`, as on the page."""
    numbers: Counter[str] = Counter()
    for family in text_string_to_metric_families(page.decode()):
        numbers[family.name + ("_total" if family.type == "counter" else "")] += len(family.samples)
    return numbers


def answer(label: str | None, *, version: str = "v1", best: str = "hello", confidence: float = 0.8) -> Prediction:
    """An answer of a recogniser."""
    return Prediction(
        label=label,
        confidence=confidence,
        alternatives=(Alternative(label=best, confidence=confidence),),
        model_version=version,
    )


def drive_everything(metrics: ServerMetrics) -> None:
    """The largest vocabulary, more models than anybody loads, and every code, reason and stage that there is."""
    for number in range(NUM_VERSIONS):
        version = f"v{number}"
        metrics.inference.add_model(version=version, backend="onnx", sha256=f"{number:064d}", signs=VOCABULARY)
        for sign in VOCABULARY[number::NUM_VERSIONS]:
            metrics.inference.answered(answer(sign, version=version, best=sign), 0.01)
        metrics.inference.answered(answer(None, version=version), 0.01)
    drive_every_code(metrics)


def drive_every_code(metrics: ServerMetrics) -> None:
    """Every stage, reason, outcome and code once."""
    classes = [one for module in (core_errors, ml_errors) for one in vars(module).values() if isinstance(one, type)]
    for error in [TimeoutError(), *(one("x") for one in classes if one is not core_errors.ServerBusyError)]:
        metrics.inference.failed(error, 0.1)
    for stage in Stage:
        metrics.inference.stage_done(stage, 0.01)
    for skip in SkipReason:
        metrics.inference.window_skipped(skip)
    for fallback in Fallback:
        metrics.inference.fell_back(fallback)
    for reason in DropReason:
        metrics.frame_dropped(reason)
    for outcome in SessionOutcome:
        metrics.session_wanted(outcome)
    for code in CloseCode:
        metrics.stream_closed(code.name.lower())
    metrics.stream_closed("by_client")
    for code in ErrorCode:
        metrics.error_told("stream", code.value)
    for code in [*(code for _, code in HTTP_ERRORS.values()), "method_not_allowed", "error"]:
        metrics.error_told("http", code)


def test_no_vocabulary_and_no_number_of_models_breaks_the_budget() -> None:
    metrics = ServerMetrics()
    drive_everything(metrics)
    limits, total = documented_budget()

    numbers = count_by_metric(metrics.render())

    assert {name: (num, limits.get(name)) for name, num in numbers.items() if num > limits.get(name, 6)} == {}
    assert sum(limits.values()) < total
    assert sum(numbers.values()) < total


def test_signs_beyond_the_limit_share_a_series_and_no_answer_is_lost() -> None:
    metrics = ServerMetrics(max_signs=2)
    metrics.inference.add_model(version="v1", backend="onnx", sha256="a", signs=("hello", "yes", "zebra"))
    for label in ("hello", "yes", "zebra", "zebra", None):
        metrics.inference.answered(answer(label, best=label or "yes"), 0.02)
    metrics.inference.answered(answer("hello", version="unheard of"), 0.02)

    series = series_of(metrics.render())

    assert series["signflow_inference_total", "v1", "_other"] == 2
    assert series["signflow_inference_total", "v1", "_not_sure"] == 1
    assert series["signflow_inference_total", "_other", "hello"] == 1
    assert series["signflow_prediction_confidence_count", "yes"] == 2, "the likeliest sign, accepted or not"
    assert not any("zebra" in key for key in series)


def test_latency_is_counted_in_the_promised_buckets() -> None:
    metrics = ServerMetrics()
    metrics.inference.add_model(version="v1", backend="onnx", sha256="a", signs=("hello",))
    for seconds in (0.004, 0.02, 0.3, 7.0):
        metrics.inference.answered(answer("hello"), seconds)

    series = series_of(metrics.render())
    name = "signflow_inference_latency_seconds_bucket"
    buckets = {key[1]: value for key, value in series.items() if key[0] == name}

    assert buckets == {
        "0.01": 1, "0.025": 2, "0.05": 2, "0.1": 2, "0.25": 2, "0.5": 3, "1.0": 3, "+Inf": 4,
    }  # fmt: skip


def test_series_exist_before_anything_happens_so_that_rates_miss_no_first_event() -> None:
    metrics = ServerMetrics()
    metrics.inference.add_model(version="v1", backend="onnx", sha256="a", signs=("hello",))

    series = series_of(metrics.render())

    assert series["signflow_inference_total", "v1", "hello"] == 0
    assert series["signflow_frames_dropped_total", "backlog"] == 0
    assert series["signflow_sessions_total", "busy"] == 0
    assert not any(key[0].endswith("_created") for key in series)


WORKER = """
import sys
from pathlib import Path
from app.core.metrics import ServerMetrics, DropReason
from tests.test_core.test_metrics import answer
metrics = ServerMetrics(multiprocess_dir=Path(sys.argv[1]))
metrics.inference.add_model(version="v1", backend="onnx", sha256="a", signs=("hello",))
metrics.watch("sessions_open", "Sessions", lambda: 3)
metrics.watch("model_loaded", "Loaded", lambda: float(sys.argv[2] == "first"), workers="min")
metrics.frame_received()
metrics.frame_dropped(DropReason.BACKLOG)
metrics.inference.answered(answer("hello"), 0.02)
metrics.refresh()
print("counted", flush=True)
sys.stdin.read()
sys.stdout.buffer.write(metrics.render())
"""


def test_every_worker_answers_for_all(tmp_path: Path) -> None:
    command = ["env", f"PROMETHEUS_MULTIPROC_DIR={tmp_path}", sys.executable, "-c", WORKER, str(tmp_path)]
    workers = [
        subprocess.Popen([*command, name], cwd=BACKEND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for name in ("first", "second")
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"counted\n"
    pages = [worker.communicate(timeout=60)[0] for worker in workers]
    first = series_of(pages[0])

    assert first["signflow_frames_received_total",] == 2
    assert first["signflow_frames_dropped_total", "backlog"] == 2
    assert first["signflow_inference_total", "v1", "hello"] == 2
    assert first["signflow_inference_latency_seconds_count", "v1"] == 2
    assert first["signflow_sessions_open",] == 6
    assert first["signflow_model_loaded",] == 0, "the server has its model when every worker has"
    assert pages[0].count(b"\nprocess_resident_memory_bytes{") == 2, "one series a worker"


@pytest.mark.parametrize("stage", Stage)
def test_each_stage_is_counted_under_its_name(stage: Stage) -> None:
    metrics = ServerMetrics()
    metrics.inference.stage_done(stage, 0.001)

    assert series_of(metrics.render())["signflow_stage_seconds_count", stage.value] == 1
