"""Turns recordings in other projects' layouts into one data set `.npz` (docs/data.md).

Reads an MP_Data folder (ACTION/SEQUENCE/FRAME.npy), `.pose` files, Kaggle's asl-signs (train.csv, parquet), a folder
of videos by label, or our own `.npz` files; CSV files may rename labels and people. Copies of a recording are found
by hash. Writes the data set; tells what was read, skipped and dropped. Exit code 1 when an item had to be skipped.

    python -m scripts.import_dataset ~/MP_Data --output ../data/landmarks/mine.npz --signer anna --language ase
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import orjson
import typer
from rich.progress import Progress
from rich.table import Table

from app.ml.recordings.clips import DEFAULT_FRAME_MS, DEFAULT_HEIGHT, DEFAULT_WIDTH, save_dataset
from app.ml.recordings.importers.conversion import (
    Camera,
    Imported,
    SourceFormat,
    detect_format,
    find_unread,
    import_clips,
    open_importer,
)
from app.ml.recordings.importers.source import Naming, Skipped, load_map
from app.ml.recordings.source_files import show_path, show_text
from scripts.console import STDERR, fail, results, tell_skipped, user_errors
from scripts.options import check_language

_REST: Final = "; --json lists all"

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    epilog="Example: python -m scripts.import_dataset ~/MP_Data --output ../data/landmarks/mine.npz --signer anna"
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
    keep_cut: Annotated[
        bool, typer.Option("--keep-cut", help="Of a cut video take what is there, as a clip of quality 'suspect'.")
    ] = False,
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
        layout = detect_format(source) if layout is SourceFormat.AUTO else layout
        importer = open_importer(source, layout, camera, keep_cut=keep_cut)
        task = progress.add_task("reading", total=importer.count())
        result = import_clips(importer, naming=naming, camera=camera, on_item=lambda: progress.advance(task))
        unread = find_unread(source, layout, importer)
        output.parent.mkdir(parents=True, exist_ok=True)
        save_dataset(output, result.clips)
    tell_skipped("skipped", result.skipped, rest=_REST)
    tell_skipped("no name", result.nameless, rest=_REST)
    tell_skipped("empty", result.empty, rest=_REST)
    others = [Skipped(path=path, reason=f"not part of the layout {layout}") for path in unread]
    tell_skipped("not read", others, rest=_REST)
    for group in result.conflicts[:20]:
        STDERR.print(f"same recording, different labels: {', '.join(group)}", markup=False, highlight=False)
    if as_json:
        _print_json(output, result, unread)
    else:
        _print(output, result)
    if result.skipped or result.nameless:
        raise typer.Exit(1)


def _print_json(output: Path, result: Imported, unread: Sequence[Path]) -> None:
    def listed(items: Sequence[Skipped]) -> list[dict[str, str]]:
        return [{"path": show_path(item.path), "reason": show_text(item.reason)} for item in items]

    told = {
        "output": str(output),
        "num_clips": len(result.clips),
        "labels": Counter(clip.label or "" for clip in result.clips),
        "signers": Counter(clip.signer or "" for clip in result.clips),
        "num_copies": result.num_copies,
        "num_left_out": result.num_left_out,
        "num_erased_points": result.num_erased,
        "num_empty": len(result.empty),
        "num_nameless": len(result.nameless),
        "conflicts": result.conflicts,
        "empty": listed(result.empty),
        "nameless": listed(result.nameless),
        "skipped": listed(result.skipped),
        "not_read": [show_path(path) for path in unread],
    }
    typer.echo(orjson.dumps(told).decode())


def _print(output: Path, result: Imported) -> None:
    table = Table("label", "clips", box=None)
    for label, count in sorted(Counter(clip.label or "" for clip in result.clips).items()):
        table.add_row(label or "(none)", str(count))
    console = results()
    console.print(table)
    console.print(
        f"{output}: {len(result.clips)} clips of {len({clip.signer for clip in result.clips})} people; "
        f"{result.num_copies} copies dropped, {result.num_left_out} left out by the label map, "
        f"{len(result.empty)} empty, {len(result.nameless)} without a name that can be kept, "
        f"{len(result.skipped)} skipped, {len(result.conflicts)} label conflicts, "
        f"{result.num_erased} impossible points made missing",
        highlight=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    app()
