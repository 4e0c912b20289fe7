"""Pretrains a network's encoder on recordings whose labels it does not need: it finds landmarks hidden from it.

Reads data sets in every layout that `import_dataset` knows (--data) and videos as they come from a camera (--videos,
needs the extra `video`). Writes one file, from which `train --pretrained` goes on. Leave out whoever will test the
model: nobody should be seen in pretraining who is unseen later.

    python -m scripts.pretrain_encoder --data unlabelled.npz --model spatial --output data/models/spatial.pretrained.pt
    python -m scripts.train --data mine.npz --model spatial --pretrained data/models/spatial.pretrained.pt \
        --output data/models/model_v2.pt
"""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import orjson
import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from app.ml.recordings.clips import Clip
from app.ml.recordings.copies import data_fingerprint
from app.ml.recordings.extraction import extract_clip
from app.ml.recordings.importers.conversion import Camera, SourceFormat, import_clips, open_importer
from app.ml.recordings.importers.source import Skipped, read_item
from app.ml.recordings.importers.videos import find_videos
from app.ml.recordings.names import compose
from app.ml.tracking import NullTracker, RunDescription, finished, flatten, make_tracker
from app.ml.training.config import PretrainingConfig
from app.ml.training.recipes import recipe_for_model
from scripts.console import STDERR, fail, needs_packages, tell_skipped, user_errors
from scripts.options import MODEL_DIR, check_model

with needs_packages():
    from app.ml.pretraining import pretrain
    from app.ml.trainer import Progress

_DEFAULTS: Final = PretrainingConfig()
_LOGGED_EVERY: Final = 10
_COLUMNS: Final = (
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TimeElapsedColumn(),
    TimeRemainingColumn(),
)


def main(
    output: Annotated[Path, typer.Option(help="The file to write, e.g. data/models/spatial.pretrained.pt.")],
    *,
    data: Annotated[
        list[Path] | None, typer.Option(help="Data set, or folder of them, in any known layout; may be repeated.")
    ] = None,
    videos: Annotated[list[Path] | None, typer.Option(help="Video, or folder of videos; may be repeated.")] = None,
    model: Annotated[
        str, typer.Option(callback=check_model, help="Network; scripts/list_networks.py lists them.")
    ] = "starter",
    steps: Annotated[int, typer.Option(min=1, help="Number of batches.")] = _DEFAULTS.steps,
    batch_size: Annotated[int, typer.Option(min=1, help="Windows in a batch.")] = _DEFAULTS.batch_size,
    masked: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share of the landmarks to hide.")
    ] = _DEFAULTS.masked,
    seed: Annotated[int, typer.Option(help="Same machine, same seed, same weights.")] = 0,
    leave_out: Annotated[list[str] | None, typer.Option(help="Person to leave out; may be repeated.")] = None,
    val_signer: Annotated[
        list[str] | None, typer.Option(help="Leave this person out and measure the reconstruction on them.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow server; unset keeps runs in data/models.")] = None,
    tracking: Annotated[bool, typer.Option(help="Record the run with MLflow; see it with `make mlflow`.")] = True,
) -> None:
    """Pretrain an encoder on unlabelled clips, data sets or videos."""
    if not data and not videos:
        raise fail("give recordings: --data FILE or FOLDER, --videos FILE or FOLDER, or both")
    recipe = recipe_for_model(model)
    with user_errors():
        output.parent.mkdir(parents=True, exist_ok=True)  # now, rather than fail when the training is done
        clips = [*_read_data(data or []), *_read_videos(videos or [])]
        judges = {compose(name) for name in val_signer or []}  # as the importers compose names
        absent = judges | {compose(name) for name in leave_out or []}
        unknown = sorted(absent - {clip.signer or "" for clip in clips})
        if unknown:
            raise fail(f"no clip of {', '.join(unknown)}: nobody would be left out; check the names")
        learned = [clip for clip in clips if clip.signer not in absent]
        config = PretrainingConfig(steps=steps, batch_size=batch_size, masked=masked)
        tracker = make_tracker(tracking_uri, model_dir=MODEL_DIR) if tracking else NullTracker()
        with Bar(*_COLUMNS, console=STDERR) as bar, finished(tracker):
            task = bar.add_task("pretraining", total=steps)
            tracker.start(
                RunDescription(
                    name=f"pretraining {model} seed {seed}",
                    params=flatten({"model": recipe.model.to_dict(), "pretraining": asdict(config), "seed": seed}),
                    data_fingerprint=data_fingerprint(learned),
                    train_signers=sorted({clip.signer or "" for clip in learned}),
                    held_out_signers=sorted(absent),
                )
            )

            def show(state: Progress) -> None:
                bar.update(task, completed=state.step, description=f"loss {state.loss:.3f}")
                if state.step % _LOGGED_EVERY == 0 or state.step == state.steps:
                    tracker.log_metrics({"loss": state.loss}, step=state.step)

            encoder = pretrain(
                learned,
                recipe.model,
                config,
                feature_spec=recipe.trainer.feature_spec,
                seed=seed,
                val=[clip for clip in clips if clip.signer in judges],
                on_progress=show,
            )
            encoder.save(output)
            numbers = {name: value for name, value in encoder.provenance.items() if isinstance(value, float)}
            tracker.log_metrics(numbers, step=steps)
            tracker.log_document("provenance.json", encoder.provenance)
            tracker.log_files([output])
    facts = encoder.provenance
    if as_json:
        typer.echo(orjson.dumps({"output": str(output), "model": model, "sha256": encoder.sha256, **facts}).decode())
        return
    typer.echo(f"{output}: encoder of {model}, {facts['num_clips']} clips, weights {encoder.sha256[:16]}")
    if judges:
        typer.echo(
            f"hidden landmarks of {', '.join(sorted(judges))} found to {facts['reconstruction_error']:.3f} shoulder "
            f"widths; a straight line in time: {facts['interpolation_error']:.3f}"
        )


def _read_data(sources: list[Path]) -> list[Clip]:
    clips: list[Clip] = []
    for source in sources:
        importer = open_importer(source, SourceFormat.AUTO, Camera())
        imported = import_clips(importer, naming=None, camera=Camera())
        tell_skipped("skipped", (*imported.skipped, *imported.empty))
        clips += imported.clips
    return clips


def _read_videos(sources: list[Path]) -> list[Clip]:
    files = [file for source in sources for file in find_videos(source)]
    if sources and not files:
        raise fail(f"no video in {', '.join(map(str, sources))}")
    with Bar(console=STDERR, transient=True) as progress:
        items = [
            read_item(file, partial(extract_clip, file)) for file in progress.track(files, description="reading videos")
        ]
    tell_skipped("skipped", [item for item in items if isinstance(item, Skipped)])
    clips = [item for item in items if isinstance(item, Clip)]
    if files and not clips:
        raise fail(f"none of the {len(files)} videos can be used")
    return clips


if __name__ == "__main__":
    typer.run(main)
