"""Gives a model the calibration of a report on unseen people: temperature, familiarity gate and threshold; the weights
stay as they are. Reads the model's files and the report, and with `--execute` rewrites and seals the files.

For a model that was trained before confidences were measured, or whose recipe was judged again since.

    python -m scripts.calibrate_model --model data/models/model_v1.onnx --unseen data/models/unseen_v1.json --execute
"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import orjson
import typer

from app.ml.artifacts.files import read_manifest, rewrite_manifest
from app.ml.artifacts.manifest import ModelManifest
from app.ml.errors import DatasetError, ManifestMismatchError
from app.ml.evaluation.calibration import read_calibration
from scripts.console import STDERR, needs_packages, user_errors

with needs_packages():
    from app.ml.training.held_out import REPORTED

_ENDINGS = (".int8.onnx", ".onnx", ".pt")


def main(
    model: Annotated[Path, typer.Option(help="One of the model's files; those beside it are calibrated too.")],
    unseen: Annotated[Path, typer.Option(help="Report of evaluate_unseen about the model's recipe.")],
    *,
    execute: Annotated[bool, typer.Option("--execute", help="Rewrite the files; else only say what for.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print only JSON.")] = False,
) -> None:
    """Give a model the calibration of a report on unseen people."""
    with user_errors():
        recipe, calibration = read_calibration(unseen)
        manifest = read_manifest(model)
        _check(manifest, recipe, model)
        files = _files_of(model, manifest)
        if execute:
            provenance = manifest.provenance | {"calibrated_on": REPORTED}
            for path in files:
                rewrite_manifest(path, replace(manifest, calibration=calibration, provenance=provenance))
    names = [path.name for path in files]
    if as_json:
        told = {"files": names, "written": execute, "before": asdict(manifest.calibration), "now": asdict(calibration)}
        typer.echo(orjson.dumps(told).decode())
        return
    typer.echo(f"before: {manifest.calibration}")
    typer.echo(f"now:    {calibration}")
    typer.echo(f"{'written' if execute else 'to be written'}: {', '.join(names)}")
    if not execute:
        STDERR.print("nothing was changed; add --execute", style="yellow")


def _check(manifest: ModelManifest, recipe: str, model: Path) -> None:
    trained_with = manifest.provenance.get("recipe")
    if trained_with != recipe:
        msg = f"{model} was trained with recipe {trained_with!r}, the report is about {recipe!r}; evaluate that recipe"
        raise DatasetError(msg)
    if not manifest.prototypes:
        msg = f"{model} has no prototypes to be familiar with; train it again with scripts.train"
        raise DatasetError(msg)


def _files_of(model: Path, manifest: ModelManifest) -> list[Path]:
    """All files of the model in its folder, which must hold the same weights."""
    ending = next((ending for ending in _ENDINGS if model.name.endswith(ending)), model.suffix)
    stem = model.name.removesuffix(ending)
    files = [path for one in _ENDINGS if (path := model.with_name(stem + one)).exists()]
    for path in files:
        if read_manifest(path).weights_sha256 != manifest.weights_sha256:
            msg = f"{path} has other weights than {model.name}; move one of them away"
            raise ManifestMismatchError(msg)
    return files


if __name__ == "__main__":
    typer.run(main)
