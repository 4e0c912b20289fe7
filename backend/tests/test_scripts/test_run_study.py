from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner
from typer.testing import Result as ClickResult

from app.ml.artifacts.files import load_torch_artifact, save_torch_artifact
from app.ml.evaluation.scoring import Interval
from app.ml.evaluation.unseen import FoldOutcome
from app.ml.types import FloatArray
from scripts import run_study
from scripts.evaluate_unseen import fold_path
from scripts.run_study import Result, Row, main, write_report
from tests.untrained_model import write_untrained_model

LABELS = ("rain", "sun", "idle", "unknown")


def make_result(low: float, high: float, *, claim: tuple[float, float] | None = None) -> Result:
    difference = Interval(mean=(low + high) / 2, low=low, high=high, num_people=2)
    return Result(
        row=Row(recipe="spatial", against="baseline", claim=claim),
        accuracy=Interval(mean=0.8, low=0.7, high=0.9, num_people=2),
        difference=difference,
        refused=0.5,
        num_parameters=1234,
        train_cpu_min=1.5,
        answer_ms=0.75,
    )


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.01, 0.05, "better"),
        (-0.05, -0.01, "worse"),
        (-0.01, 0.05, "no difference shown"),
        (0.0, 0.05, "no difference shown"),
    ],
)
def test_a_difference_counts_when_its_interval_leaves_out_zero(low: float, high: float, verdict: str) -> None:
    assert make_result(low, high).verdict() == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.11, 0.2, "held"), (0.01, 0.05, "did not hold"), (0.05, 0.2, "not shown")]
)
def test_a_claim_holds_only_when_the_whole_interval_reaches_it(low: float, high: float, verdict: str) -> None:
    assert make_result(low, high, claim=(10, 15)).verdict() == f"better; +10 to +15 was claimed: {verdict}"


def test_the_report_has_a_line_for_each_row_and_its_control() -> None:
    report = write_report([make_result(0.01, 0.05)], control=(0.031, 0.016))

    assert "| spatial | 11 x 3 | 0.800 (0.700 to 0.900) | baseline | +3.0 (+1.0 to +5.0) | better |" in report
    assert "| 0.50 | 1,234 | 1.5 | 0.75 |" in report
    assert "reads 0.031 of kelhuynh's clips" in report
    assert "signs gives 0.016" in report


def make_logits(num_right: int) -> FloatArray:
    logits = np.zeros((20, len(LABELS)), np.float32)
    logits[np.arange(20), [0 if number < num_right else 1 for number in range(20)]] = 5
    return logits


def test_finished_folds_are_paired_and_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = (Row(recipe="starter", against="reference", people=("tam", "parsa"), seeds=(0,)),)
    monkeypatch.setattr(run_study, "PLAN", plan)
    write_untrained_model(tmp_path, onnx=False)
    state, manifest = load_torch_artifact(tmp_path / "model_v1.pt")
    for recipe, num_right in (("reference", 10), ("starter", 15)):
        for person in plan[0].people:
            path = fold_path(tmp_path, recipe, "ase", person, 0)
            FoldOutcome(
                person=person,
                seed=0,
                labels=LABELS,
                targets=np.zeros(20, np.int64),
                logits=make_logits(num_right),
                refuse_logits=np.zeros((0, len(LABELS)), np.float32),
                train_cpu_s=90.0,
            ).save(path)
            save_torch_artifact(path.with_suffix(".pt"), state_dict=state, manifest=manifest)
    control = tmp_path / "permuted" / f"starter-{run_study.get_recipe('starter').fingerprint}-kelhuynh.npz"
    FoldOutcome.load(fold_path(tmp_path, "reference", "ase", "tam", 0)).save(control)

    result = study("--data", tmp_path, "--runs", tmp_path, "--output", tmp_path / "study.md")

    assert result.exit_code == 0, result.output
    report = (tmp_path / "study.md").read_text()
    assert "| starter | 2 x 1 | 0.750 (0.750 to 0.750) | reference | +25.0 (+25.0 to +25.0) | better |  |" in report
    assert "| 1.5 |" in report


def test_unfinished_rows_wait_when_nothing_shall_be_trained(tmp_path: Path) -> None:
    result = study("--data", tmp_path, "--runs", tmp_path, "--no-training")

    assert result.exit_code == 2
    assert "no row of the study is finished" in " ".join(result.output.replace("│", " ").split())


def test_a_recipe_outside_the_study_is_named(tmp_path: Path) -> None:
    result = study("--data", tmp_path, "--only", "starter,secret")

    assert result.exit_code == 2
    assert "secret: not in the study" in " ".join(result.output.replace("│", " ").split())


def study(*arguments: str | Path) -> ClickResult:
    app = typer.Typer()
    app.command()(main)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])
