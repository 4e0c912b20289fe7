"""Measures a recipe on people it has never seen: trains without one person, tests on that person, for each in turn.

Tested are the person's clips of signs that somebody else has (no `suspect` clips). Refusal of idle and non-sign clips
with a hand in view is judged apart, and so is what the confidences shown are worth: calibration and threshold come from
the other people each time. Finished folds are kept in `--runs`, so that an interrupted evaluation goes on where it
stopped.

    python -m scripts.evaluate_unseen --data RECORDINGS --recipe starter --seeds 0,1,2
"""

import math
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
import orjson
import typer
from rich.progress import Progress
from rich.table import Table

from app.ml.artifacts.files import save_torch_artifact
from app.ml.artifacts.whole_files import write_whole
from app.ml.evaluation.calibration import PersonAnswers, weigh
from app.ml.evaluation.reliability import describe_reliability
from app.ml.evaluation.scoring import (
    SHIPPED_ACCEPTANCE,
    Interval,
    accepted_fraction,
    bootstrap_over_people,
    selective_accuracy,
)
from app.ml.training.recipes import get_recipe
from app.ml.types import BoolArray, FloatArray
from scripts.console import STDERR, needs_packages, results, user_errors
from scripts.corpus import CORPORA, load_corpus
from scripts.options import RUNS_DIR, check_recipe, check_seeds

with needs_packages():
    from app.ml.evaluation.unseen import FoldOutcome, calibrate, hold_out, train_fold
    from app.ml.training.fitting import describe_model


def main(
    data: Annotated[Path, typer.Option(help="Folder with the recordings' data sets.")],
    *,
    language: Annotated[str, typer.Option(help="ISO 639-3 code: ase (ASL) or kvk (Korean SL).")] = "ase",
    recipe: Annotated[
        str, typer.Option(callback=check_recipe, help="Which recipe to judge; a wrong name lists them.")
    ] = "starter",
    seeds: Annotated[str, typer.Option(callback=check_seeds, help="Seeds, separated by commas.")] = "0,1,2",
    runs: Annotated[Path, typer.Option(help="Where finished folds are kept.")] = RUNS_DIR / "unseen",
    jobs: Annotated[int, typer.Option(min=1, help="Folds trained at the same time, one thread each.")] = 2,
    output: Annotated[Path | None, typer.Option(help="Write the report here, for `train --unseen`.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print only JSON.")] = False,
) -> None:
    """Measure a recipe on people it has never seen."""
    with user_errors():
        if language not in CORPORA:
            raise typer.BadParameter(f"{language!r} is none of {', '.join(CORPORA)}", param_hint="--language")
        chosen = [int(seed) for seed in seeds.split(",")]
        outcomes = _run_folds(data, language, recipe, chosen, runs, jobs)
        report = {"recipe": recipe, "language": language, "seeds": chosen} | _summarise(outcomes, language)
        if output is not None:
            write_whole(output, orjson.dumps(report, option=orjson.OPT_INDENT_2))
    if as_json:
        typer.echo(orjson.dumps(report).decode())
    else:
        _print(report, recipe)


def fold_path(runs: Path, recipe: str, language: str, person: str, seed: int) -> Path:
    """Where a finished fold is kept."""
    return kept_folds(runs, recipe, language) / f"{person}-{seed}.npz"


def kept_folds(runs: Path, recipe: str, language: str) -> Path:
    """The folder of a recipe's finished folds; a changed recipe gets another."""
    return runs / f"{recipe}-{get_recipe(recipe).fingerprint}-{language}"


def _run_folds(data: Path, language: str, recipe: str, seeds: list[int], runs: Path, jobs: int) -> list[FoldOutcome]:
    corpus = CORPORA[language]
    wanted = [(person, seed) for seed in seeds for person in (*corpus.people, *corpus.strangers)]
    missing = [task for task in wanted if not fold_path(runs, recipe, language, *task).exists()]
    with Progress(console=STDERR) as progress, ProcessPoolExecutor(max_workers=jobs) as executor:
        bar = progress.add_task(f"{len(missing)} folds to train", total=len(missing))
        futures = [executor.submit(run_fold, data, language, recipe, person, seed, runs) for person, seed in missing]
        for future in as_completed(futures):
            future.result()
            progress.advance(bar)
    return [FoldOutcome.load(fold_path(runs, recipe, language, *task)) for task in wanted]


def run_fold(data: Path, language: str, recipe: str, person: str, seed: int, runs: Path) -> None:
    """Train and test one fold, keep its model and, last, its outcome; runs in a process of its own."""
    clips, background = load_corpus_once(data, language)
    chosen = get_recipe(recipe)
    fold = hold_out(clips, background, person=person)
    model, prototypes, outcome = train_fold(fold, chosen, seed=seed)
    path = fold_path(runs, recipe, language, person, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    manifest = describe_model(
        fold.train,
        fold.labels,
        chosen,
        version=f"{person}-{seed}",
        prototypes=prototypes,
        provenance={"held_out": [person], "seed": seed},
    )
    save_torch_artifact(path.with_suffix(".pt"), state_dict=model.state_dict(), manifest=manifest)
    outcome.save(path)


load_corpus_once = lru_cache(maxsize=1)(load_corpus)
"""A worker reads the recordings for its first fold only."""


def _summarise(outcomes: list[FoldOutcome], language: str) -> dict[str, object]:
    per_person: dict[str, dict[str, float | int | None]] = {}
    for person in CORPORA[language].people:
        own = [outcome for outcome in outcomes if outcome.person == person]
        accuracy = [float(outcome.correct.mean()) for outcome in own]
        per_person[person] = {
            "num_clips": len(own[0].targets),
            "accuracy": float(np.mean(accuracy)),
            "accuracy_lowest": min(accuracy),
            "accuracy_highest": max(accuracy),
            "accuracy_with_background": float(np.mean([outcome.correct_among_all.mean() for outcome in own])),
            "num_refuse": len(own[0].refuse_logits),
            **_judge_refusals(own, outcomes),
        }
    strangers: dict[str, dict[str, float | int | None]] = {}
    for person in CORPORA[language].strangers:
        own = [outcome for outcome in outcomes if outcome.person == person]
        judged = _judge_refusals(own, outcomes)
        strangers[person] = {"num_refuse": len(own[0].refuse_logits)} | {
            key: value for key, value in judged.items() if key.startswith("refused")
        }
    return {
        "people": per_person,
        "strangers": strangers,
        "accuracy": asdict(_interval(per_person, "accuracy")),
        "accuracy_with_background": asdict(_interval(per_person, "accuracy_with_background")),
        "accepted": asdict(_interval(per_person, "accepted")),
        "accuracy_over_signs": _accuracy_over_signs(outcomes),
        "per_sign": _per_sign(outcomes),
        "calibration": asdict(calibrate(outcomes)),
        "reliability": _reliability(outcomes),
    }


def _judge_refusals(own: list[FoldOutcome], outcomes: list[FoldOutcome]) -> dict[str, float | int | None]:
    """What one person's folds come to at the two thresholds, each chosen on the other people."""
    row: dict[str, float | int | None] = {}
    for suffix, acceptance in (("", SHIPPED_ACCEPTANCE), ("_at_90", 0.9)):
        accepted: list[float] = []
        right: list[float] = []
        refused: list[float] = []
        for outcome in own:
            folds = [other for other in outcomes if other.seed == outcome.seed]
            calibration = calibrate(folds, acceptance=acceptance, without=(outcome.person,))
            signs, refuse = outcome.confidences(calibration)
            accepted.append(accepted_fraction(signs, threshold=calibration.threshold))
            right.append(selective_accuracy(signs, outcome.correct, threshold=calibration.threshold))
            refused.append(1 - accepted_fraction(refuse, threshold=calibration.threshold))
        row |= {
            f"accepted{suffix}": _mean_or_none(accepted),
            f"right_when_accepted{suffix}": _mean_or_none(right),
            f"refused{suffix}": _mean_or_none(refused),
        }
    return row


def _mean_or_none(values: list[float]) -> float | None:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else None


def _reliability(outcomes: list[FoldOutcome]) -> dict[str, object]:
    """What a confidence is worth on people who had no part in its calibration.

    `signs` is over clips of signs, everybody counting the same; `with_strangers` over these and the clips of hands that
    make none, which count as in the calibration.
    """
    people: list[PersonAnswers] = []
    judged: list[tuple[FloatArray, BoolArray]] = []
    for outcome in outcomes:
        folds = [other for other in outcomes if other.seed == outcome.seed]
        calibration = calibrate(folds, without=(outcome.person,))
        for answers in outcome.answers:
            people.append(answers)
            judged.append(answers.judge(calibration))
    weights = np.concatenate(weigh(people))
    confidence, is_right = map(np.concatenate, zip(*judged, strict=True))
    of_signs = np.concatenate([np.full(answers.num_clips, answers.targets is not None) for answers in people])
    return {
        "signs": asdict(describe_reliability(confidence[of_signs], is_right[of_signs], weights=weights[of_signs])),
        "with_strangers": asdict(describe_reliability(confidence, is_right, weights=weights)),
    }


def _accuracy_over_signs(outcomes: list[FoldOutcome]) -> float:
    """Every sign counts the same, and every person who showed it: a user does not sign in proportion to recordings."""
    right: dict[str, dict[str, list[float]]] = {}
    for outcome in outcomes:
        for target in np.unique(outcome.targets):
            share = float(outcome.correct[outcome.targets == target].mean())
            right.setdefault(outcome.labels[target], {}).setdefault(outcome.person, []).append(share)
    return float(np.mean([np.mean([np.mean(seeds) for seeds in people.values()]) for people in right.values()]))


def _per_sign(outcomes: list[FoldOutcome]) -> dict[str, dict[str, float | int | str]]:
    """For each sign, over all people and seeds: how often it was right, and what it was taken for most often."""
    answers: dict[str, list[str]] = {}
    for outcome in outcomes:
        predicted = outcome.logits[:, : outcome.num_signs].argmax(1)
        for target, answer in zip(outcome.targets, predicted, strict=True):
            answers.setdefault(outcome.labels[target], []).append(outcome.labels[answer])
    rows: dict[str, dict[str, float | int | str]] = {}
    for label, given in sorted(answers.items()):
        wrong = Counter(answer for answer in given if answer != label).most_common(1)
        rows[label] = {
            "num_answers": len(given),
            "accuracy": given.count(label) / len(given),
            "taken_for": wrong[0][0] if wrong else "",
            "taken_for_fraction": wrong[0][1] / len(given) if wrong else 0.0,
        }
    return rows


def _interval(per_person: dict[str, dict[str, float | int | None]], key: str) -> Interval:
    return bootstrap_over_people({person: float(row[key] or 0.0) for person, row in per_person.items()})


def _print(report: dict[str, object], recipe: str) -> None:
    table = Table(
        title=f"recipe {recipe}: people never seen in training; at the shipped threshold / accepting 90 % of signs"
    )
    columns = (
        "person",
        "clips",
        "accuracy",
        "over seeds",
        "with background",
        "accepted",
        "then right",
        "refused",
        "of",
    )
    for column in columns:
        table.add_column(column, justify="left" if column == "person" else "right")
    people = report["people"]
    assert isinstance(people, dict)
    for person, row in people.items():
        table.add_row(
            person,
            str(row["num_clips"]),
            f"{row['accuracy']:.3f}",
            f"{row['accuracy_lowest']:.3f}-{row['accuracy_highest']:.3f}",
            f"{row['accuracy_with_background']:.3f}",
            f"{row['accepted']:.3f} / {row['accepted_at_90']:.3f}",
            f"{row['right_when_accepted']:.3f} / {row['right_when_accepted_at_90']:.3f}",
            "-" if row["refused"] is None else f"{row['refused']:.3f} / {row['refused_at_90']:.3f}",
            str(row["num_refuse"]),
        )
    console = results()
    console.print(table)
    for key in ("accuracy", "accuracy_with_background", "accepted"):
        mean = report[key]
        assert isinstance(mean, dict)
        console.print(f"{key}: {mean['mean']:.4f}, 95% interval over people {mean['low']:.3f}-{mean['high']:.3f}")
    console.print(f"accuracy over signs, each counting the same: {report['accuracy_over_signs']:.4f}")
    strangers, reliability = report["strangers"], report["reliability"]
    assert isinstance(strangers, dict)
    assert isinstance(reliability, dict)
    for person, row in strangers.items():
        refused = f"{row['refused']:.3f} / {row['refused_at_90']:.3f}"
        console.print(f"{person}, who makes no sign: {refused} of {row['num_refuse']} refused")
    for key, title in (("signs", "of signs"), ("with_strangers", "of signs and of hands that make none")):
        bins = ", ".join(f"{one['confidence']:.0%}: {one['accuracy']:.0%}" for one in reliability[key]["bins"])
        console.print(f"shown: right, over clips {title}: {bins}; off by {reliability[key]['ece']:.3f} on average")
    console.print(f"calibration: {report['calibration']}")


if __name__ == "__main__":
    typer.run(main)
