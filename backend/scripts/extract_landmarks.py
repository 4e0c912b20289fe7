"""Finds the 75 body points in videos with MediaPipe and writes one clip `.npz` a video (docs/data.md).

Reads video files or folders of them; what lies in LABEL/... below a given folder gets that label with
--label-from-folder. Writes to the output folder under the same relative names; existing clips are kept unless
--overwrite. Needs the extra `video` (make lab).

    python -m scripts.extract_landmarks recordings/ --output ../data/clips --label-from-folder --signer anna
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import orjson
import typer
from rich.progress import Progress

from app.ml.errors import ClipFileError
from app.ml.landmarks.layout import part_presence
from app.ml.recordings.clips import Clip, save_clip
from app.ml.recordings.extraction import extract_clip
from app.ml.recordings.importers.videos import find_videos
from scripts.console import STDERR, fail, user_errors

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    video: Path
    clip: Path
    label: str | None


@app.command(
    epilog="Example: python -m scripts.extract_landmarks recordings/ --output ../data/clips --label-from-folder"
)
def main(
    sources: Annotated[list[Path], typer.Argument(help="Videos, or folders of videos.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the clips.")],
    *,
    label: Annotated[str | None, typer.Option(help="The sign that every video shows.")] = None,
    label_from_folder: Annotated[
        bool, typer.Option("--label-from-folder", help="The folder that holds a video is its label.")
    ] = False,
    signer: Annotated[str | None, typer.Option(help="Who signs.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make clips again that are there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line a clip.")] = False,
) -> None:
    """Find the 75 body points in videos and write one clip .npz a video."""
    jobs = [job for source in sources for job in _plan(source, output, label, by_folder=label_from_folder)]
    if not jobs:
        raise fail(f"no video in {', '.join(map(str, sources))}")
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
                    signer=signer,
                    on_frame=lambda done, total, task=task: progress.update(task, completed=done, total=total or None),
                )
            except ClipFileError as error:
                num_failed += 1
                STDERR.print(f"failed: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
            else:
                job.clip.parent.mkdir(parents=True, exist_ok=True)
                save_clip(job.clip, clip)
                _print(job, clip, as_json=as_json)
            progress.remove_task(task)
            progress.advance(overall)
    if len(todo) < len(jobs):
        STDERR.print(f"{len(jobs) - len(todo)} clips were there already; --overwrite makes them again")
    if num_failed:
        raise typer.Exit(1)


def _plan(source: Path, output: Path, label: str | None, *, by_folder: bool) -> list[_Job]:
    if not source.exists():
        raise fail(f"{source}: no such file or folder")
    root = source.parent if source.is_file() else source
    return [
        _Job(
            video=video,
            clip=(output / video.relative_to(root)).with_suffix(".npz"),
            label=video.parent.name if by_folder else label,
        )
        for video in find_videos(source)
    ]


def _print(job: _Job, clip: Clip, *, as_json: bool) -> None:
    pose, left, right = (float(share) for share in np.mean(part_presence(clip.landmarks), axis=0))
    if as_json:
        told = {
            "clip": str(job.clip),
            "label": job.label,
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
