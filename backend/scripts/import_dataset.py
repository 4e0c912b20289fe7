"""Turns recordings in other projects' layouts into one data set `.npz` (docs/data.md).

Reads an MP_Data folder (ACTION/SEQUENCE/FRAME.npy), `.pose` files, Kaggle's asl-signs (train.csv, parquet), a folder
of videos by label, or our own `.npz` files; CSV files may rename labels and people. Copies of a recording are found
by hash. Writes the data set; tells what was read, skipped and dropped.

    python -m scripts.import_dataset ~/MP_Data --output data/mine.npz --signer anna --language ase
"""

from collections import Counter
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from app.ml.recordings.clips import DEFAULT_FRAME_MS, DEFAULT_HEIGHT, DEFAULT_WIDTH, save_dataset
from app.ml.recordings.importers.conversion import Camera, Imported, SourceFormat, import_clips, open_importer
from app.ml.recordings.importers.source import Naming, load_map
from scripts.console import STDERR, fail, user_errors
from scripts.options import check_language

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    epilog="Example: python -m scripts.import_dataset ~/MP_Data --output data/mine.npz --signer anna --language ase"
)
def main(
    source: Annotated[Path, typer.Argument(help="Folder or file to import.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Data set .npz to write.")],
    *,
    layout: Annotated[SourceFormat, typer.Option("--format", help="Layout of the source.")] = SourceFormat.AUTO,
    labels: Annotated[
        Path | None, typer.Option(help="CSV 'theirs,ours' of labels; an empty 'ours' leaves them out.")
    ] = None,
    signers: Annotated[Path | None, typer.Option(help="CSV 'theirs,ours' of people.")] = None,
    signer: Annotated[str | None, typer.Option(help="Who signs, where the source does not say.")] = None,
    session: Annotated[str | None, typer.Option(help="Name of the recording session.")] = None,
    language: Annotated[
        str | None, typer.Option(callback=check_language, help="Sign language, ISO 639-3: ase, kvk, ...")
    ] = None,
    frame_ms: Annotated[
        float, typer.Option(min=1.0, max=1000.0, help="Time between frames, where the source does not say.")
    ] = DEFAULT_FRAME_MS,
    width: Annotated[int, typer.Option(min=1, help="Frame width, where the source does not say.")] = DEFAULT_WIDTH,
    height: Annotated[int, typer.Option(min=1, help="Frame height, where the source does not say.")] = DEFAULT_HEIGHT,
    mirrored: Annotated[bool, typer.Option("--mirrored", help="Pictures were flipped before detection.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Turn recordings in other projects' layouts into one data set .npz."""
    if output.suffix != ".npz":
        raise fail(f"--output {output} must end in .npz")
    camera = Camera(frame_ms=frame_ms, width=width, height=height, mirrored=mirrored)
    with user_errors(), Progress(console=STDERR, transient=True) as progress:
        naming = Naming(
            labels=load_map(labels) if labels else {},
            signers=load_map(signers) if signers else {},
            signer=signer,
            session=session,
            language=language,
        )
        importer = open_importer(source, layout, camera)
        task = progress.add_task("reading", total=importer.count())
        result = import_clips(importer, naming=naming, camera=camera, on_item=lambda: progress.advance(task))
        output.parent.mkdir(parents=True, exist_ok=True)
        save_dataset(output, result.clips)
    for skipped in result.skipped[:20]:
        STDERR.print(f"skipped {skipped.path}: {skipped.reason}", markup=False, highlight=False, soft_wrap=True)
    for group in result.conflicts[:20]:
        STDERR.print(f"same recording, different labels: {', '.join(group)}", markup=False, highlight=False)
    _print(output, result, as_json=as_json)


def _print(output: Path, result: Imported, *, as_json: bool) -> None:
    per_label = Counter(clip.label or "" for clip in result.clips)
    per_signer = Counter(clip.signer or "" for clip in result.clips)
    if as_json:
        told = {
            "output": str(output),
            "num_clips": len(result.clips),
            "labels": per_label,
            "signers": per_signer,
            "num_copies": result.num_copies,
            "num_left_out": result.num_left_out,
            "conflicts": result.conflicts,
            "skipped": [{"path": str(skipped.path), "reason": skipped.reason} for skipped in result.skipped],
        }
        typer.echo(orjson.dumps(told).decode())
        return
    table = Table("label", "clips", box=None)
    for label, count in sorted(per_label.items()):
        table.add_row(label or "(none)", str(count))
    console = Console()
    console.print(table)
    console.print(
        f"{output}: {len(result.clips)} clips of {len(per_signer)} people; {result.num_copies} copies dropped, "
        f"{result.num_left_out} left out, {len(result.skipped)} skipped, {len(result.conflicts)} label conflicts",
        highlight=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    app()
