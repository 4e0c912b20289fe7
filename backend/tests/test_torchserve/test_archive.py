"""The archive and its handler, without a server around them."""

import json
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.ml.errors import ArtifactError, ManifestMismatchError, ModelNotFoundError
from app.ml.pipeline import SignFlowInferencePipeline
from scripts.package_torchserve import ServingOptions, main, package_archive
from tests.untrained_model import make_window, write_feature_model

runner = CliRunner()

ANSWER_IN_THE_ARCHIVE = """
import json, sys
import numpy as np
import handler, app
from ts.context import Context, RequestProcessor

folder, request = sys.argv[1:]
with open(folder + "/MAR-INF/MANIFEST.json") as file:
    manifest = json.load(file)
context = Context("signflow", folder, manifest, 8, None, "0.12.0", model_yaml_config={"handler": {"num_threads": 1}})
served = handler.SignFlowHandler()
served.initialize(context)
with open(request, "rb") as file:
    body = file.read()
rows = [{"body": bytearray(body)}, {"body": {"landmarks": []}}, {'{"comment": "a': bytearray(b'b"}')}, {}]
headers = [{"Content-Type": "application/octet-stream", "body": {}}, {}, {}, {}]
context.request_processor = [RequestProcessor(one) for one in headers]
answers = served.handle(rows, context)
print(json.dumps({
    "app": app.__file__,
    "statuses": [context.get_response_status(i)[0] for i in range(4)],
    "types": [context.get_response_headers(i)["Content-Type"] for i in range(4)],
    "answers": [json.loads(answer) for answer in answers],
}))
"""


def unpack(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    return folder


@pytest.mark.parametrize("suffix", ["onnx", "pt"])
def test_the_archive_answers_where_signflow_is_not_installed(
    archives: dict[str, Path], local: SignFlowInferencePipeline, suffix: str, tmp_path: Path
) -> None:
    """Without `site`, no editable installation is found: what is imported as `app` can only be the archive's."""
    pytest.importorskip("ts", reason="installed by: make dev")
    from app.ml.landmarks.wire import encode_frames

    window = make_window("sun")
    folder = unpack(archives[suffix], tmp_path / "archive")
    request = tmp_path / "request.bin"
    request.write_bytes(encode_frames(window.landmarks, window.times_ms))
    code = f"import sys; sys.path[1:1] = [{str(folder)!r}]; sys.path.append({sysconfig.get_path('purelib')!r})\n"

    done = subprocess.run(
        [sys.executable, "-S", "-W", "ignore", "-c", code + ANSWER_IN_THE_ARCHIVE, str(folder), str(request)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    good, bad, form, empty = result["answers"]
    (expected,) = local.infer_batch([window])
    assert result["app"].startswith(str(folder))
    assert result["statuses"] == [200, 400, 400, 400]
    assert result["types"] == ["application/json"] * 4
    assert good["label"] == expected.label
    assert good["confidence"] == pytest.approx(expected.confidence, abs=1e-5)
    assert "expected [T, 75, 3]" in bad["message"] or "times_ms" in bad["message"]
    assert "landmarks: Field required" in form["message"], "a form that was cut at its = is put together again"
    assert "the body is empty" in empty["message"]


def test_the_archive_holds_the_model_its_settings_and_the_library_only(served_model_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("model_archiver", reason="installed by: make dev")
    output = tmp_path / "store" / "signs.mar"

    manifest = package_archive(
        served_model_dir / "model_v1.onnx", output, options=ServingOptions(batch_size=7, workers=3, num_threads=2)
    )

    with zipfile.ZipFile(output) as file:
        names = file.namelist()
        about = json.loads(file.read("MAR-INF/MANIFEST.json"))["model"]
        settings = file.read("model-config.yaml").decode()
    assert (about["modelName"], about["modelVersion"], about["handler"]) == ("signs", manifest.version, "handler.py")
    assert {"model_v1.onnx", "handler.py", "app/__init__.py", "app/ml/pipeline.py"} <= set(names)
    assert not [
        name for name in names if name.startswith(("app/api", "app/core", "app/services")) or "__pycache__" in name
    ]
    assert "batchSize: 7" in settings
    assert "maxWorkers: 3" in settings
    assert list(output.parent.iterdir()) == [output]


@pytest.mark.parametrize("name", ["signflow.zip", "-x.mar", "a b.mar"])
def test_a_name_that_torchserve_would_not_take_is_refused(served_model_dir: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtifactError, match="cannot be an archive's name"):
        package_archive(served_model_dir / "model_v1.onnx", tmp_path / name)


def test_a_file_from_before_landmarks_went_in_is_refused_with_the_command_that_converts_it(tmp_path: Path) -> None:
    path = write_feature_model(tmp_path).with_suffix(".onnx")

    with pytest.raises(ManifestMismatchError, match=r"python -m app\.ml\.export --model-path"):
        package_archive(path, tmp_path / "signflow.mar")


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no such file"):
        package_archive(tmp_path / "model_v9.onnx", tmp_path / "signflow.mar")


def test_the_command_says_what_it_packed(served_model_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("model_archiver", reason="installed by: make dev")
    import typer

    app = typer.Typer()
    app.command()(main)
    output = tmp_path / "signflow.mar"

    done = runner.invoke(app, ["--model", str(served_model_dir / "model_v1.pt"), "--output", str(output)])
    failed = runner.invoke(app, ["--model", str(tmp_path / "nothing.onnx"), "--output", str(output)])

    assert done.exit_code == 0, done.output
    assert "model v1 from model_v1.pt, 7 labels" in done.output
    assert failed.exit_code == 2
