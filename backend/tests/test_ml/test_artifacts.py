import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.ml.artifacts.files import (
    file_sha256,
    load_torch_artifact,
    read_manifest,
    save_torch_artifact,
    write_onnx_artifact,
)
from app.ml.artifacts.finding import find_model
from app.ml.artifacts.manifest import (
    Calibration,
    ModelManifest,
    SignLabel,
    check_feature_spec,
    manifest_from_json,
    manifest_to_json,
    require_same_model,
)
from app.ml.artifacts.metadata import read_entries, seal
from app.ml.errors import ArtifactError, ManifestMismatchError, ModelNotFoundError
from tests.untrained_model import make_manifest, write_untrained_model


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_untrained_model(folder)
    return folder


def test_a_manifest_survives_json_unchanged() -> None:
    manifest = make_manifest()

    assert manifest_from_json(manifest_to_json(manifest)) == manifest


@given(
    names=st.lists(st.text(min_size=1), min_size=1, max_size=8, unique=True),
    temperature=st.floats(0.01, 100),
    threshold=st.floats(0, 1),
    provenance=st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.lists(st.text()))),
)
def test_any_sensible_manifest_survives_json(
    names: list[str], temperature: float, threshold: float, provenance: dict[str, str | int | float | list[str]]
) -> None:
    manifest = ModelManifest(
        version="v1",
        config={"name": "tiny", "width": 32, "dropout": 0.5, "is_causal": True},
        feature_spec="base469",
        num_features=469,
        labels=tuple(SignLabel(label=name, language="ase", num_people=1) for name in names),
        background=(),
        calibration=Calibration(temperature=temperature, threshold=threshold),
        provenance=provenance,
    )

    assert manifest_from_json(manifest_to_json(manifest)) == manifest


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"labels": []}, "labels: there is none"),
        ({"background": ["rest"]}, "background: rest not among the labels"),
        ({"num_features": 0}, "num_features: 0 is not positive"),
        ({"num_features": "many"}, "num_features: Input should be a valid integer"),
        ({"calibration": {"temperature": 0, "threshold": 0.5}}, "calibration.temperature: 0.0 is not positive"),
        ({"calibration": {"temperature": 1, "threshold": 1.5}}, "calibration.threshold: 1.5 is not in [0, 1]"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused_with_the_field(change: dict[str, object], complaint: str) -> None:
    text = json.dumps(json.loads(manifest_to_json(make_manifest())) | change)

    with pytest.raises(ArtifactError) as error:
        manifest_from_json(text)

    assert complaint in str(error.value)


def test_repeated_labels_are_refused() -> None:
    with pytest.raises(ArtifactError, match="labels: sun more than once"):
        manifest_from_json(manifest_to_json(make_manifest(labels=("sun", "idle", "sun"))))


def test_a_model_of_nothing_but_background_is_refused() -> None:
    with pytest.raises(ArtifactError, match="all of them are background"):
        manifest_from_json(manifest_to_json(make_manifest(labels=("idle",))))


def test_another_feature_spec_is_refused_by_name_and_by_width() -> None:
    check_feature_spec(make_manifest())

    with pytest.raises(ManifestMismatchError, match=r"unknown feature spec 'base470'.*base469"):
        check_feature_spec(replace(make_manifest(), feature_spec="base470"))
    with pytest.raises(ManifestMismatchError, match="has 469 features, the model was trained on 470"):
        check_feature_spec(replace(make_manifest(), num_features=470))


def test_torch_files_give_back_weights_and_manifest(tmp_path: Path) -> None:
    weights = {"a": torch.randn(3, 4), "half": torch.randn(5).half(), "count": torch.tensor(3)}

    written = save_torch_artifact(tmp_path / "model_v1.pt", state_dict=weights, manifest=make_manifest())
    loaded, manifest = load_torch_artifact(tmp_path / "model_v1.pt")

    assert manifest == written == replace(make_manifest(), weights_sha256=written.weights_sha256)
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in weights.items())


def test_nothing_is_left_when_a_manifest_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="temperature"):
        save_torch_artifact(
            tmp_path / "model_v1.pt",
            state_dict={"a": torch.zeros(1)},
            manifest=make_manifest(calibration=Calibration(temperature=-1.0)),
        )

    assert list(tmp_path.iterdir()) == []


def test_changed_weights_are_refused_with_both_hashes(tmp_path: Path) -> None:
    path = tmp_path / "model_v1.pt"
    manifest = save_torch_artifact(path, state_dict={"a": torch.zeros(3)}, manifest=make_manifest())
    content = torch.load(path, weights_only=True)  # noqa: TID251
    content["state_dict"]["a"][1] = 1e-6
    torch.save(content, path)

    with pytest.raises(ManifestMismatchError, match=f"hash of the weights differs.*{manifest.weights_sha256}"):
        load_torch_artifact(path)


def test_a_pickle_that_would_run_code_is_refused_unrun(tmp_path: Path) -> None:
    path, witness = tmp_path / "model_v1.pt", tmp_path / "witness"

    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str, ...]]:
            return Path.touch, (str(witness),)

    torch.save({"format": "signflow-model-1", "state_dict": Attack()}, path)

    with pytest.raises(ArtifactError, match="not a readable model file"):
        load_torch_artifact(path)
    assert not witness.exists()


@pytest.mark.parametrize(
    "content", [b"", b"not a model", b"PK\x03\x04 half a zip", b"\x80\x02.", b"\x80\x02}q\x00(", b"\x80\x02X"]
)
@pytest.mark.parametrize("suffix", [".pt", ".onnx"])
def test_garbage_is_refused_with_its_path(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"model_v1{suffix}"
    path.write_bytes(content)

    with pytest.raises(ArtifactError, match=r"model_v1\.(pt|onnx): "):
        read_manifest(path)


@pytest.mark.parametrize("weights", [None, 3, {"layer": 3}, {7: torch.zeros(1)}])
def test_a_model_file_without_weights_is_refused(tmp_path: Path, weights: object) -> None:
    path = tmp_path / "model_v1.pt"
    write_untrained_model(tmp_path, onnx=False)
    content = torch.load(path, weights_only=True)  # noqa: TID251
    torch.save({**content, "state_dict": weights}, path)

    with pytest.raises(ArtifactError, match=r"model_v1\.pt: holds no weights"):
        read_manifest(path)


def test_a_torch_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    torch.save({"weights": torch.zeros(2)}, tmp_path / "other.pt")

    with pytest.raises(ArtifactError, match="not a SignFlow model"):
        read_manifest(tmp_path / "other.pt")


def test_missing_files_and_other_kinds_are_named(tmp_path: Path) -> None:
    for name in ("model_v1.pt", "model_v1.onnx"):
        with pytest.raises(ModelNotFoundError, match=f"{name}: no such file"):
            read_manifest(tmp_path / name)
    with pytest.raises(ArtifactError, match=r"model\.h5: a model is a \.pt or \.onnx file"):
        read_manifest(tmp_path / "model.h5")


def test_both_files_of_a_model_carry_the_same_manifest(model_dir: Path) -> None:
    assert read_manifest(model_dir / "model_v1.onnx") == read_manifest(model_dir / "model_v1.pt")


def test_standard_tools_see_our_metadata(model_dir: Path) -> None:
    model = onnx.load(model_dir / "model_v1.onnx")
    onnx.checker.check_model(model)

    texts = {entry.key: entry.value for entry in model.metadata_props}
    assert manifest_from_json(texts["signflow.manifest"]) == read_manifest(model_dir / "model_v1.onnx")
    assert texts == read_entries((model_dir / "model_v1.onnx").read_bytes())


def test_every_changed_byte_of_an_onnx_file_is_noticed(model_dir: Path, tmp_path: Path) -> None:
    content = (model_dir / "model_v1.onnx").read_bytes()
    path = tmp_path / "model_v1.onnx"

    for position in [*range(0, len(content), len(content) // 200), *range(len(content) - 90, len(content))]:
        changed = bytearray(content)
        changed[position] ^= 0x11
        path.write_bytes(changed)
        with pytest.raises(ArtifactError):
            read_manifest(path)


def test_a_file_that_was_cut_or_extended_is_refused(model_dir: Path, tmp_path: Path) -> None:
    content = (model_dir / "model_v1.onnx").read_bytes()
    path = tmp_path / "model_v1.onnx"

    for changed in (content[:-1], content[: len(content) // 2], content[:-85], content + content[-85:], content + b"z"):
        path.write_bytes(changed)
        with pytest.raises(ArtifactError):
            read_manifest(path)


def test_a_damaged_onnx_file_is_refused_with_both_hashes(model_dir: Path, tmp_path: Path) -> None:
    content = bytearray((model_dir / "model_v1.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    path = tmp_path / "model_v1.onnx"
    path.write_bytes(content)

    with pytest.raises(
        ManifestMismatchError, match=r"hash differs: sealed with [0-9a-f]{64}, the file has [0-9a-f]{64}"
    ):
        read_manifest(path)


def test_an_onnx_file_of_somebody_else_is_refused(model_dir: Path, tmp_path: Path) -> None:
    model = onnx.load(model_dir / "model_v1.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "other.onnx")

    with pytest.raises(ArtifactError, match="holds no SignFlow manifest"):
        read_manifest(tmp_path / "other.onnx")


@given(
    entries=st.dictionaries(
        st.text(alphabet=st.characters(codec="utf-8")), st.text(alphabet=st.characters(codec="utf-8"))
    )
)
def test_metadata_of_any_text_and_length_is_read_back(entries: dict[str, str]) -> None:
    sealed = read_entries(seal(b"", entries | {"long": "x" * 70_000}))

    assert {key: value for key, value in sealed.items() if key not in ("signflow.sha256", "long")} == {
        key: value for key, value in entries.items() if key not in ("signflow.sha256", "long")
    }


@given(content=st.binary(max_size=300))
def test_reading_metadata_of_any_bytes_ends_in_texts_or_a_value_error(content: bytes) -> None:
    try:
        entries = read_entries(content)
    except ValueError:
        return
    assert all(isinstance(text, str) for text in (*entries.keys(), *entries.values()))


def test_the_newest_version_is_the_highest_number_not_the_latest_file(tmp_path: Path) -> None:
    for name in (
        "model_v10.onnx",
        "model_v10.int8.onnx",
        "model_v9.pt",
        "model_v9.onnx",
        "model_vx.pt",
        "model_v11.txt",
    ):
        (tmp_path / name).touch()

    newest, chosen = find_model(tmp_path), find_model(tmp_path, version="v9")

    assert (newest.version, newest.onnx, newest.torch) == ("v10", tmp_path / "model_v10.onnx", None)
    assert newest.onnx_int8 == tmp_path / "model_v10.int8.onnx"
    assert (chosen.version, chosen.torch) == ("v9", tmp_path / "model_v9.pt")


def test_an_empty_missing_or_wrong_folder_says_what_to_do(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ModelNotFoundError, match=r"no model_vN\.onnx or \.pt in .*scripts\.train"):
            find_model(folder)
    (tmp_path / "model_v1.onnx").touch()
    with pytest.raises(ModelNotFoundError, match=r"no model_v2\.onnx"):
        find_model(tmp_path, version="v2")


def test_two_models_are_told_apart_by_what_differs() -> None:
    first = make_manifest()
    require_same_model(first, make_manifest(), names=("a", "b"))

    second = replace(make_manifest(labels=("idle", "sun", "wind")), feature_spec="base470", weights_sha256="ab")
    with pytest.raises(ManifestMismatchError) as error:
        require_same_model(first, second, names=("model_v1.onnx", "model_v1.pt"))

    message = str(error.value)
    assert message.startswith("model_v1.onnx and model_v1.pt are different models: ")
    assert "feature_spec ('base469' / 'base470')" in message
    assert "only the first has bird, house, rain, river, stone; only the second has wind" in message
    assert "weights_sha256 ('' / 'ab')" in message


def test_labels_in_another_order_are_another_model() -> None:
    with pytest.raises(ManifestMismatchError, match="same names in another order"):
        require_same_model(
            make_manifest(labels=("sun", "idle")), make_manifest(labels=("idle", "sun")), names=("a", "b")
        )


def test_file_hash_is_that_of_the_content(tmp_path: Path) -> None:
    write_onnx_artifact(tmp_path / "a.onnx", model=b"", manifest=make_manifest(), interface="")

    assert file_sha256(tmp_path / "a.onnx") == hashlib.sha256((tmp_path / "a.onnx").read_bytes()).hexdigest()


def test_reading_an_onnx_manifest_loads_neither_torch_nor_onnx_nor_onnxruntime(model_dir: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from app.ml.artifacts.files import read_manifest; "
        f"read_manifest(Path({str(model_dir / 'model_v1.onnx')!r})); "
        "print([name for name in ('torch', 'onnx', 'onnxruntime') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
