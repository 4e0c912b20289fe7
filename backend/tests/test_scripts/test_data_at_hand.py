"""`compare_models` and `evaluate_models` without `--data`."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from app.ml.artifacts.files import load_torch_artifact, save_torch_artifact
from app.ml.recordings.clips import Clip, save_clip, save_dataset
from scripts import compare_models, evaluate_models
from tests.parametric_signer import make_clips

SIGNS = ("rain", "stone", "sun")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The repository's data folder and backend's."""
    folders = tmp_path / "data", tmp_path / "backend" / "data"
    for name, folder in zip(("SIGNFLOW_DATASETS_DIR", "SIGNFLOW_DATA_DIR"), folders, strict=True):
        monkeypatch.setenv(name, str(folder))
    return folders


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path) -> Path:
    """Trained on person0 to person7."""
    return tiny_model_dir / "model_v1.pt"


def save(path: Path, clips: Sequence[Clip]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_dataset(path, clips)


def people(first: int, number: int) -> list[Clip]:
    return make_clips(num_people=number, takes=2, labels=SIGNS, seed=first)


def run(main: Callable[..., None], *arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(main)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def compare(model: Path, *arguments: str | Path) -> Result:
    return run(compare_models.main, "--baseline", model, "--candidate", model, *arguments)


def evaluate(model: Path, *arguments: str | Path) -> Result:
    return run(evaluate_models.main, "--models", model, *arguments)


def test_people_whom_no_model_has_seen_are_taken_from_both_data_folders_and_named(
    places: tuple[Path, Path], model: Path
) -> None:
    repository, backend = places
    save(repository / "landmarks" / "everybody.npz", people(6, 4))  # person6 and person7 were trained on
    (backend / "clips" / "sun").mkdir(parents=True)
    save_clip(backend / "clips" / "sun" / "one.npz", people(20, 1)[0])
    save_clip(backend / "clips" / "sun" / "two.npz", replace(people(30, 1)[0], signer=None))

    compared, evaluated = compare(model), evaluate(model)

    assert (compared.exit_code, evaluated.exit_code) == (3, 0), compared.output + evaluated.output
    for done in (compared, evaluated):
        assert "People whom no given model has seen: person20, person8, person9 (13 recordings)" in done.stdout
        assert "left out, because a model has seen them: person6, person7" in done.stdout
        assert "left out, because they do not say who signs: 1" in done.stdout


def test_a_broken_file_in_the_data_folder_is_named_and_the_others_judge(places: tuple[Path, Path], model: Path) -> None:
    save(places[0] / "landmarks" / "new.npz", people(20, 1))
    (places[0] / "landmarks" / "broken.npz").write_bytes(b"PK no archive")
    (places[0] / "landmarks" / "._new.npz").write_bytes(b"what macOS leaves behind")

    done = evaluate(model)

    assert done.exit_code == 0, done.output
    assert "broken.npz" in done.stderr
    assert "._new.npz" not in done.stderr
    assert "person20 (6 recordings)" in done.stdout


def test_json_stays_alone_on_stdout(places: tuple[Path, Path], model: Path) -> None:
    save(places[0] / "landmarks" / "new.npz", people(20, 2))

    compared, evaluated = compare(model, "--json"), evaluate(model, "--json")

    assert json.loads(compared.stdout)["signers"] == ["person20", "person21"]
    assert set(json.loads(evaluated.stdout)["models"][0]["per_signer"]) == {"person20", "person21"}
    assert "person20, person21" in compared.stderr
    assert "person20, person21" in evaluated.stderr


def test_somebody_whom_only_one_of_several_models_has_seen_judges_none(
    places: tuple[Path, Path], model: Path, tmp_path: Path
) -> None:
    weights, manifest = load_torch_artifact(model)
    other = tmp_path / "model_v2.pt"
    provenance = {**manifest.provenance, "signers": ["person20"]}
    save_torch_artifact(other, state_dict=weights, manifest=replace(manifest, version="v2", provenance=provenance))
    save(places[0] / "landmarks" / "new.npz", people(20, 2))

    done = run(evaluate_models.main, "--models", f"{model},{other}", "--json")

    assert [set(one["per_signer"]) for one in json.loads(done.stdout)["models"]] == [{"person21"}, {"person21"}]


def test_one_folder_inside_the_other_is_read_once(places: tuple[Path, Path], model: Path) -> None:
    save(places[0] / "landmarks" / "new.npz", people(20, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGNFLOW_DATA_DIR", str(places[0]))
        done = evaluate(model)

    assert "person20 (6 recordings)" in done.stdout


@pytest.mark.parametrize("judge", [compare, evaluate])
def test_what_keeps_a_tool_from_judging_is_said_in_a_sentence(
    judge: Callable[..., Result], places: tuple[Path, Path], model: Path, tmp_path: Path
) -> None:
    weights, manifest = load_torch_artifact(model)
    silent = tmp_path / "silent.pt"
    save_torch_artifact(silent, state_dict=weights, manifest=replace(manifest, provenance={}))
    recordings = places[0] / "landmarks" / "mine.npz"
    cases: tuple[tuple[Path, Sequence[Clip], str], ...] = (
        (model, (), f"no recording lies in {recordings.parent} or {places[0] / 'clips'}; put recordings of new people"),
        (model, people(0, 1), "everybody in the data was seen by model_v1.pt; record somebody new"),
        (model, [replace(clip, signer=None) for clip in people(20, 1)], "none of the 6 recordings"),
        (silent, people(20, 1), "does not say whom it was trained on; if you know"),
    )
    for path, clips, complaint in cases:
        if clips:
            save(recordings, clips)

        done = judge(path)

        assert done.exit_code == 2, done.output
        assert complaint in " ".join(done.stderr.split())
        assert done.stdout == ""
    assert judge(silent, "--assume-unseen").exit_code != 2


def test_a_wrong_setting_is_named(places: tuple[Path, Path], model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNFLOW_PORT", "many")

    done = evaluate(model)

    assert done.exit_code == 2
    assert "SIGNFLOW_PORT" in done.stderr
