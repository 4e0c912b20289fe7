import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from app.ml.evaluation.calibration import read_calibration
from app.ml.evaluation.unseen import FoldOutcome
from app.ml.recordings.labels import BACKGROUND
from app.ml.types import FloatArray
from scripts.corpus import CORPORA
from scripts.evaluate_unseen import fold_path, main

LABELS = ("rain", "sun", *BACKGROUND)
PEOPLE = CORPORA["kvk"].people


def evaluate(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(main)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def make_logits(answers: list[int], *, certainty: float) -> FloatArray:
    """One row for each answer, which is an index of `LABELS`."""
    logits = np.zeros((len(answers), len(LABELS)), np.float32)
    logits[np.arange(len(answers)), answers] = certainty + np.linspace(0, 0.5, len(answers))
    return logits


def answers_with(num_wrong: int) -> list[int]:
    right = [0, 1] * 10
    return [1 - answer if number < num_wrong else answer for number, answer in enumerate(right)]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Finished folds of both people, two seeds: one is right in 15 of 20 clips, then in 17; the other always."""
    for seed, num_wrong in ((0, 5), (1, 3)):
        for person in PEOPLE:
            wrong = num_wrong if person == PEOPLE[0] else 0
            outcome = FoldOutcome(
                person=person,
                seed=seed,
                labels=LABELS,
                targets=np.array([0, 1] * 10),
                logits=make_logits(answers_with(wrong), certainty=3),
                familiarity=np.full((20, 4), 0.9, np.float32),
                refuse_familiarity=np.full((10 if person == PEOPLE[1] else 0, 4), 0.9, np.float32),
                refuse_logits=make_logits([3] * 9 + [0], certainty=9)
                if person == PEOPLE[1]
                else np.zeros((0, 4), "f4"),
            )
            outcome.save(fold_path(tmp_path / "runs", "starter", "kvk", person, seed))
    return tmp_path / "runs"


def evaluate_json(runs: Path, *arguments: str | Path) -> dict[str, Any]:
    result = evaluate("--data", runs, "--language", "kvk", "--seeds", "0,1", "--runs", runs, "--json", *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_finished_folds_are_not_trained_again_and_people_count_the_same(runs: Path) -> None:
    report = evaluate_json(runs)

    first, second = (report["people"][person] for person in PEOPLE)
    assert first["num_clips"] == 20
    assert first["accuracy"] == pytest.approx(0.8)
    assert (first["accuracy_lowest"], first["accuracy_highest"]) == (0.75, 0.85)
    assert second["accuracy"] == 1.0
    assert report["accuracy"]["mean"] == pytest.approx(0.9)
    assert report["accuracy"]["num_people"] == 2
    assert (report["recipe"], report["language"], report["seeds"]) == ("starter", "kvk", [0, 1])


def test_refusal_is_reported_apart_and_only_for_people_with_something_to_refuse(runs: Path) -> None:
    report = evaluate_json(runs)

    first, second = (report["people"][person] for person in PEOPLE)
    assert (first["num_refuse"], first["refused"]) == (0, None)
    assert second["num_refuse"] == 10
    assert second["refused"] == pytest.approx(0.9)


def test_in_the_mean_over_signs_a_rare_sign_counts_as_much_as_a_frequent_one(runs: Path) -> None:
    for seed in (0, 1):
        path = fold_path(runs, "starter", "kvk", PEOPLE[0], seed)
        few = replace(
            FoldOutcome.load(path), targets=np.array([0] * 19 + [1]), logits=make_logits([0] * 20, certainty=3)
        )
        few.save(path)

    report = evaluate_json(runs)

    assert report["people"][PEOPLE[0]]["accuracy"] == pytest.approx(0.95)
    assert report["accuracy_over_signs"] == pytest.approx(
        (1 + (0 + 1) / 2) / 2
    )  # rain always; sun by one of two people


def test_each_sign_says_what_it_was_taken_for(runs: Path) -> None:
    per_sign = evaluate_json(runs)["per_sign"]

    assert per_sign["rain"]["num_answers"] == 40
    assert per_sign["rain"]["accuracy"] == pytest.approx(35 / 40)
    assert (per_sign["rain"]["taken_for"], per_sign["rain"]["taken_for_fraction"]) == ("sun", pytest.approx(5 / 40))


def test_the_report_can_be_written_for_training(runs: Path, tmp_path: Path) -> None:
    report = evaluate_json(runs, "--output", tmp_path / "unseen.json")

    written = json.loads((tmp_path / "unseen.json").read_bytes())
    assert written == report
    assert 0 < written["calibration"]["threshold"] <= 1
    assert written["calibration"]["temperature"] > 0
    assert read_calibration(tmp_path / "unseen.json")[0] == "starter"


def test_what_confidences_are_worth_is_told_for_signs_and_with_hands_that_make_none(runs: Path) -> None:
    reliability = evaluate_json(runs)["reliability"]

    assert sum(one["num_answers"] for one in reliability["signs"]["bins"]) == 2 * 2 * 20
    assert sum(one["num_answers"] for one in reliability["with_strangers"]["bins"]) == 2 * 2 * 20 + 2 * 10
    right = sum(one["num_answers"] * one["accuracy"] for one in reliability["signs"]["bins"])
    assert right == pytest.approx(15 + 17 + 20 + 20)
    assert 0 < reliability["signs"]["ece"] < 1


def test_people_read_a_table(runs: Path) -> None:
    result = evaluate("--data", runs, "--language", "kvk", "--seeds", "0,1", "--runs", runs)

    assert result.exit_code == 0, result.output
    assert all(person in result.stdout for person in PEOPLE)
    assert "accuracy: 0.9000, 95% interval over people 0.800-1.000" in result.stdout


def test_help_says_what_every_option_is_for() -> None:
    result = evaluate("--help")

    assert result.exit_code == 0
    for option in ("--data", "--language", "--recipe", "--seeds", "--runs", "--jobs", "--output", "--json"):
        assert option in result.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "--data"),
        (["--data", "EMPTY", "--language", "xyz"], "'xyz' is none of ase, kvk"),
        (["--data", "EMPTY", "--recipe", "secret"], "known: reference, starter"),
        (["--data", "EMPTY", "--seeds", "one,two"], "no list of whole numbers"),
        (["--data", "EMPTY", "--seeds", ""], "no list of whole numbers"),
        (["--data", "EMPTY", "--jobs", "0"], "--jobs"),
        (["--data", "EMPTY", "--language", "kvk", "--seeds", "0", "--jobs", "1"], "no data set ksl_*.npz"),
    ],
)
def test_a_mistake_is_named_without_a_traceback(arguments: list[str], complaint: str, tmp_path: Path) -> None:
    result = evaluate(*[str(tmp_path) if argument == "EMPTY" else argument for argument in arguments])

    assert result.exit_code == 2
    assert complaint in " ".join(result.output.replace("│", " ").split())
    assert "Traceback" not in result.output
