"""Writes what the data sets under `data/` hold: hash, size, clips, people and signs of each file.

Reads every data set and clip folder that the training page offers; writes `data/manifest.json`, which belongs into git
while the data do not. With `--check` it compares instead: exit code 1 when files differ, are missing or are new.

    python -m scripts.write_data_manifest
    python -m scripts.write_data_manifest --check
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Final

import typer

from app.core.config import REPOSITORY_DIR
from app.ml.artifacts.files import file_sha256
from app.ml.artifacts.whole_files import write_text_whole
from app.ml.recordings.summary import DataSummary
from app.services.dataset_catalog import DataSet, DatasetCatalog
from scripts.console import STDERR, fail, results, user_errors

_NAME: Final = "manifest.json"


def main(
    folder: Annotated[Path, typer.Option(help="Where the data sets are.")] = REPOSITORY_DIR / "data",
    *,
    check: Annotated[bool, typer.Option("--check", help="Compare with the manifest instead of writing it.")] = False,
) -> None:
    """Write data/manifest.json, or check that the files are those that it names."""
    if not folder.is_dir():
        raise fail(f"{folder} is no folder; name it with --folder")
    with user_errors():
        found = {one.name: _describe(one) for one in DatasetCatalog(folder).list()}
        broken = [str(entry["problem"]) for entry in found.values() if "problem" in entry]
        if broken:
            raise fail("; ".join(broken))
        path = folder / _NAME
        if check:
            _compare(path, found)
        else:
            write_text_whole(path, json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    results().print(f"{path}: {len(found)} data sets", markup=False, highlight=False)


def _compare(path: Path, found: dict[str, dict[str, object]]) -> None:
    if not path.is_file():
        raise fail(f"{path} is not there; write it without --check")
    try:
        named: dict[str, object] = dict(json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError) as error:
        raise fail(f"{path} is no manifest ({error}); write it again without --check") from error
    differences = [
        *(f"{name}: missing" for name in named if name not in found),
        *(f"{name}: not in the manifest" for name in found if name not in named),
        *(f"{name}: differs" for name in found if name in named and named[name] != found[name]),
    ]
    for line in differences:
        STDERR.print(line, markup=False, highlight=False)
    if differences:
        raise typer.Exit(1)


def _describe(one: DataSet) -> dict[str, object]:
    if one.problem:
        return {"problem": one.problem}
    summary: DataSummary = one.summary
    return {
        "sha256": _hash(one),
        "num_bytes": sum(file.stat().st_size for file in one.files),
        "num_clips": summary.num_clips,
        "languages": sorted(summary.languages),
        "signers": dict(summary.signers),
        "signs": dict(summary.signs),
    }


def _hash(one: DataSet) -> str:
    """Of the file itself; of a folder, over the names and hashes of its files."""
    if len(one.files) == 1:
        return file_sha256(one.files[0])
    lines = [f"{file_sha256(file)}  {file.name}" for file in one.files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


if __name__ == "__main__":
    typer.run(main)
