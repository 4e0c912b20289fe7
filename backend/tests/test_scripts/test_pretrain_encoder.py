import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from app.ml.artifacts.files import read_manifest
from app.ml.recordings.clips import save_dataset
from app.ml.training.pretrained import PretrainedEncoder
from scripts import pretrain_encoder, train
from tests.parametric_signer import make_clips

VIDEO = Path(__file__).resolve().parents[4] / "shared" / "data" / "video" / "sign_540x720.mp4"
QUICK = ("--steps", "2", "--batch-size", "4")


def run(main: object, *arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(main)  # pyright: ignore[reportArgumentType, reportCallIssue]
    return CliRunner().invoke(app, ["--no-tracking", *map(str, arguments)])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "mine.npz"
    save_dataset(path, make_clips(num_people=3, takes=1, labels=("sun", "rain")))
    return path


@pytest.mark.parametrize("model", ["tiny", "spatial"])
def test_an_encoder_is_pretrained_and_training_starts_from_it(tmp_path: Path, data: Path, model: str) -> None:
    encoder, output = tmp_path / "new" / "some.pretrained.pt", tmp_path / "model_v1.pt"

    pretrained = run(
        pretrain_encoder.main, "--data", data, "--output", encoder, "--model", model, "--val-signer", "person2", *QUICK
    )
    trained = run(
        train.main, "--data", data, "--model", model, "--pretrained", encoder, "--output", output, "--steps", "1",
        "--val-signer", "person2", "--no-int8",
    )  # fmt: skip

    assert pretrained.exit_code == 0, pretrained.output
    assert f"encoder of {model}, 4 clips" in pretrained.stdout
    assert "hidden landmarks of person2 found to 0." in pretrained.stdout
    assert PretrainedEncoder.load(encoder).provenance["signers"] == ["person0", "person1"]
    assert trained.exit_code == 0, trained.output
    assert read_manifest(output).provenance["pretrained"] == PretrainedEncoder.load(encoder).sha256


def test_the_result_can_be_read_by_programs(tmp_path: Path, data: Path) -> None:
    done = run(
        pretrain_encoder.main, "--data", data, "--output", tmp_path / "a.pt", "--model", "tiny", "--json",
        "--leave-out", "person0", *QUICK,
    )  # fmt: skip

    told = json.loads(done.stdout)
    assert (told["model"], told["steps"], told["num_clips"]) == ("tiny", 2, 4)
    assert told["signers"] == ["person1", "person2"]
    assert told["sha256"] == PretrainedEncoder.load(tmp_path / "a.pt").sha256


def test_training_of_another_network_or_judging_known_people_is_refused(tmp_path: Path, data: Path) -> None:
    encoder = tmp_path / "a.pt"
    run(pretrain_encoder.main, "--data", data, "--output", encoder, "--model", "tiny", *QUICK)
    options = ("--data", data, "--pretrained", encoder, "--output", tmp_path / "model_v1.pt", "--steps", "1")

    other = run(train.main, *options, "--model", "spatial", "--no-tracking")
    known = run(train.main, *options, "--model", "tiny", "--val-signer", "person1", "--no-tracking")
    absent = run(train.main, *options[:2], "--pretrained", tmp_path / "b.pt", *options[4:], "--no-tracking")

    assert (other.exit_code, known.exit_code, absent.exit_code) == (2, 2, 2)
    assert "pretrained for 'tiny', not for 'spatial'" in other.output
    assert "person1 was seen in pretraining" in known.output
    assert "b.pt: no such file" in absent.output


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "give recordings: --data FILE or FOLDER, --videos FILE or FOLDER"),
        (("--data", "absent.npz"), "absent.npz: no such file or folder"),
        (("--videos", "."), "no video in"),
        (("--model", "enormous"), "unknown model config 'enormous'"),
    ],
)
def test_bad_usage_is_answered_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)

    done = run(pretrain_encoder.main, "--output", tmp_path / "a.pt", *arguments)

    assert done.exit_code == 2
    assert complaint in done.output


def test_leaving_out_nobody_by_mistake_is_refused(tmp_path: Path, data: Path) -> None:
    done = run(pretrain_encoder.main, "--data", data, "--output", tmp_path / "a.pt", "--leave-out", "persona2", *QUICK)

    assert done.exit_code == 2
    assert "no clip of persona2: nobody would be left out" in done.output


@pytest.mark.skipif(not VIDEO.exists(), reason="needs ../shared/data/video beside the checkout")
def test_videos_teach_as_they_come_from_the_camera(tmp_path: Path) -> None:
    pytest.importorskip("mediapipe", reason="needs the extra 'video': pip install -e 'backend[video]'")

    (tmp_path / "broken.mp4").write_bytes(b"no video")

    done = run(
        pretrain_encoder.main, "--videos", VIDEO, "--videos", tmp_path / "broken.mp4", "--output", tmp_path / "a.pt",
        "--model", "tiny", "--json", *QUICK,
    )  # fmt: skip

    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["num_clips"] == 1
    assert f"skipped: {tmp_path / 'broken.mp4'}: " in done.stderr


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")  # MLflow 3.17 on SQLAlchemy 2.1
def test_pretraining_is_recorded_with_its_encoder(tmp_path: Path, data: Path) -> None:
    result = run(
        pretrain_encoder.main, "--data", data, "--output", tmp_path / "some.pretrained.pt", "--model", "tiny", *QUICK,
        "--leave-out", "person2", "--tracking", "--tracking-uri", f"sqlite:///{tmp_path}/runs.db",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    (artifacts,) = (tmp_path / "mlruns").glob("*/artifacts")
    assert {path.name for path in artifacts.iterdir()} >= {"some.pretrained.pt", "provenance.json", "environment.json"}
    assert json.loads((artifacts / "signer_split.json").read_text())["held_out"] == ["person2"]
