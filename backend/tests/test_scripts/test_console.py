"""What every tool does about a package that is not installed."""

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.console import needs_packages

BACKEND = Path(__file__).resolve().parents[2]
WITHOUT = """
import runpy, sys
sys.modules[{package!r}] = None
sys.argv = ["tool", "--help"]
runpy.run_module({module!r}, run_name="__main__")
"""


@pytest.mark.parametrize(
    ("module", "package"),
    [
        *(
            (f"scripts.{name}", "torch")
            for name in ("train", "pretrain_encoder", "list_networks", "evaluate_live", "evaluate_unseen", "run_study")
        ),
        ("app.ml.export", "onnx"),
        ("scripts.write_dashboard", "grafana_foundation_sdk"),
    ],
)
def test_a_package_that_is_not_installed_is_named_with_what_installs_it(module: str, package: str) -> None:
    code = WITHOUT.format(package=package, module=module)

    done = subprocess.run([sys.executable, "-c", code], cwd=BACKEND, capture_output=True, text=True, check=False)

    assert done.returncode == 2, done.stdout + done.stderr
    assert f"needs the package {package}; 'make " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["compare_models", "evaluate_models", "replay", "benchmark_stream", "import_dataset"])
def test_tools_that_need_no_training_run_without_its_packages(name: str) -> None:
    code = WITHOUT.format(package="torch", module=f"scripts.{name}")

    done = subprocess.run([sys.executable, "-c", code], cwd=BACKEND, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_a_mistake_in_our_own_imports_is_not_taken_for_a_missing_package() -> None:
    with pytest.raises(ModuleNotFoundError), needs_packages():
        import scripts.nothing  # noqa: F401  # pyright: ignore[reportMissingImports, reportUnusedImport]
