import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from app.ml.artifacts.files import load_torch_artifact, read_manifest
from app.ml.artifacts.manifest import Calibration, FamiliarityGate
from app.ml.pipeline import BackendChoice, SignFlowInferencePipeline
from app.ml.recordings.clips import save_dataset
from app.ml.recordings.labels import BACKGROUND
from scripts.train import main
from tests.full_disk import disk_with_room_for
from tests.parametric_signer import IDLE, make_clips, make_person, perform_sign

SIGNS = ("rain", "sun")
BACKEND = Path(__file__).resolve().parents[2]


def train(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(main)
    return CliRunner().invoke(app, ["--no-tracking", *map(str, arguments)])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "mine.npz"
    save_dataset(path, make_clips(num_people=3, takes=1, labels=(*SIGNS, IDLE)))
    return path


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("unseen") / "unseen.json"
    calibration = {"temperature": 1.7, "threshold": 0.4, "gate": {"bias": -9.0, "slope": 13.0}}
    path.write_text(json.dumps({"recipe": "reference", "calibration": calibration}))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data: Path, report: Path) -> Path:
    """The folder of a model, which did not exist before."""
    folder = tmp_path_factory.mktemp("trained") / "runs" / "mine"
    result = train(
        "--data", data, "--output", folder / "model_v3.pt", "--recipe", "reference", "--steps", "2",
        "--language", "fsl", "--unseen", report, "--val-signer", "person2", "--checkpoint", folder / "run.ckpt",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "model_v3.pt: 4 labels, weights " in result.stdout
    return folder


@pytest.mark.parametrize("backend", ["onnx", "onnx-int8", "torch"])
def test_every_file_that_is_written_answers_in_the_pipeline(trained: Path, backend: BackendChoice) -> None:
    pipeline = SignFlowInferencePipeline.load(trained, backend=backend)

    (prediction,) = pipeline.infer_batch([perform_sign(make_person(40), "sun").to_window()])
    pipeline.close()

    assert pipeline.backend_info.name == backend
    assert prediction.model_version == "v3"
    assert sorted(alternative.label for alternative in prediction.alternatives) == list(SIGNS)


def test_the_manifest_says_what_the_model_is_and_where_it_comes_from(trained: Path) -> None:
    manifest = read_manifest(trained / "model_v3.onnx")

    assert manifest.label_names == (*SIGNS, *BACKGROUND)
    assert {label.language for label in manifest.labels} == {"fsl"}
    assert [label.num_people for label in manifest.labels] == [2, 2, 2, 0]  # person2 was held out
    assert manifest.calibration == Calibration(
        temperature=1.7, threshold=0.4, gate=FamiliarityGate(bias=-9.0, slope=13.0)
    )
    facts = manifest.provenance
    assert (facts["recipe"], facts["seed"], facts["signers"]) == ("reference", 0, ["person0", "person1"])
    assert len(str(facts["data"])) == 64


def test_the_same_seed_gives_the_same_weights_and_another_does_not(trained: Path, data: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again" / "model_v3.pt", tmp_path / "other" / "model_v3.pt"
    for output, seed in ((again, "0"), (other, "1")):
        result = train(
            "--data", data, "--output", output, "--recipe", "reference", "--steps", "2", "--seed", seed,
            "--val-signer", "person2", "--no-int8",
        )  # fmt: skip
        assert result.exit_code == 0, result.output

    first, second, third = (
        {name: value.numpy() for name, value in load_torch_artifact(path)[0].items()}
        for path in (trained / "model_v3.pt", again, other)
    )
    for name, value in first.items():
        np.testing.assert_array_equal(second[name], value)
    assert not np.array_equal(first["classifier.weight"], third["classifier.weight"])
    assert not again.with_suffix(".int8.onnx").exists()


def test_a_teacher_and_a_curriculum_change_what_is_learned(trained: Path, data: Path, tmp_path: Path) -> None:
    plain, taught, by_length = (tmp_path / name / "model_v3.pt" for name in ("plain", "taught", "by_length"))
    teacher = trained / "model_v3.pt"
    for output, options in (
        (plain, ()), (taught, ("--teacher", teacher)), (by_length, ("--curriculum", "length")),
    ):  # fmt: skip
        result = train(
            "--data", data, "--output", output, "--model", "tiny", "--steps", "3", "--val-signer", "person2",
            "--no-int8", "--no-tracking", *options,
        )  # fmt: skip
        assert result.exit_code == 0, result.output

    heads = [load_torch_artifact(path)[0]["classifier.weight"].numpy() for path in (plain, taught, by_length)]
    assert not np.array_equal(heads[0], heads[1])
    assert not np.array_equal(heads[0], heads[2])
    sha256 = read_manifest(teacher).weights_sha256
    assert read_manifest(taught).provenance["teacher"] == f"weights {sha256[:16]}"
    assert read_manifest(by_length).provenance["recipe"] == "tiny+length"


def test_a_teacher_that_knows_the_person_held_out_is_refused(trained: Path, data: Path, tmp_path: Path) -> None:
    result = train(
        "--data", data, "--output", tmp_path / "model_v1.pt", "--model", "tiny", "--steps", "2",
        "--val-signer", "person0", "--teacher", trained / "model_v3.pt", "--no-tracking",
    )  # fmt: skip

    assert result.exit_code == 2
    assert "was trained on person0, held out here" in " ".join(result.stderr.split())


def test_two_processes_train_one_model_and_only_one_of_them_writes_it(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "model_v1.pt"
    command = (
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "scripts.train",
        "--data", data, "--output", output, "--model", "tiny", "--steps", "3", "--val-signer", "person2",
        "--checkpoint", tmp_path / "run.ckpt", "--eval-every", "1", "--device", "cpu", "--no-int8", "--no-tracking",
    )  # fmt: skip

    done = subprocess.run(
        [str(part) for part in command], cwd=BACKEND, capture_output=True, text=True, timeout=300, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("model_v1.pt: 4 labels, weights ") == 1
    assert done.stderr.count("person2, held out") == 1
    assert read_manifest(output).provenance["held_out"] == ["person2"]


def test_a_checkpoint_of_another_run_is_refused(trained: Path, data: Path, tmp_path: Path) -> None:
    result = train(
        "--data", data, "--output", tmp_path / "model_v1.pt", "--recipe", "reference", "--steps", "3",
        "--checkpoint", trained / "run.ckpt",
    )  # fmt: skip

    assert result.exit_code == 2
    assert "run.ckpt belongs to another run" in result.stderr


def test_help_says_what_every_option_is_for() -> None:
    result = train("--help")

    assert result.exit_code == 0
    for option in ("--output", "--corpus", "--data", "--recipe", "--seed", "--val-signer", "--checkpoint"):
        assert option in result.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--output", "model_v1.pt"], "either --corpus FOLDER or --data FILE"),
        (["--output", "model_v1.onnx", "--data", "DATA"], "must end in .pt"),
        (["--output", "model_v1.pt", "--data", "nowhere.npz"], "nowhere.npz"),
        (["--output", "model_v1.pt", "--data", "DATA", "--recipe", "secret"], "known: reference, starter"),
        (["--output", "model_v1.pt", "--data", "DATA", "--steps", "0"], "--steps"),
        (["--output", "model_v1.pt", "--data", "DATA", "--recipe", "starter+magic"], "known: length, confidence"),
        (["--output", "model_v1.pt", "--data", "DATA", "--curriculum", "magic"], "--curriculum"),
        (["--output", "model_v1.pt", "--data", "DATA", "--teacher", "nowhere.pt"], "nowhere.pt: no such file"),
        (["--output", "model_v1.pt", "--data", "DATA", "--device", "abacus"], "device 'abacus' cannot be used here"),
        (
            ["--output", "model_v1.pt", "--data", "DATA", "--val-signer", "zoe"],
            "signer zoe; the recordings have",
        ),
        (["--output", "model_v1.pt", "--data", "DATA", "--language", "american"], "no ISO 639-3 code"),
        (["--output", "model_v1.pt", "--data", "DATA", "--unseen", "nowhere.json"], "nowhere.json"),
        (["--output", "model_v1.pt", "--data", "DATA", "--unseen", "REPORT"], "judged recipe 'reference'"),
        (["--output", "model_v1.pt", "--data", "DATA", "--unseen", "DATA"], "no report of evaluate_unseen"),
        (["--output", "model_v1.pt", "--corpus", "EMPTY"], "no data set asl_*.npz"),
        (["--output", "model_v1.pt", "--corpus", "EMPTY", "--language", "xyz"], "'xyz', only for ase, kvk"),
        ([], "--output"),
    ],
)
def test_a_mistake_is_named_without_a_traceback(
    arguments: list[str], complaint: str, data: Path, report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"DATA": str(data), "REPORT": str(report), "EMPTY": str(tmp_path)}

    result = train(*[places.get(argument, argument) for argument in arguments])

    assert result.exit_code == 2
    assert complaint in " ".join(result.output.replace("│", " ").split())
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named_with_how_to_go_on(data: Path, tmp_path: Path) -> None:
    with disk_with_room_for(100_000):
        result = train(
            "--data", data, "--output", tmp_path / "model_v1.pt", "--model", "tiny", "--steps", "1", "--no-tracking",
            "--checkpoint", tmp_path / "run.ckpt",
        )  # fmt: skip

    assert result.exit_code == 2
    assert "run.ckpt cannot be written (File too large)" in " ".join(result.stderr.split())
    assert "make room, then start the same command again" in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_learned_from_is_named_and_the_rest_trains(tmp_path: Path) -> None:
    labels = {"rain": "안녕", "sun": "C++", "stone": "unknown"}
    people = {"person0": "[민준]", "person1": "서연", "person2": "Zoe\u0308"}
    clips = [
        replace(clip, label=labels[clip.label or ""], signer=people[clip.signer or ""])
        for clip in make_clips(num_people=3, takes=1, labels=tuple(labels))
    ]
    nothing = replace(clips[0], landmarks=np.full_like(clips[0].landmarks, np.nan), clip_id="empty/chair")
    folder = tmp_path / "data"
    folder.mkdir()
    save_dataset(folder / "set.npz", [*clips, nothing])
    (folder / "broken.npz").write_bytes(b"broken")
    (folder / "._set.npz").write_bytes(b"\x00\x05\x16\x07")

    result = train(
        "--data", folder, "--output", tmp_path / "model_v1.pt", "--model", "tiny", "--steps", "1", "--no-int8",
        "--val-signer", "Zoë", "--val-signer", "[민준]",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    told = " ".join(result.stderr.split())
    assert f"left out: {folder}/set.npz/empty/chair: has no landmark in any frame" in told
    assert f"left out: {folder}/broken.npz: " in told
    assert "._set" not in told
    assert "Zoë, held out: " in told
    assert "[민준], held out: " in told
    assert read_manifest(tmp_path / "model_v1.onnx").label_names == ("C++", "안녕", *BACKGROUND)


def test_copies_are_pointed_out(tmp_path: Path, data: Path) -> None:
    clips = make_clips(num_people=2, takes=1, labels=SIGNS)
    save_dataset(tmp_path / "copies.npz", [*clips, replace(clips[0], signer="somebody else", clip_id="copy")])

    result = train("--data", tmp_path / "copies.npz", "--output", tmp_path / "model_v1.pt", "--val-signer", "person0")

    assert result.exit_code == 2
    assert "1 clips are copies of others" in result.stderr
    assert "on both sides of the split" in result.stderr


def test_a_network_is_chosen_by_name_with_the_starters_settings(data: Path, tmp_path: Path) -> None:
    result = train(
        "--data", data, "--output", tmp_path / "model_v1.pt", "--model", "spatial_tcn", "--steps", "1", "--no-int8",
        "--no-tracking",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    manifest = read_manifest(tmp_path / "model_v1.onnx")
    assert (manifest.config["name"], manifest.feature_spec) == ("spatial_tcn", "landmarks75")
    assert manifest.provenance["recipe"] == "spatial_tcn"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--model", "enormous"), "unknown model config 'enormous'"),
        (("--model", "large", "--recipe", "reference"), "give either --recipe reference or --model large"),
    ],
)
def test_a_network_that_is_unknown_or_named_twice_is_refused(
    data: Path, tmp_path: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    result = train("--data", data, "--output", tmp_path / "model_v1.pt", *arguments)

    assert result.exit_code == 2
    assert complaint in result.output
