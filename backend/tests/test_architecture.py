"""House rules that run as checks: sizes, fixed names, documented settings, light serving, one landmark layout."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from app.core.config import Settings
from app.ml.landmarks import layout
from scripts.write_env_example import env_example

BACKEND = Path(__file__).resolve().parents[1]
ROOT = BACKEND.parent
TS_LAYOUT = ROOT / "frontend" / "src" / "lib" / "landmarks.ts"

CODE_SUFFIXES = (".py", ".ts", ".tsx", ".mjs", ".js", ".css", ".html", ".sh", "")
TEXT_SUFFIXES = (*CODE_SUFFIXES, ".md", ".toml", ".yml", ".yaml", ".json", ".example")
MAX_LINES = {".py": 400, ".ts": 400, ".tsx": 250}
MAX_TEST_LINES = 600

FIXED_PATHS = (
    "README.md",
    "Makefile",
    "LICENSE",
    "THIRD_PARTY.md",
    ".env.example",
    ".ci/run",
    "grafana/dashboards/signflow.json",
    "prometheus/prometheus.yml",
    "docker-compose.yml",
    "docker-compose.prod.yml",
    "backend/Dockerfile",
    "alertmanager/alertmanager.yml",
    "backend/pyproject.toml",
    "backend/constraints.txt",
    "backend/app/api/translate.py",
    "backend/torchserve/handler.py",
    "torchserve/Dockerfile",
    "torchserve/config.properties",
    "torchserve/sample_request.json",
    "backend/scripts/evaluate_models.py",
)
"""Commands and documents refer to these; moving one breaks them."""

FIXED_MODULES = (
    "app.main",
    "app.bootstrap",
    "app.api.translate",
    "app.ml.dataset",
    "app.ml.export",
    "app.ml.metrics",
    "app.ml.model",
    "app.ml.model_configs",
    "app.ml.pipeline",
    "app.ml.tracking",
    "app.ml.trainer",
    "app.services.training_service",
    "app.training_worker",
    "scripts.benchmark_stream",
    "scripts.evaluate_models",
    "scripts.extract_landmarks",
    "scripts.import_dataset",
    "scripts.load_test",
    "scripts.package_torchserve",
    "scripts.replay",
    "scripts.train",
)

ML_FRONT_DOORS = {
    "batch_processor",
    "curriculum",
    "dataset",
    "distillation",
    "errors",
    "export",
    "metrics",
    "model",
    "model_configs",
    "pipeline",
    "pretraining",
    "spatial_encoder",
    "temporal_pooling",
    "tracking",
    "trainer",
    "tta",
    "types",
}
"""What may stand at the root of `app/ml`; everything else is a part and has a room."""

HEAVY_MODULES = ("torch", "torch_geometric", "mlflow", "mediapipe", "cv2", "matplotlib", "scipy", "onnx", "jax")
"""None of these may be loaded, or needed, to serve an ONNX model."""


def tracked_files() -> list[Path]:
    """Files of the repository as git sees them: what is committed or would be, nothing that was built."""
    listing = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    return [ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file()]


def source_files() -> Iterator[tuple[Path, str]]:
    """Text files that people write: code, documents, settings; with their text."""
    for path in tracked_files():
        if path.suffix in TEXT_SUFFIXES and path.name != "package-lock.json" and "generated" not in path.parts:
            yield path, path.read_text(encoding="utf-8", errors="replace")


def other_files() -> Iterator[tuple[Path, str]]:
    """The same without this file, which has to name what it looks for."""
    return ((path, text) for path, text in source_files() if path != Path(__file__).resolve())


def name_of(path: Path) -> str:
    """Path from the root of the repository, with slashes."""
    return path.relative_to(ROOT).as_posix()


def is_test(path: Path) -> bool:
    """Whether the file is part of a test suite, which may be longer."""
    return "tests" in path.parts or "test" in path.parts or ".test." in path.name


def test_no_source_file_is_too_long() -> None:
    too_long = {
        name_of(path): (num_lines, limit)
        for path, text in source_files()
        if path.suffix in MAX_LINES
        for limit in [MAX_TEST_LINES if is_test(path) else MAX_LINES[path.suffix]]
        for num_lines in [len(text.splitlines())]
        if num_lines > limit
    }

    assert too_long == {}, "split these files; (lines, limit)"


@pytest.mark.parametrize("path", FIXED_PATHS)
def test_fixed_path_exists(path: str) -> None:
    assert (ROOT / path).is_file()


@pytest.mark.parametrize("module", FIXED_MODULES)
def test_fixed_module_can_be_imported(module: str) -> None:
    importlib.import_module(module)


def test_the_root_of_the_library_holds_front_doors_only() -> None:
    at_root = {path.stem for path in (BACKEND / "app" / "ml").glob("*.py")} - {"__init__"}

    assert at_root == ML_FRONT_DOORS, (
        "parts belong into a room; a new front door is named here and in docs/architecture.md"
    )


def test_every_part_of_training_has_its_place_in_the_import_contract() -> None:
    # A package that is listed part by part would not notice a part that nobody listed.
    contract = (BACKEND / "pyproject.toml").read_text(encoding="utf-8")
    parts = {f"training.{path.stem}" for path in (BACKEND / "app" / "ml" / "training").glob("*.py")}

    assert {part for part in parts - {"training.__init__"} if part not in contract} == set()


def test_fixed_names_live_where_documents_say() -> None:
    for module, name in (
        ("app.ml.pipeline", "SignFlowInferencePipeline"),
        ("app.ml.trainer", "SignTrainer"),
        ("app.ml.export", "export_to_onnx"),
    ):
        assert hasattr(importlib.import_module(module), name), f"{module}.{name}"


def settings_fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """Every single setting with its name, groups opened."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from settings_fields(field.annotation)
        else:
            yield name, field


def test_every_setting_says_what_it_does() -> None:
    assert [name for name, field in settings_fields(Settings) if not field.description] == []


def test_env_example_documents_every_setting_with_its_real_default() -> None:
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == env_example(), "run: make generate"


def ts_numbers(source: str, name: str) -> list[int]:
    """Every number in the value of an exported TypeScript constant, in order."""
    match = re.search(rf"export const {name}\b[^=]*=(.*?)(?=\n\n|\nexport|\n/\*\*|\Z)", source, re.DOTALL)
    assert match is not None, f"{name} is not exported by {name_of(TS_LAYOUT)}"
    return [int(number) for number in re.findall(r"-?\d+", match.group(1))]


def test_serving_loads_no_heavy_module() -> None:
    code = f"import sys, app.main; print([m for m in {HEAVY_MODULES!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=BACKEND, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_serving_works_where_the_training_packages_are_not_installed() -> None:
    """Blocks the packages, as the base installation has none of them."""
    code = f"""
import sys
for name in {HEAVY_MODULES!r}:
    sys.modules[name] = None
import app.main, app.ml.pipeline
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=BACKEND, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_no_path_of_somebodys_machine() -> None:
    machine_path = re.compile(r"(?<![\w.])/(?:Users/\w+|home/\w+|work|farm|root|opt/wheels|opt/pypi)/")
    found = [f"{name_of(path)}: {hit.group()}" for path, text in other_files() for hit in machine_path.finditer(text)]

    assert found == []


def test_no_unfinished_marks() -> None:
    marks = re.compile(r"\b(?:TODO|FIXME|XXX|HACK|NotImplementedError)\b")
    found = [f"{name_of(path)}: {hit.group()}" for path, text in other_files() for hit in marks.finditer(text)]

    assert found == []


def test_no_vague_module_names() -> None:
    vague = {"utils", "util", "helpers", "helper", "manager", "misc", "common"}

    assert [name_of(path) for path in tracked_files() if path.name.split(".")[0].lower() in vague] == []


def test_no_large_file_is_committed() -> None:
    """Models may take 10 MB in all; nothing else is that large."""
    sizes = {name_of(path): path.stat().st_size for path in tracked_files()}
    models = sum(size for name, size in sizes.items() if name.startswith("backend/data/models/"))

    assert models <= 10_000_000
    assert [
        name for name, size in sizes.items() if size > 1_500_000 and not name.startswith("backend/data/models")
    ] == []


def test_no_module_reexports_under_a_second_path() -> None:
    """One import path per name: packages' `__init__` hold a docstring and nothing else."""
    filled = [
        name_of(path)
        for path in tracked_files()
        if path.name == "__init__.py" and "migrations" not in path.parts
        for body in [ast.parse(path.read_text(encoding="utf-8")).body]
        if any(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in body)
    ]

    assert filled == []


def test_the_browser_and_python_have_one_landmark_layout() -> None:
    source = TS_LAYOUT.read_text(encoding="utf-8")
    shared = ("NUM_POSE", "NUM_HAND", "NUM_POINTS", "NUM_VALUES", "NOSE", "LEFT_SHOULDER", "RIGHT_SHOULDER")
    starts = {"LEFT_HAND_START": layout.LEFT_HAND.start, "RIGHT_HAND_START": layout.RIGHT_HAND.start}
    numbers = {name: int(getattr(layout, name)) for name in (*shared, "LEFT_WRIST", "RIGHT_WRIST")} | starts

    assert {name: ts_numbers(source, name) for name in numbers} == {name: [value] for name, value in numbers.items()}
    for name in ("POSE_EDGES", "HAND_EDGES"):
        edges: tuple[tuple[int, int], ...] = getattr(layout, name)
        assert ts_numbers(source, name) == [point for edge in edges for point in edge], name
