"""Finds the 75 body points in videos with MediaPipe and writes one clip `.npz` a video (docs/data.md).

Reads video files or folders of them; what lies in LABEL/... or LABEL/SIGNER/... below a given folder gets these with
--label-from-folder. Writes to the output folder under the same relative names; existing clips are kept unless
--overwrite. Exit code 1 when a video could not be read, or is cut. Needs the extra `video` (make lab).

    python -m scripts.extract_landmarks recordings/ --output ../data/clips --label-from-folder --signer anna
"""

import errno
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import orjson
import typer
from rich.progress import Progress

from app.ml.errors import ClipFileError, InvalidLandmarksError
from app.ml.landmarks.layout import part_presence
from app.ml.recordings.clips import Clip, save_clip
from app.ml.recordings.extraction import VIDEO_SUFFIXES, extract_clip
from app.ml.recordings.extraction_plan import ClipPlan, plan_clips
from app.ml.recordings.plausibility import count_jumps
from app.ml.recordings.source_files import find_data_files, show_path
from scripts.console import STDERR, fail, user_errors

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""The next clip cannot be written either."""
_MAX_TOLD: Final = 20

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    epilog="Example: python -m scripts.extract_landmarks recordings/ --output ../data/clips --label-from-folder"
)
def main(
    sources: Annotated[list[Path], typer.Argument(help="Videos, or folders of videos.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the clips.")],
    *,
    label: Annotated[str | None, typer.Option(help="The sign that every video shows.")] = None,
    label_from_folder: Annotated[
        bool,
        typer.Option(
            "--label-from-folder", help="Videos lie in LABEL/... or LABEL/SIGNER/..., as import_dataset reads them."
        ),
    ] = False,
    keep_cut: Annotated[
        bool, typer.Option("--keep-cut", help="Of a cut video take what is there, as a clip of quality 'suspect'.")
    ] = False,
    signer: Annotated[str | None, typer.Option(help="Who signs.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make clips again that are there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line a clip.")] = False,
) -> None:
    """Find the 75 body points in videos and write one clip .npz a video."""
    for source in sources:
        if not source.exists():
            raise fail(f"{source}: no such file or folder")
    with user_errors():
        jobs = plan_clips(sources, output, label=label, signer=signer, label_from_folder=label_from_folder)
    if not jobs:
        raise fail(f"no video in {', '.join(map(str, sources))} ({', '.join(sorted(VIDEO_SUFFIXES))})")
    _tell_others(sources)
    todo = [job for job in jobs if overwrite or not job.clip.exists()]
    num_failed = 0
    with user_errors(), Progress(console=STDERR, transient=True) as progress:
        overall = progress.add_task("videos", total=len(todo))
        for job in todo:
            task = progress.add_task(job.video.name, total=None)
            try:
                clip = extract_clip(
                    job.video,
                    label=job.label,
                    signer=job.signer,
                    keep_cut=keep_cut,
                    on_frame=lambda done, total, task=task: progress.update(task, completed=done, total=total or None),
                )
            except (ClipFileError, InvalidLandmarksError, OSError) as error:
                num_failed += 1
                _tell("failed", job.video, str(error).removeprefix(f"{job.video}: "))
            else:
                num_failed += not _write(job, clip, as_json=as_json)
            progress.remove_task(task)
            progress.advance(overall)
    if len(todo) < len(jobs):
        STDERR.print(f"{len(jobs) - len(todo)} clips were there already; --overwrite makes them again")
    if num_failed:
        raise typer.Exit(1)


def _write(job: ClipPlan, clip: Clip, *, as_json: bool) -> bool:
    """Whether the clip could be written."""
    try:
        job.clip.parent.mkdir(parents=True, exist_ok=True)
        save_clip(job.clip, clip)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise
        _tell("failed", Path(error.filename or job.clip), error.strerror or str(error))
        return False
    _print(job, clip, as_json=as_json)
    return True


def _tell(what: str, path: Path, reason: str) -> None:
    STDERR.print(f"{what}: {show_path(path)}: {reason}", style="red", markup=False, highlight=False, soft_wrap=True)


def _tell_others(sources: list[Path]) -> None:
    """Name what lies among the videos and is none."""
    others = [
        file
        for source in sources
        if source.is_dir()
        for file in find_data_files(source)
        if file.suffix.lower() not in VIDEO_SUFFIXES
    ]
    for file in others[:_MAX_TOLD]:
        STDERR.print(f"not read: {show_path(file)}: no video by its name", highlight=False, soft_wrap=True)
    if len(others) > _MAX_TOLD:
        STDERR.print(f"not read: {len(others) - _MAX_TOLD} more files")


def _print(job: ClipPlan, clip: Clip, *, as_json: bool) -> None:
    num_jumps = count_jumps(clip.landmarks, clip.times_ms, width=clip.width, height=clip.height)
    if num_jumps:
        _tell("look at it", job.video, f"the body jumps {num_jumps} times, as when two people are seen; crop the video")
    if np.isnan(clip.landmarks).all():
        _tell("look at it", job.video, "nobody is seen in any frame")
    pose, left, right = (float(share) for share in np.mean(part_presence(clip.landmarks), axis=0))
    if as_json:
        told = {
            "clip": str(job.clip),
            "label": job.label,
            "is_cut": clip.quality == "suspect",
            "num_jumps": num_jumps,
            "num_frames": clip.num_frames,
            "duration_ms": round(clip.duration_ms, 1),
            "width": clip.width,
            "height": clip.height,
            "pose": round(pose, 3),
            "left_hand": round(left, 3),
            "right_hand": round(right, 3),
        }
        typer.echo(orjson.dumps(told).decode())
        return
    typer.echo(
        f"{job.clip}: {clip.num_frames} frames in {clip.duration_ms / 1000:.1f} s, {clip.width}x{clip.height}; "
        f"seen: pose {pose:.0%}, left hand {left:.0%}, right hand {right:.0%}"
    )


if __name__ == "__main__":
    app()
