from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from app.ml.evaluation.unseen import FoldOutcome
from app.ml.recordings.labels import BACKGROUND
from scripts.corpus import CORPORA
from scripts.evaluate_live import GROUPS, IDLE_GIVERS, TUNED_ON, main
from scripts.evaluate_unseen import fold_path


def evaluate(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(main)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_help_says_what_every_option_is_for() -> None:
    result = evaluate("--help")

    assert result.exit_code == 0
    for option in ("--corpus", "--unseen-runs", "--recipe", "--fps", "--runs", "--json"):
        assert option in result.stdout


def test_everybody_is_held_out_once_and_nobody_who_lends_idle_movement() -> None:
    people = [person for group in GROUPS for person in group]

    assert len(people) == len(set(people))
    assert set(people) == set(CORPORA["ase"].people) - set(IDLE_GIVERS)
    assert set(TUNED_ON) < set(people)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "--corpus"),
        (["--corpus", "EMPTY", "--fps", "fast"], "no list of frame rates"),
        (["--corpus", "EMPTY", "--fps", "30,0"], "no list of frame rates"),
        (["--corpus", "EMPTY", "--recipe", "secret"], "known: reference, starter"),
        (["--corpus", "EMPTY", "--unseen-runs", "EMPTY"], "run evaluate_unseen first"),
    ],
)
def test_a_mistake_is_named_without_a_traceback(arguments: list[str], complaint: str, tmp_path: Path) -> None:
    result = evaluate(*[str(tmp_path) if argument == "EMPTY" else argument for argument in arguments])

    assert result.exit_code == 2
    assert complaint in " ".join(result.output.replace("│", " ").split())
    assert "Traceback" not in result.output


def test_missing_recordings_are_named_before_anything_is_trained(tmp_path: Path) -> None:
    FoldOutcome(
        person="tam",
        seed=0,
        labels=("sun", *BACKGROUND),
        targets=np.zeros(3, np.int64),
        logits=np.eye(3, dtype=np.float32),
        refuse_logits=np.zeros((0, 3), np.float32),
    ).save(fold_path(tmp_path, "starter", "ase", "tam", 0))

    result = evaluate("--corpus", tmp_path, "--unseen-runs", tmp_path, "--runs", tmp_path / "models")

    assert result.exit_code == 2
    assert "no data set asl_*.npz" in result.stderr
    assert not (tmp_path / "models").exists()
