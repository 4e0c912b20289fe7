"""Archives of a small model, and a TorchServe that serves one of them for a whole module."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from app.harness.torchserve_process import TorchServeProcess, start_torchserve
from app.ml.pipeline import SignFlowInferencePipeline
from tests.binaries import MISSING_BINARY, require_binary


def require_torchserve() -> None:
    """Skip the test where TorchServe or Java is not installed."""
    require_binary("java", install="apt-get install openjdk-17-jre-headless")
    if find_spec("ts") is None or find_spec("model_archiver") is None:
        pytest.skip(f"{MISSING_BINARY} torchserve; install it with: pip install -e 'backend[torchserve]'")


@pytest.fixture(scope="session")
def served_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `model_v1.onnx` and `model_v1.pt` of one untrained model."""
    pytest.importorskip("torch", reason="installed by: make lab")
    from tests.untrained_model import write_untrained_model  # needs torch

    folder = tmp_path_factory.mktemp("served")
    write_untrained_model(folder)
    return folder


@pytest.fixture(scope="session")
def archives(served_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Archives of that model by suffix, both called `signflow.mar`."""
    pytest.importorskip("model_archiver", reason="installed by: make dev")
    from scripts.package_torchserve import package_archive

    folder = tmp_path_factory.mktemp("archives")
    paths = {suffix: folder / suffix / "signflow.mar" for suffix in ("onnx", "pt")}
    for suffix, path in paths.items():
        package_archive(served_model_dir / f"model_v1.{suffix}", path)
    return paths


@pytest.fixture(scope="session")
def local(served_model_dir: Path) -> Iterator[SignFlowInferencePipeline]:
    """The same model in this process."""
    pipeline = SignFlowInferencePipeline.load(served_model_dir)
    yield pipeline
    pipeline.close()


@pytest.fixture(scope="module")
def torchserve(archives: dict[str, Path]) -> Iterator[TorchServeProcess]:
    """A TorchServe that runs the ONNX archive; whoever kills it starts it again."""
    require_torchserve()
    with start_torchserve(archives["onnx"]) as server:
        yield server
