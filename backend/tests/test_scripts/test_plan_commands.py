"""The commands with which the product's plan checks itself, as people paste them: only the files' names differ."""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import onnxruntime
import pytest

from app.ml.artifacts.files import load_torch_artifact, save_torch_artifact
from app.ml.pipeline import SignFlowInferencePipeline
from app.ml.recordings.clips import save_dataset
from app.ml.types import Prediction
from tests.parametric_signer import make_clips, make_person, perform_sign

BACKEND = Path(__file__).resolve().parents[2]
REPOSITORY = BACKEND.parent
LAUNCHERS = {"python": [sys.executable], "pytest": [sys.executable, "-m", "pytest"]}
"""What a shell with the repository's .venv finds under these names."""
SIGNS = ("rain", "stone", "sun")


class Shell:
    """Runs command lines as a terminal in some folder does; `A.pt` and the like lie in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, line: str, *, cwd: Path = BACKEND, exit_code: int = 0) -> str:
        program, *arguments = shlex.split(line)
        for name in ("A.pt", "B.pt", "A.onnx"):
            arguments = [argument.replace(name, str(self.folder / name)) for argument in arguments]
        done = subprocess.run(
            [*LAUNCHERS[program], *arguments],
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == exit_code, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def shell(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A model that confuses two signs (A), the sound one (B), and recordings of people whom neither has seen."""
    folder = tmp_path_factory.mktemp("plan")
    weights, manifest = load_torch_artifact(tiny_model_dir / "model_v1.pt")
    save_torch_artifact(folder / "B.pt", state_dict=weights, manifest=replace(manifest, version="v2"))
    first, second = (manifest.label_names.index(label) for label in ("rain", "stone"))
    for name in ("classifier.weight", "classifier.bias"):
        weights[name][[first, second]] = weights[name][[second, first]].clone()
    save_torch_artifact(folder / "A.pt", state_dict=weights, manifest=manifest)
    data = folder / "data" / "landmarks" / "new_people.npz"
    data.parent.mkdir(parents=True)
    save_dataset(data, make_clips(num_people=4, takes=2, labels=SIGNS, seed=100))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGNFLOW_DATASETS_DIR", str(folder / "data"))
        yield Shell(folder)


def test_export_writes_a_file_that_onnx_runtime_loads(shell: Shell) -> None:
    shell.run("python -m app.ml.export --model-path A.pt --output A.onnx")

    assert onnxruntime.InferenceSession(shell.folder / "A.onnx").get_outputs()
    window = perform_sign(make_person(100), "sun").to_window()
    answers: list[Prediction] = []
    for name in ("A.pt", "A.onnx"):
        with closing(SignFlowInferencePipeline.load_file(shell.folder / name)) as pipeline:
            answers += pipeline.infer_batch([window])
    assert [answer.alternatives[0].label for answer in answers] == ["sun", "sun"]


@pytest.mark.parametrize("name", ["spatial_encoder", "temporal_pooling"])
def test_single_test_files_run_from_the_repositorys_root(shell: Shell, name: str) -> None:
    assert " passed" in shell.run(f"pytest backend/tests/test_ml/test_{name}.py -v", cwd=REPOSITORY)


def test_throughput_is_measured(shell: Shell) -> None:
    # Every backend takes half a minute at the default length: the only thing here that the plan's line does not have.
    out = shell.run("python scripts/benchmark_throughput.py --mode batch --batch-size 32 --seconds 0.2")

    assert "SIGNFLOW_BATCH__BATCH_SIZE=" in out


@pytest.mark.parametrize(("script", "cwd"), [("scripts", BACKEND), ("backend/scripts", REPOSITORY)])
def test_models_are_compared_and_evaluated_on_what_lies_in_the_data_folder(
    shell: Shell, script: str, cwd: Path
) -> None:
    compared = shell.run(f"python {script}/compare_models.py --baseline A.pt --candidate B.pt", cwd=cwd)
    evaluated = shell.run(f"python {script}/evaluate_models.py --models A.pt,B.pt", cwd=cwd)

    for out in (compared, evaluated):
        assert "People whom no given model has seen: person100, person101, person102, person103" in out
    assert "The candidate is better" in compared
    assert evaluated.count("mean over 4 people") == 2


def tools() -> list[str]:
    """Names of the scripts that have a command line; the others are parts of these."""
    found = sorted((BACKEND / "scripts").glob("*.py"))
    return [path.stem for path in found if '__name__ == "__main__"' in path.read_text("utf-8")]


@pytest.mark.parametrize("name", tools())
def test_every_script_runs_as_a_file_from_anywhere(shell: Shell, name: str) -> None:
    assert "Usage:" in shell.run(f"python backend/scripts/{name}.py --help", cwd=REPOSITORY)


def test_scripts_also_run_as_modules(shell: Shell) -> None:
    assert "Usage:" in shell.run("python -m scripts.benchmark_throughput --help")
