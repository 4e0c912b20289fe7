"""Packs a SignFlow model into an archive that TorchServe serves: the model, the handler, and the library they need.

Reads a `.onnx` or `.pt` model; writes one `.mar`. The archive carries all of `app.ml`, so the server needs TorchServe,
PyTorch, ONNX Runtime and a few small packages (torchserve/Dockerfile names them), but not SignFlow.

    python -m scripts.package_torchserve --model data/models/model_v1.onnx
"""

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final

import typer

from app.ml.artifacts.files import read_manifest, read_onnx_artifact
from app.ml.artifacts.interface import require_current
from app.ml.artifacts.manifest import ModelManifest, check_feature_spec
from app.ml.artifacts.whole_files import write_whole
from app.ml.errors import ArtifactError, MissingExtraError
from scripts.console import user_errors

BACKEND_DIR: Final = Path(__file__).resolve().parents[1]
HANDLER: Final = BACKEND_DIR / "torchserve" / "handler.py"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingOptions:
    """How TorchServe runs the model.

    Attributes:
        batch_size: requests in one batch, at most; each may hold several windows.
        max_batch_delay_ms: how long a batch that is not full waits for more; every lone request pays it.
        workers: processes; on a GPU one is usual, on a CPU at most one a core.
        num_threads: in each worker, inside one call of the model.
        response_timeout_s: a worker that takes longer for a batch is stopped and started again.
    """

    batch_size: int = 32
    max_batch_delay_ms: int = 1
    workers: int = 1
    num_threads: int = 1
    response_timeout_s: int = 30

    def to_yaml(self) -> str:
        """The archive's model configuration."""
        return (
            f"minWorkers: {self.workers}\nmaxWorkers: {self.workers}\nbatchSize: {self.batch_size}\n"
            f"maxBatchDelay: {self.max_batch_delay_ms}\nresponseTimeout: {self.response_timeout_s}\n"
            f"handler:\n  num_threads: {self.num_threads}\n"
        )


def package_archive(model: Path, output: Path, *, options: ServingOptions | None = None) -> ModelManifest:
    """Write a `.mar`, whole or not at all; its name is the name of the model in TorchServe.

    Returns:
        The manifest of the model.

    Raises:
        ArtifactError: the model cannot be used, or the output's name cannot be a model's.
        ManifestMismatchError: the model was trained on features that this version does not compute, or is a file from
            before landmarks went in.
        MissingExtraError: torch-model-archiver is not installed.
    """
    manifest = read_manifest(model)
    check_feature_spec(manifest)
    if model.suffix == ".onnx":
        require_current(model, read_onnx_artifact(model).interface)
    if output.suffix != ".mar" or not _NAME.fullmatch(output.stem):
        msg = f"{output.name} cannot be an archive's name: letters, digits, '_', '-' and '.', then .mar"
        raise ArtifactError(msg)
    if find_spec("model_archiver") is None:
        msg = "torch-model-archiver is not installed; 'make extra NAME=torchserve' installs it"
        raise MissingExtraError(msg)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="signflow-archive-") as folder:
        work = Path(folder)
        library, config = work / "library", work / "model-config.yaml"
        _copy_library(library)
        config.write_text((options or ServingOptions()).to_yaml(), encoding="utf-8")
        archive = {
            "--model-name": output.stem,
            "--version": manifest.version,
            "--serialized-file": str(model.resolve()),
            "--handler": str(HANDLER),
            "--extra-files": str(library),
            "--config-file": str(config),
            "--export-path": str(work),
        }
        # The archiver gathers files in the temporary folder under the model's name, and first deletes what is there.
        command = ["env", f"TMPDIR={work}", sys.executable, "-W", "ignore", "-m", "model_archiver.model_packaging"]
        done = subprocess.run(
            [*command, *(part for option in archive.items() for part in option)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            msg = f"torch-model-archiver failed: {done.stderr.strip()[-500:]}"
            raise ArtifactError(msg)
        write_whole(output, (work / output.name).read_bytes())
    return manifest


def _copy_library(target: Path) -> None:
    source = BACKEND_DIR / "app"
    shutil.copytree(source / "ml", target / "app" / "ml", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(source / "__init__.py", target / "app" / "__init__.py")


def main(
    model: Annotated[Path, typer.Option(help="Model to pack, a .onnx or .pt file.")],
    output: Annotated[Path, typer.Option(help="Archive to write; its name is the model's name in TorchServe.")] = (
        BACKEND_DIR.parent / "torchserve" / "model-store" / "signflow.mar"
    ),
    *,
    batch_size: Annotated[int, typer.Option(min=1, max=256, help="Requests in one batch, at most.")] = 32,
    max_batch_delay_ms: Annotated[int, typer.Option(min=1, max=1_000, help="How long a batch waits for more.")] = 1,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")] = 1,
    num_threads: Annotated[int, typer.Option(min=1, max=64, help="Threads of one worker.")] = 1,
) -> None:
    """Pack a SignFlow model into an archive for TorchServe."""
    options = ServingOptions(
        batch_size=batch_size, max_batch_delay_ms=max_batch_delay_ms, workers=workers, num_threads=num_threads
    )
    with user_errors():
        manifest = package_archive(model, output, options=options)
    typer.echo(
        f"{output}: model {manifest.version} from {model.name}, {len(manifest.labels)} labels, "
        f"{output.stat().st_size / 1e6:.2f} MB"
    )


if __name__ == "__main__":
    typer.run(main)
