"""Tracking against real MLflow stores: SQLite in a folder, and a server of its own that is killed in the middle."""

import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="installed by: make lab")
pytest.importorskip("mlflow", reason="installed by: make lab")

import httpx
from mlflow import MlflowClient

from app.ml.model_configs import get_model_config
from app.ml.tracking import MLFlowTracker, NullTracker, RunDescription, Tracker, flatten, local_tracking_uri
from app.ml.trainer import Progress
from app.ml.training.recipes import Recipe, get_recipe
from app.ml.training.run import TrainingOutcome, TrainingPlan, run_training
from tests.e2e.live_server import free_port
from tests.parametric_signer import IDLE, make_clips

# MLflow 3.17 uses what SQLAlchemy 2.1 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

SIGNS = ("rain", "sun")
ABOUT = RunDescription(name="test", params={"seed": 1}, data_fingerprint="abc", train_signers=["anna"])


def tiny_recipe(*, steps: int = 4) -> Recipe:
    reference = get_recipe("reference")
    trainer = replace(reference.trainer, steps=steps, batch_size=8, eval_every=2, warmup_steps=1)
    return replace(reference, model=get_model_config("tiny"), trainer=trainer)


def train(folder: Path, tracker: Tracker, *, on_step: dict[int, object] | None = None) -> TrainingOutcome:
    """Train on three people, one of them held out."""

    def note(progress: Progress) -> None:
        action = (on_step or {}).get(progress.step)
        if callable(action):
            action()

    plan = TrainingPlan(
        clips=make_clips(num_people=3, takes=1, labels=(*SIGNS, IDLE)),
        recipe=tiny_recipe(),
        held_out=["person2"],
        output=folder / "model_v2.pt",
        int8=False,
    )
    return run_training(plan, tracker=tracker, on_progress=note)


def test_people_of_every_script_have_metrics_of_their_own(tmp_path: Path) -> None:
    people = ("민준", "서연", "a+b", "a#b", "Zo\u00eb", "../x")
    tracker = MLFlowTracker.in_folder(tmp_path)
    tracker.start(RunDescription(name="run", params={}, data_fingerprint="", train_signers=people))

    tracker.log_metrics({f"signer/{name}": number / 10 for number, name in enumerate(people)}, step=1)

    assert tracker.problem is None
    assert tracker.run_id is not None
    metrics = MlflowClient(tracking_uri=local_tracking_uri(tmp_path)).get_run(tracker.run_id).data.metrics
    assert metrics == {
        "signer/민준": 0.0, "signer/서연": 0.1, "signer/a-u2b-b": 0.2, "signer/a-u23-b": 0.3, "signer/Zoë": 0.4,
        "signer/-u2e-./x": 0.5,
    }  # fmt: skip


def test_a_run_records_what_went_in_how_it_went_and_what_came_out(tmp_path: Path) -> None:
    tracker = MLFlowTracker.in_folder(tmp_path)

    outcome = train(tmp_path, tracker)

    assert tracker.problem is None
    assert tracker.run_id is not None
    assert outcome.judgement is not None
    client = MlflowClient(tracking_uri=local_tracking_uri(tmp_path))
    run = client.get_run(tracker.run_id)
    assert run.info.status == "FINISHED"
    assert (run.data.params["trainer.sampling.speed"], run.data.params["model.name"]) == ("0.22", "tiny")
    assert run.data.tags["data_fingerprint"] == outcome.manifest.provenance["data"]
    assert run.data.tags["git_revision"]
    assert (run.data.tags["train_signers"], run.data.tags["held_out_signers"]) == ("person0, person1", "person2")
    assert [(point.step, point.value) for point in client.get_metric_history(tracker.run_id, "val_accuracy")] != []
    assert {point.step for point in client.get_metric_history(tracker.run_id, "loss")} == {2, 4}
    assert 0 < run.data.metrics["waited_s"] == outcome.waited_s < outcome.seconds
    assert run.data.metrics["accuracy"] == outcome.judgement.accuracy
    assert run.data.metrics["signer/person2"] == outcome.judgement.signers["person2"].accuracy
    files = {file.path for file in client.list_artifacts(tracker.run_id)}
    assert files >= {
        "confusion_matrix.png", "curves.png", "environment.json", "manifest.json", "model_v2.onnx", "model_v2.pt",
        "per_sign.json", "per_signer.json", "signer_split.json",
    }  # fmt: skip
    artifacts = tmp_path / "mlruns" / tracker.run_id / "artifacts"
    assert (artifacts / "confusion_matrix.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((artifacts / "signer_split.json").read_text()) == {
        "held_out": ["person2"], "train": ["person0", "person1"],
    }  # fmt: skip
    assert json.loads((artifacts / "environment.json").read_text())["environment"]["torch"]


def test_a_cancelled_run_is_marked_and_can_be_continued_under_its_id(tmp_path: Path) -> None:
    def cancel() -> None:
        raise KeyboardInterrupt

    first = MLFlowTracker.in_folder(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, first, on_step={3: cancel})
    client = MlflowClient(tracking_uri=local_tracking_uri(tmp_path))
    assert first.run_id is not None
    assert client.get_run(first.run_id).info.status == "KILLED"

    again = MLFlowTracker.in_folder(tmp_path, run_id=first.run_id)
    train(tmp_path, again)

    assert (again.run_id, again.problem) == (first.run_id, None)
    assert client.get_run(first.run_id).info.status == "FINISHED"


@pytest.fixture
def mlflow_server(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """An MLflow server as `make mlflow` starts it, in a folder of its own."""
    port = free_port()
    store = tmp_path / "server"
    store.mkdir()
    command = [
        "env", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false", "MLFLOW_DISABLE_TELEMETRY=true", sys.executable, "-m",
        "mlflow", "server", "--backend-store-uri", f"sqlite:///{store}/mlflow.db", "--artifacts-destination",
        str(store / "mlruns"), "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    with (store / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=store, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline_s = time.monotonic() + 180
        while not is_healthy(port):
            assert process.poll() is None, (store / "log").read_text()
            assert time.monotonic() < deadline_s, "MLflow did not start"
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}", process
    finally:
        stop_group(process)


def is_healthy(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def stop_group(process: "subprocess.Popen[bytes]") -> None:
    """End a server and the workers that it started."""
    if process.poll() is None:
        subprocess.run(["kill", f"-{signal.SIGKILL}", "--", f"-{process.pid}"], check=False)
        process.wait()


def test_a_server_takes_runs_with_their_files_and_its_death_costs_the_record_only(
    tmp_path: Path, mlflow_server: tuple[str, "subprocess.Popen[bytes]"], caplog: pytest.LogCaptureFixture
) -> None:
    uri, process = mlflow_server
    healthy, tracker = MLFlowTracker(uri), MLFlowTracker(uri)

    train(tmp_path / "first", healthy)

    assert healthy.problem is None
    assert healthy.run_id is not None
    assert list((tmp_path / "server" / "mlruns").rglob("model_v2.pt")) != []

    with caplog.at_level(logging.WARNING, logger="app.ml.tracking"):
        outcome = train(tmp_path / "second", tracker, on_step={1: lambda: stop_group(process)})

    assert tracker.run_id is not None, "the run had begun"
    assert tracker.problem is not None
    assert uri in tracker.problem
    warnings = [record.message for record in caplog.records if record.name == "app.ml.tracking"]
    assert len(warnings) == 1
    assert warnings[0].startswith("TRACKING STOPPED, training goes on")
    assert [file.is_file() for file in outcome.files] == [True, True]


def test_a_server_that_never_was_costs_the_record_only(tmp_path: Path) -> None:
    tracker = MLFlowTracker(f"http://127.0.0.1:{free_port()}")

    tracker.start(ABOUT)
    tracker.log_metrics({"loss": 1.0}, step=1)
    tracker.finish("FINISHED")

    assert tracker.problem is not None
    assert tracker.run_id is None


def test_a_store_that_cannot_be_opened_costs_the_record_only(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"this is no database" * 100)
    tracker = MLFlowTracker.in_folder(tmp_path)

    tracker.start(ABOUT)

    assert tracker.problem is not None
    assert "mlflow.db" in tracker.problem


def test_nothing_is_recorded_by_the_null_tracker(tmp_path: Path) -> None:
    outcome = train(tmp_path, NullTracker())

    assert sorted(path.name for path in tmp_path.iterdir()) == ["model_v2.onnx", "model_v2.pt"]
    assert outcome.judgement is not None


def test_settings_in_groups_become_one_level() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": 0.5}}, "e": None, "f": (1, 2)}) == {
        "a.b": 1, "a.c.d": 0.5, "e": "None", "f": "(1, 2)",
    }  # fmt: skip
