"""Compares networks and techniques on people they have never seen, and says which claims held.

A row of the study is a recipe (`app/ml/training/recipes.py`), the people held out in turn, the seeds, and the recipe
that it is paired with. Finished folds are kept in `--runs`, shared with evaluate_unseen: an interrupted study goes on
where it stopped. Test-time augmentation trains nothing: it asks the kept models again.

    python -m scripts.run_study --data RECORDINGS --output ../docs/study.md
"""

import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final

import numpy as np
import typer
from rich.progress import Progress

from app.ml.artifacts.files import load_torch_artifact
from app.ml.artifacts.manifest import ModelManifest
from app.ml.artifacts.prototypes import prototypes_from_text
from app.ml.artifacts.whole_files import write_text_whole
from app.ml.errors import DatasetError
from app.ml.evaluation.comparison import compare_folds
from app.ml.evaluation.scoring import SHIPPED_ACCEPTANCE, Interval, accepted_fraction, bootstrap_over_people
from app.ml.landmarks.layout import NUM_POINTS
from app.ml.model_configs import ModelConfig
from app.ml.pipeline import SignFlowInferencePipeline
from app.ml.recordings.labels import BACKGROUND
from app.ml.training.recipes import get_recipe
from app.ml.tta import NUM_VIEWS
from app.ml.types import LandmarkWindow
from scripts.console import STDERR, needs_packages, user_errors
from scripts.corpus import CORPORA
from scripts.options import RUNS_DIR, check_seeds

with needs_packages():
    from app.ml.evaluation.unseen import FoldOutcome, calibrate, hold_out, judge_fold, train_fold
    from app.ml.export import export_to_onnx
    from app.ml.model import SignEncoder, build_model
    from scripts.evaluate_unseen import fold_path, load_corpus_once, run_fold

LANGUAGE: Final = "ase"
ALL: Final = CORPORA[LANGUAGE].people
HARDEST: Final = ("electronicaddict", "tam", "kelhuynh", "ilkerdemir", "akashcodes23")
"""Whoever the reference recipe reads worst: where a technique has something to gain. Fixed before the study."""
REFUSING: Final = "dmohazab"
"""The one person with many clips of hands that move in view without signing."""
TTA: Final = "+tta"
_HEADER: Final = """\
# The study: what helps on people whom a model has never seen

Written by `python -m scripts.run_study` (from `backend`); protocol: [training.md](training.md). Accuracy is the
mean over people, each held out in turn, with a 95 % interval over people. Differences are paired, clip by clip
and seed by seed, with a 95 % bootstrap interval over (signer, sign) cells and seeds: one counts when its
interval leaves out zero. `starter` was chosen on these folds; the other recipes were run as first written.

| recipe | people x seeds | accuracy | paired with | points | verdict | idle refused | parameters | CPU min | ms |
|---|---|---|---|---|---|---|---|---|---|"""
_FOOTER: Final = """
Control: with the training labels shuffled, `starter` reads {permuted:.3f} of kelhuynh's clips; guessing among
the fold's signs gives {chance:.3f}. Rows with {num_hardest} people were run on those whom `reference` reads
worst: {hardest}. Idle refused: {refusing}'s clips of moving hands, at the threshold that accepts
{acceptance:.0%} of the other people's signs. CPU min: processor minutes to train one fold. ms: median over
200 windows of 36 frames, features and ONNX Runtime f32, one thread.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the study.

    Attributes:
        recipe: what is judged; with the ending `+tta`, the kept models of that recipe asked with augmentation.
        against: the recipe that it is paired with, person by person and seed by seed.
        claim: percentage points that the plan promised, least and most; None where it promised nothing.
    """

    recipe: str
    against: str | None = None
    people: tuple[str, ...] = ALL
    seeds: tuple[int, ...] = (0, 1, 2)
    claim: tuple[float, float] | None = None

    @property
    def trained(self) -> str:
        """The recipe whose models answer."""
        return self.recipe.removesuffix(TTA)


PLAN: Final = (
    Row(recipe="reference"),
    Row(recipe="starter", against="reference"),
    Row(recipe="starter+tta", against="starter", claim=(2, 4)),
    Row(recipe="starter-short", against="starter"),
    Row(recipe="baseline-short", against="starter-short"),
    Row(recipe="baseline-short+tta", against="baseline-short", claim=(2, 4)),
    Row(recipe="spatial-short", against="baseline-short", claim=(10, 15)),
    Row(recipe="spatial_tcn-short", against="spatial-short"),
    Row(recipe="large-short", against="baseline-short", people=HARDEST, seeds=(0,), claim=(5, 10)),
    *(
        Row(recipe=f"{network}-short{technique}", against=f"{network}-short", people=HARDEST, claim=claim)
        for network in ("starter", "baseline")
        for technique, claim in (("-pretrained", (8, 12)), ("+length", (3, 5)), ("+confidence", (3, 5)))
    ),
    Row(recipe="student-short", against="baseline-short", people=HARDEST),
    Row(recipe="student-short+distilled", against="student-short", people=HARDEST),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a row of the plan gave.

    Attributes:
        row: the plan's.
        accuracy: mean over people of the mean over seeds, with an interval over people.
        difference: paired, candidate minus `row.against`; None where there is nothing to pair with.
        refused: part of a stranger's idle hands that is refused at the shipped acceptance; None where not tested.
        num_parameters: trainable weights.
        train_cpu_min: processor minutes that training one fold took, the mean over folds.
        answer_ms: half of the answers to a window of 36 frames took less: features and ONNX Runtime f32, one thread.
    """

    row: Row
    accuracy: Interval
    difference: Interval | None
    refused: float | None
    num_parameters: int
    train_cpu_min: float
    answer_ms: float

    def verdict(self) -> str:
        """What the paired difference says of the plan's claim."""
        if self.difference is None:
            return ""
        low, high = 100 * self.difference.low, 100 * self.difference.high
        found = "better" if low > 0 else "worse" if high < 0 else "no difference shown"
        if self.row.claim is None:
            return found
        least, most = self.row.claim
        held = "held" if low >= least else "did not hold" if high < least else "not shown"
        return f"{found}; +{least:g} to +{most:g} was claimed: {held}"


def main(
    data: Annotated[Path, typer.Option(help="Folder with the recordings' data sets.")],
    *,
    runs: Annotated[Path, typer.Option(help="Where finished folds are kept.")] = RUNS_DIR / "unseen",
    only: Annotated[str | None, typer.Option(help="Only these recipes of the plan, separated by commas.")] = None,
    seeds: Annotated[
        str | None, typer.Option(callback=check_seeds, help="Only these of the plan's seeds, separated by commas.")
    ] = None,
    no_training: Annotated[
        bool, typer.Option("--no-training", help="Report what is finished: rows and seeds with a missing fold wait.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Folds trained at the same time, one thread each.")] = 2,
    output: Annotated[Path | None, typer.Option(help="Write the report here, as Markdown.")] = None,
) -> None:
    """Train what is missing of the study and write its report."""
    with user_errors():
        plan = _chosen(only, seeds)
        if no_training:
            plan = _finished(plan, runs)
        else:
            _train_missing(plan, data, runs, jobs)
        results = [_judge(row, data, runs) for row in plan]
        report = write_report(results, control=_permuted_control(data, runs))
    if output is None:
        typer.echo(report)
    else:
        write_text_whole(output, report)


def _chosen(only: str | None, seeds: str | None) -> tuple[Row, ...]:
    plan = PLAN if seeds is None else _with_seeds({int(seed) for seed in seeds.split(",")})
    if only is None:
        return plan
    names = [name.strip() for name in only.split(",")]
    unknown = sorted(set(names) - {row.recipe for row in PLAN})
    if unknown:
        known = ", ".join(row.recipe for row in PLAN)
        raise typer.BadParameter(f"{', '.join(unknown)}: not in the study, which has {known}", param_hint="--only")
    return tuple(row for row in plan if row.recipe in names)


def _with_seeds(seeds: set[int]) -> tuple[Row, ...]:
    rows = [replace(row, seeds=tuple(seed for seed in row.seeds if seed in seeds)) for row in PLAN]
    return tuple(row for row in rows if row.seeds)


def _finished(plan: Sequence[Row], runs: Path) -> tuple[Row, ...]:
    def is_finished(row: Row, seed: int) -> bool:
        recipes = {row.trained, row.against or row.trained}
        return all(fold_path(runs, name, LANGUAGE, person, seed).exists() for name in recipes for person in row.people)

    rows = [replace(row, seeds=tuple(seed for seed in row.seeds if is_finished(row, seed))) for row in plan]
    if not any(row.seeds for row in rows):
        msg = f"no row of the study is finished in {runs}; leave out --no-training to train what is missing"
        raise DatasetError(msg)
    return tuple(row for row in rows if row.seeds)


def _train_missing(plan: Sequence[Row], data: Path, runs: Path, jobs: int) -> None:
    wanted = dict.fromkeys(
        (recipe, person, seed)
        for row in plan
        for recipe in (row.trained, row.against)
        if recipe is not None
        for seed in row.seeds
        for person in row.people
    )
    missing = [task for task in wanted if not fold_path(runs, task[0], LANGUAGE, *task[1:]).exists()]
    with Progress(console=STDERR) as progress, ProcessPoolExecutor(max_workers=jobs) as executor:
        bar = progress.add_task(f"{len(missing)} folds to train", total=len(missing))
        futures = [executor.submit(run_fold, data, LANGUAGE, *task, runs) for task in missing]
        for future in as_completed(futures):
            future.result()
            progress.advance(bar)


def _judge(row: Row, data: Path, runs: Path) -> Result:
    outcomes = _outcomes(row.recipe, row, data, runs)
    per_person = {
        person: float(np.mean([outcome.correct.mean() for outcome in outcomes if outcome.person == person]))
        for person in row.people
    }
    baseline = None if row.against is None else _outcomes(row.against, row, data, runs)
    model_path = fold_path(runs, row.trained, LANGUAGE, row.people[0], row.seeds[0]).with_suffix(".pt")
    state, _ = load_torch_artifact(model_path)
    return Result(
        row=row,
        accuracy=bootstrap_over_people(per_person),
        difference=None if baseline is None else compare_folds(baseline, outcomes),
        refused=_refused(outcomes),
        num_parameters=sum(tensor.numel() for tensor in state.values()),
        train_cpu_min=float(np.mean([outcome.train_cpu_s for outcome in outcomes])) / 60,
        answer_ms=_time_answers(model_path) * (NUM_VIEWS if TTA in row.recipe else 1),
    )


def _outcomes(recipe: str, row: Row, data: Path, runs: Path) -> list[FoldOutcome]:
    paths = [
        fold_path(runs, recipe.removesuffix(TTA), LANGUAGE, person, seed) for seed in row.seeds for person in row.people
    ]
    plain = [FoldOutcome.load(path) for path in paths]
    if not recipe.endswith(TTA):
        return plain
    return [_with_views(outcome, path, data) for outcome, path in zip(plain, paths, strict=True)]


def _with_views(outcome: FoldOutcome, path: Path, data: Path) -> FoldOutcome:
    """The same fold's model, asked about every view of each clip; kept beside the plain outcome."""
    kept = path.with_name(f"{path.stem}{TTA}.npz")
    if not kept.exists():
        model, manifest = _load_model(path.with_suffix(".pt"))
        fold = hold_out(*load_corpus_once(data, LANGUAGE), person=outcome.person)
        config = get_recipe(str(manifest.provenance["recipe"])).with_seed(outcome.seed)
        prototypes = prototypes_from_text(manifest.prototypes, num_labels=len(manifest.labels))
        seen = judge_fold(fold, model, prototypes, config, tta=True)
        replace(seen, train_cpu_s=outcome.train_cpu_s).save(kept)
    return FoldOutcome.load(kept)


def _load_model(path: Path) -> tuple[SignEncoder, ModelManifest]:
    """A kept fold's network and manifest."""
    state, manifest = load_torch_artifact(path)
    model = build_model(
        ModelConfig.from_dict(manifest.config), num_features=manifest.num_features, num_labels=len(manifest.labels)
    )
    model.load_state_dict(state)
    return model.eval(), manifest


def _refused(outcomes: Sequence[FoldOutcome]) -> float | None:
    parts: list[float] = []
    for outcome in outcomes:
        if outcome.person == REFUSING:
            folds = [other for other in outcomes if other.seed == outcome.seed]
            calibration = calibrate(folds, without=(REFUSING,))
            parts.append(1 - accepted_fraction(outcome.confidences(calibration)[1], threshold=calibration.threshold))
    return float(np.mean(parts)) if parts else None


def _made_up_window() -> LandmarkWindow:
    """36 frames at 20 a second of everything moving a little."""
    rng = np.random.default_rng(0)
    landmarks = np.cumsum(rng.normal(0, 0.004, (36, NUM_POINTS, 3)), axis=0) + rng.uniform(0.2, 0.8, (NUM_POINTS, 3))
    return LandmarkWindow(landmarks=landmarks.astype(np.float32), times_ms=np.arange(36) * 50.0)


def _time_answers(model_path: Path, *, rounds: int = 200) -> float:
    with TemporaryDirectory() as folder:
        exported = Path(folder) / "model_v1.onnx"
        export_to_onnx(model_path, exported)
        pipeline = SignFlowInferencePipeline.load_file(exported, num_threads=1)
        window = _made_up_window()
        taken: list[float] = []
        for _ in range(rounds):
            begin = time.perf_counter()
            pipeline.infer_batch([window])
            taken.append(time.perf_counter() - begin)
        pipeline.close()
    return 1000 * float(np.median(taken))


def _permuted_control(data: Path, runs: Path) -> tuple[float, float]:
    """Accuracy of the best recipe when the training labels mean nothing, and what guessing gives."""
    person = "kelhuynh"
    kept = runs / "permuted" / f"starter-{get_recipe('starter').fingerprint}-{person}.npz"
    if not kept.exists():
        fold = hold_out(*load_corpus_once(data, LANGUAGE), person=person)
        signs = [clip for clip in fold.train if clip.label in fold.labels and clip.label not in BACKGROUND]
        shuffled = np.random.default_rng(0).permutation(np.array([clip.label for clip in signs]))
        renamed = [replace(clip, label=str(label)) for clip, label in zip(signs, shuffled, strict=True)]
        others = [clip for clip in fold.train if clip.label not in fold.labels or clip.label in BACKGROUND]
        train_fold(replace(fold, train=(*renamed, *others)), get_recipe("starter"), seed=0).outcome.save(kept)
    outcome = FoldOutcome.load(kept)
    return float(outcome.correct.mean()), 1 / outcome.num_signs


def write_report(results: Sequence[Result], *, control: tuple[float, float]) -> str:
    """The study as Markdown."""
    lines = [_HEADER]
    for result in results:
        row, accuracy, difference = result.row, result.accuracy, result.difference
        points = "" if difference is None else _points(difference)
        lines.append(
            f"| {row.recipe} | {len(row.people)} x {len(row.seeds)} "
            f"| {accuracy.mean:.3f} ({accuracy.low:.3f} to {accuracy.high:.3f}) | {row.against or ''} | {points} "
            f"| {result.verdict()} | {'' if result.refused is None else f'{result.refused:.2f}'} "
            f"| {result.num_parameters:,} | {result.train_cpu_min:.1f} | {result.answer_ms:.2f} |"
        )
    permuted, chance = control
    lines.append(
        _FOOTER.format(
            permuted=permuted,
            chance=chance,
            hardest=", ".join(HARDEST),
            num_hardest=len(HARDEST),
            refusing=REFUSING,
            acceptance=SHIPPED_ACCEPTANCE,
        )
    )
    return "\n".join(lines)


def _points(difference: Interval) -> str:
    mean, low, high = (100 * value for value in (difference.mean, difference.low, difference.high))
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


if __name__ == "__main__":
    typer.run(main)
