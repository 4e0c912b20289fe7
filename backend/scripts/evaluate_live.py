"""Reads continuous streams of people whom the model has never seen, as the live server would, and counts what came out.

For each group of people a model is trained without them and without those who lend their idle movement. The person's
clips are joined with 0.3-0.6 s of hand transit and short rests; the idle stream is a stranger who moves the hands in
view without signing. Calibration and threshold come from other people each time. Sent signs are right when label and
time agree (one to one, overlap within 300 ms). Delay is from the true end of a sign to its answer, on the capture
clock. Trained models are kept in `--runs`.

    python -m scripts.evaluate_live --corpus RECORDINGS
"""

from collections.abc import Collection, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final

import numpy as np
import orjson
import typer
from rich.progress import Progress
from rich.table import Table

from app.ml.artifacts.files import load_torch_artifact, save_torch_artifact
from app.ml.artifacts.whole_files import write_whole
from app.ml.errors import DatasetError
from app.ml.evaluation.reliability import describe_reliability
from app.ml.evaluation.signed_streams import SignedStream, build_stream
from app.ml.inference.segmenter import SegmenterConfig
from app.ml.pipeline import SignFlowInferencePipeline
from app.ml.recordings.clips import Clip
from app.ml.recordings.labels import IDLE
from app.ml.training.recipes import get_recipe
from app.ml.types import BoolArray, FloatArray
from scripts.console import STDERR, needs_packages, results, user_errors
from scripts.corpus import load_corpus
from scripts.evaluate_unseen import kept_folds
from scripts.options import RUNS_DIR, check_rates, check_recipe

with needs_packages():
    from app.ml.evaluation.live import LiveScore, add_scores, delay_percentile, run_stream, score_stream
    from app.ml.evaluation.unseen import FoldOutcome, calibrate, hold_out, train_fold
    from app.ml.training.fitting import describe_model

IDLE_GIVERS: Final = ("dmohazab", "argav304")
"""The people whose recordings show hands that move in view without signing; absent from every model judged here."""
MAIN_IDLE_GIVER: Final = IDLE_GIVERS[0]
"""Whose clips are 114 of the 120 in the idle stream. Somebody's idle hands have to teach the calibration that judges
it: these are the other one's, whose remaining 6 clips tell little."""
GROUPS: Final = (
    ("tam", "chrille91"),
    ("electronicaddict",),
    ("TheCamNelson",),
    ("kelhuynh",),
    ("parsa", "surtecha", "kawayapp", "ilkerdemir", "akashcodes23"),
)
"""Who is held out together: those who show the same few signs share a model."""
TUNED_ON: Final = GROUPS[0]
"""People whose streams were looked at while the segmenter's limits were chosen; shown, but not in the mean."""
CLIPS_PER_PERSON: Final = 48


def main(
    corpus: Annotated[Path, typer.Option(help="Folder with the recordings' data sets.")],
    *,
    unseen_runs: Annotated[Path, typer.Option(help="Folds of evaluate_unseen, for calibration.")] = RUNS_DIR / "unseen",
    recipe: Annotated[str, typer.Option(callback=check_recipe, help="Which recipe to judge.")] = "starter",
    seed: Annotated[int, typer.Option(help="Chooses everything random in training and streams.")] = 0,
    fps: Annotated[str, typer.Option(callback=check_rates, help="Frame rates, separated by commas.")] = "30,15,8",
    runs: Annotated[Path, typer.Option(help="Where trained models are kept.")] = RUNS_DIR / "live",
    jobs: Annotated[int, typer.Option(min=1, help="Models trained at the same time.")] = 2,
    output: Annotated[Path | None, typer.Option(help="Write the report here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print only JSON.")] = False,
) -> None:
    """Read streams of unseen people and count what came out."""
    rates = [float(rate) for rate in fps.split(",")]
    with user_errors():
        folds = [FoldOutcome.load(path) for path in sorted(kept_folds(unseen_runs, recipe, "ase").glob("*.npz"))]
        if not folds:
            msg = f"no finished fold of recipe {recipe!r} in {unseen_runs} to calibrate on; run evaluate_unseen first"
            raise DatasetError(msg)
        clips, background = load_corpus(corpus, "ase")
        _train_all(corpus, recipe, seed, runs, jobs)
        results = {f"{rate:g}": _Rate(people={}) for rate in rates}
        for group in GROUPS:
            path = model_path(runs, recipe, group, seed)
            signing = _calibrated(path, folds, without=group)
            resting = _calibrated(path, folds, without=(*group, MAIN_IDLE_GIVER))
            for rate, person in product(rates, group):
                results[f"{rate:g}"].people[person] = _Person(
                    signing=_judge_signing(person, [*clips, *background], signing, rate, seed),
                    idle=_judge_idle([*clips, *background], resting, rate, seed),
                )
            for pipeline in (signing, resting):
                pipeline.close()
    report = {
        "recipe": recipe,
        "seed": seed,
        "tuned_on": TUNED_ON,
        "rates": {rate: result.summary() for rate, result in results.items()},
    }
    if output is not None:
        write_whole(output, orjson.dumps(report, option=orjson.OPT_INDENT_2))
    if as_json:
        typer.echo(orjson.dumps(report).decode())
    else:
        for rate, result in results.items():
            result.print(rate)


def model_path(runs: Path, recipe: str, group: Sequence[str], seed: int) -> Path:
    """Where the model that has never seen a group is kept."""
    return runs / f"{recipe}-{get_recipe(recipe).fingerprint}" / f"{group[0]}-{seed}" / "model_v1.pt"


def _train_all(corpus: Path, recipe: str, seed: int, runs: Path, jobs: int) -> None:
    missing = [group for group in GROUPS if not model_path(runs, recipe, group, seed).exists()]
    with Progress(console=STDERR) as progress, ProcessPoolExecutor(max_workers=jobs) as executor:
        bar = progress.add_task(f"{len(missing)} models to train", total=len(missing))
        futures = [executor.submit(train, corpus, recipe, group, seed, runs) for group in missing]
        for future in as_completed(futures):
            future.result()
            progress.advance(bar)


def train(corpus: Path, recipe: str, group: Sequence[str], seed: int, runs: Path) -> None:
    """Train one model without a group and without the idle givers; runs in a process of its own."""
    clips, background = load_corpus(corpus, "ase")
    fold = hold_out(clips, background, person=group[0], also_absent=(*group[1:], *IDLE_GIVERS))
    chosen = get_recipe(recipe)
    model, prototypes, _ = train_fold(fold, chosen, seed=seed)
    manifest = describe_model(
        fold.train,
        fold.labels,
        chosen,
        version="v1",
        prototypes=prototypes,
        provenance={"held_out": list(group)},
    )
    path = model_path(runs, recipe, group, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_torch_artifact(path, state_dict=model.state_dict(), manifest=manifest)


def _calibrated(path: Path, folds: Sequence[FoldOutcome], *, without: Collection[str]) -> SignFlowInferencePipeline:
    """A group's model, calibrated without the people whom it is to judge."""
    state, manifest = load_torch_artifact(path)
    with TemporaryDirectory() as folder:
        calibrated = Path(folder) / "model_v2.pt"
        manifest = replace(manifest, version="v2", calibration=calibrate(folds, without=without))
        save_torch_artifact(calibrated, state_dict=state, manifest=manifest)
        return SignFlowInferencePipeline.load_file(calibrated)


def _judge_signing(
    person: str, clips: Sequence[Clip], pipeline: SignFlowInferencePipeline, rate: float, seed: int
) -> LiveScore:
    known = set(pipeline.manifest.label_names)
    own = [clip for clip in clips if clip.signer == person and clip.label in known and _is_sign(clip)]
    return _score(build_stream(_mix(own, seed), seed=seed, fps=rate, idle_clips=_idle(clips)), pipeline)


def _judge_idle(clips: Sequence[Clip], pipeline: SignFlowInferencePipeline, rate: float, seed: int) -> LiveScore:
    resting = build_stream(_shuffled(_idle(clips), seed)[:120], seed=seed, fps=rate)
    return _score(replace(resting, signs=()), pipeline)


def _idle(clips: Sequence[Clip]) -> list[Clip]:
    return [clip for clip in clips if clip.signer in IDLE_GIVERS and clip.label == IDLE]


def _score(stream: SignedStream, pipeline: SignFlowInferencePipeline) -> LiveScore:
    sent, num_asks = run_stream(stream.clip, pipeline, SegmenterConfig())
    return score_stream(stream.clip, stream.signs, sent, num_asks=num_asks)


def _is_sign(clip: Clip) -> bool:
    return clip.label != IDLE and clip.quality not in ("suspect", "nonsign")


def _shuffled(clips: Sequence[Clip], seed: int) -> list[Clip]:
    return [clips[i] for i in np.random.default_rng([seed, 17]).permutation(len(clips))]


def _mix(clips: Sequence[Clip], seed: int) -> list[Clip]:
    """Every label about equally often, in random order."""
    by_label: dict[str, list[Clip]] = {}
    for clip in _shuffled(clips, seed):
        by_label.setdefault(clip.label or "", []).append(clip)
    each = -(-CLIPS_PER_PERSON // len(by_label))
    return _shuffled([clip for group in by_label.values() for clip in group[:each]], seed + 1)[:CLIPS_PER_PERSON]


def _columns(shown: Sequence[tuple[float, bool]]) -> tuple[FloatArray, BoolArray]:
    confidence, is_right = np.array(shown).reshape(-1, 2).T
    return confidence.astype(np.float32), is_right > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Person:
    signing: LiveScore
    idle: LiveScore

    def row(self) -> dict[str, float | int]:
        signing, idle = self.signing, self.idle
        idle_minutes = idle.duration_ms / 60_000
        return {
            "signs": signing.num_made,
            "minutes": signing.duration_ms / 60_000,
            "f1": signing.f1,
            "recall": signing.num_right / max(1, signing.num_made),
            "precision": signing.num_right / max(1, signing.num_sent),
            "unsure": signing.num_unsure,
            "delay_p50_ms": delay_percentile(signing.delays_ms, 50),
            "delay_p95_ms": delay_percentile(signing.delays_ms, 95),
            "rest_delay_p50_ms": delay_percentile(signing.rest_delays_ms, 50),
            "rest_delay_p95_ms": delay_percentile(signing.rest_delays_ms, 95),
            "idle_minutes": idle_minutes,
            "false_per_idle_minute": idle.sent_per_minute,
            "unsure_per_idle_minute": idle.num_unsure / idle_minutes,
            "asks_per_second": signing.num_asks / (signing.duration_ms / 1000),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rate:
    """Results at one frame rate."""

    people: dict[str, _Person]

    def judged(self) -> list[_Person]:
        """Everybody but those whose streams the limits were chosen on."""
        others = [result for person, result in self.people.items() if person not in TUNED_ON]
        return others or list(self.people.values())

    def everybody(self) -> _Person:
        judged = self.judged()
        return _Person(
            signing=add_scores([result.signing for result in judged]),
            idle=add_scores([result.idle for result in judged]),
        )

    def mean_f1(self) -> float:
        return float(np.mean([result.signing.f1 for result in self.judged()]))

    def reliability(self) -> dict[str, object]:
        """Of all that was shown, "not sure" too: on the streams of signs, and with the idle minutes."""
        everybody = self.everybody()
        return {
            "signing": asdict(describe_reliability(*_columns(everybody.signing.shown))),
            "with_idle": asdict(describe_reliability(*_columns((*everybody.signing.shown, *everybody.idle.shown)))),
        }

    def summary(self) -> dict[str, object]:
        return {
            "mean_f1": self.mean_f1(),
            "all": self.everybody().row(),
            "reliability": self.reliability(),
            "people": {person: result.row() for person, result in self.people.items()},
        }

    def print(self, rate: str) -> None:
        rows = {person + (" (tuned on)" if person in TUNED_ON else ""): r.row() for person, r in self.people.items()}
        rows["all but tuned on"] = self.everybody().row()
        table = Table(title=f"{rate} frames a second; mean F1 over people {self.mean_f1():.3f}")
        table.add_column("person")
        for column in rows["all but tuned on"]:
            table.add_column(column.replace("_", " "), justify="right")
        for name, row in rows.items():
            table.add_row(name, *(f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()))
        results().print(table)


if __name__ == "__main__":
    typer.run(main)
