import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypedDict, cast

import pytest
import typer
from typer.testing import CliRunner, Result

from app.ml.recordings.clips import Clip, save_dataset
from scripts.evaluate_models import main
from tests.parametric_signer import make_clips, make_person, perform_sign
from tests.untrained_model import make_manifest, write_untrained_model

SIGNS = ("sun", "rain", "stone", "star", "letter_v")
"""The untrained model knows the first three, and `idle`."""
SHARED = ["idle", "rain", "stone", "sun"]


class ScoreJson(TypedDict):
    accuracy: float
    num_clips: int


class ModelJson(TypedDict):
    path: str
    accuracy: float
    num_clips: int
    labels: list[str]
    per_signer: dict[str, ScoreJson]
    per_sign: dict[str, ScoreJson]
    calibration: dict[str, object]


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_untrained_model(folder)
    write_untrained_model(folder, manifest=make_manifest(version="v2"), seed=1)
    return folder


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return make_clips(num_people=3, takes=2, labels=(*SIGNS, "idle"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, clips: list[Clip]) -> Path:
    path = tmp_path_factory.mktemp("data") / "held_out.npz"
    save_dataset(path, clips)
    return path


def evaluate(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(main)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def evaluate_json(*arguments: str | Path) -> list[ModelJson]:
    done = evaluate(*arguments, "--json")
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    assert list(content) == ["models"]
    return cast("list[ModelJson]", content["models"])


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def save(path: Path, clips: Sequence[Clip]) -> Path:
    save_dataset(path, clips)
    return path


def test_json_has_exactly_the_promised_shape(model_dir: Path, data: Path) -> None:
    (model,) = evaluate_json("--models", model_dir / "model_v1.onnx", "--data", data)

    assert list(model) == ["path", "accuracy", "num_clips", "labels", "per_signer", "per_sign", "calibration"]
    assert model["path"] == str(model_dir / "model_v1.onnx")
    assert model["labels"] == SHARED
    assert model["num_clips"] == 3 * 2 * len(SHARED)
    assert list(model["per_signer"]) == ["person0", "person1", "person2"]
    assert list(model["per_sign"]) == SHARED
    assert model["calibration"]["unmeasured"] is None
    assert model["calibration"]["threshold"] == 0.2


def test_onnx_and_torch_files_of_one_model_score_the_same(model_dir: Path, data: Path) -> None:
    models = f"{model_dir / 'model_v1.onnx'}, {model_dir / 'model_v1.pt'}"

    onnx, torch = evaluate_json("--models", models, "--data", data)

    assert onnx["accuracy"] == torch["accuracy"]
    assert onnx["per_signer"] == torch["per_signer"]


def test_test_time_augmentation_can_be_judged(model_dir: Path, data: Path) -> None:
    path = model_dir / "model_v1.onnx"
    (plain,), (augmented,) = (evaluate_json("--models", path, "--data", data, *option) for option in ((), ("--tta",)))

    assert plain["calibration"]["ece"] != augmented["calibration"]["ece"]
    assert plain["num_clips"] == augmented["num_clips"]


def test_the_rows_add_up_to_the_scores(model_dir: Path, data: Path, tmp_path: Path, clips: list[Clip]) -> None:
    path = tmp_path / "new folder" / "out.csv"

    (model,) = evaluate_json("--models", model_dir / "model_v1.onnx", "--data", data, "--predictions", path)
    rows = read_rows(path)

    assert [row["clip_id"] for row in rows] == [clip.clip_id for clip in clips]
    scored = [row for row in rows if row["scored"] == "1"]
    right = [row for row in scored if row["label"] == row["predicted"]]
    assert len(scored) == model["num_clips"]
    assert model["accuracy"] == pytest.approx(len(right) / len(scored))
    assert {row["label"] for row in rows if row["scored"] == "0"} == {"star", "letter_v"}
    assert all((row["correct"] == "1") == (row["label"] == row["predicted"]) for row in scored)
    for group, column in ((model["per_signer"], "signer"), (model["per_sign"], "label")):
        counts = Counter(row[column] for row in scored)
        hits = Counter(row[column] for row in right)
        assert group == {
            name: {"accuracy": pytest.approx(hits[name] / count), "num_clips": count} for name, count in counts.items()
        }


def test_answers_come_from_the_whole_vocabulary(model_dir: Path, tmp_path: Path) -> None:
    people = [make_person(seed) for seed in range(12)]
    data = save(tmp_path / "one_label.npz", [perform_sign(person, "sun") for person in people])

    predicted: set[str] = set()
    for version in ("v1", "v2"):
        evaluate_json(
            "--models", model_dir / f"model_{version}.pt", "--data", data, "--predictions", tmp_path / "p.csv"
        )
        predicted |= {row["predicted"] for row in read_rows(tmp_path / "p.csv")}

    assert predicted - {"sun"}, "an untrained model that is right about everything was given only one choice"


def test_several_models_write_one_row_a_clip_each(
    model_dir: Path, data: Path, tmp_path: Path, clips: list[Clip]
) -> None:
    paths = [str(model_dir / f"model_{version}.onnx") for version in ("v1", "v2")]

    evaluate_json("--models", ",".join(paths), "--data", data, "--predictions", tmp_path / "out.csv")

    assert Counter(row["model"] for row in read_rows(tmp_path / "out.csv")) == dict.fromkeys(paths, len(clips))


def test_suspect_clips_count_only_when_asked_for(model_dir: Path, tmp_path: Path, clips: list[Clip]) -> None:
    doubtful = [replace(clip, quality="suspect") if clip.label == "sun" else clip for clip in clips]
    data = save(tmp_path / "doubtful.npz", doubtful)

    (without,) = evaluate_json("--models", model_dir / "model_v1.onnx", "--data", data)
    (including,) = evaluate_json("--models", model_dir / "model_v1.onnx", "--data", data, "--include-suspect")

    assert without["labels"] == ["idle", "rain", "stone"]
    assert including["labels"] == SHARED
    assert including["num_clips"] - without["num_clips"] == 6


def test_signs_of_another_language_are_other_signs(model_dir: Path, tmp_path: Path, clips: list[Clip]) -> None:
    korean = [replace(clip, language="kvk") if clip.label == "sun" else replace(clip, language="ase") for clip in clips]
    (model,) = evaluate_json("--models", model_dir / "model_v1.onnx", "--data", save(tmp_path / "mixed.npz", korean))

    assert model["labels"] == ["idle", "rain", "stone"]


def test_refusal_of_background_and_of_unknown_signs_is_reported_apart(
    model_dir: Path, data: Path, tmp_path: Path
) -> None:
    (model,) = evaluate_json(
        "--models", model_dir / "model_v1.onnx", "--data", data, "--predictions", tmp_path / "out.csv"
    )

    unknown = [row for row in read_rows(tmp_path / "out.csv") if row["label"] in ("star", "letter_v")]
    refused = sum(row["accepted"] == "0" for row in unknown) / len(unknown)
    assert model["calibration"]["other_refused"] == {"refused": pytest.approx(refused), "num_clips": len(unknown)}
    background = model["calibration"]["background_refused"]
    assert isinstance(background, dict)
    assert 0 < background["num_clips"] <= 6


def test_without_json_people_read_tables(model_dir: Path, data: Path) -> None:
    done = evaluate("--models", model_dir / "model_v1.onnx", "--data", data)

    assert done.exit_code == 0
    assert "24 clips, 4 labels" in done.stdout.replace("\n", "")
    for text in ("mean over 3 people", "person person1", "sign rain", "calibration error", "taken for"):
        assert text in done.stdout


@pytest.mark.parametrize(
    ("models", "data_name", "complaint"),
    [
        ("absent.onnx", "held_out.npz", "absent.onnx: no such file"),
        ("model_v1.onnx", "absent.npz", "absent.npz: no such file"),
        ("model_v1.onnx", "other.npz", "share no label to score: the model knows bird, house, idle"),
        ("garbage.onnx", "held_out.npz", "garbage.onnx: "),
        (",", "held_out.npz", "--models names no file"),
    ],
)
def test_what_cannot_be_scored_is_said_in_a_sentence(
    model_dir: Path, data: Path, tmp_path: Path, models: str, data_name: str, complaint: str
) -> None:
    save(tmp_path / "other.npz", [perform_sign(make_person(0), "star")])
    (tmp_path / "held_out.npz").write_bytes(data.read_bytes())
    (tmp_path / "model_v1.onnx").write_bytes((model_dir / "model_v1.onnx").read_bytes())
    (tmp_path / "garbage.onnx").write_bytes(b"\x72\xff")
    model_arguments = models if models == "," else str(tmp_path / models)

    done = evaluate("--models", model_arguments, "--data", tmp_path / data_name, "--json")

    assert done.exit_code == 2
    assert done.stdout == ""
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
