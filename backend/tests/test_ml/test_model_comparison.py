import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.ml.artifacts.files import load_torch_artifact, save_torch_artifact
from app.ml.errors import DatasetError
from app.ml.evaluation.comparison import Outcome
from app.ml.evaluation.comparison_report import write_report
from app.ml.evaluation.model_comparison import Comparison, Rules, Side, compare_models, drop_copies, unseen_clips
from app.ml.recordings.clips import Clip
from tests.parametric_signer import IDLE, make_clips
from tests.untrained_model import make_manifest

SIGNS = ("rain", "stone", "sun")
STRICT = Rules()


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    """People whom the tiny model, trained on person0 to person7, has never seen."""
    return make_clips(num_people=4, takes=2, labels=(*SIGNS, IDLE), seed=100)


def write_variant(model_dir: Path, path: Path, *, wrong: Sequence[str] = (), seed: int = 0) -> Path:
    """The tiny model with the answers of some signs exchanged, and another training seed."""
    weights, manifest = load_torch_artifact(model_dir / "model_v1.pt")
    rows = [manifest.label_names.index(label) for label in wrong]
    for name in ("classifier.weight", "classifier.bias"):
        changed = weights[name].clone()
        changed[rows] = weights[name][[*rows[1:], *rows[:1]]]
        weights[name] = changed
    manifest = replace(manifest, provenance={**manifest.provenance, "seed": seed})
    save_torch_artifact(path, state_dict=weights, manifest=manifest)
    return path


@pytest.fixture(scope="module")
def sound(tiny_model_dir: Path) -> Path:
    return tiny_model_dir / "model_v1.onnx"


@pytest.fixture(scope="module")
def worse(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_variant(tiny_model_dir, tmp_path_factory.mktemp("worse") / "model_v2.pt", wrong=("rain", "stone"))


def compare(
    first: Path, second: Path, clips: Sequence[Clip], *, rules: Rules = STRICT, training_clips: Sequence[Clip] = ()
) -> Comparison:
    sides = (Side(name="first", paths=(first,)), Side(name="second", paths=(second,)))
    return compare_models(*sides, clips, rules=rules, training_clips=training_clips)


@pytest.fixture(scope="module")
def against_worse(sound: Path, worse: Path, clips: list[Clip]) -> Comparison:
    return compare(sound, worse, clips)


def test_a_worse_model_is_called_worse_with_its_numbers(against_worse: Comparison) -> None:
    assert against_worse.verdict.outcome is Outcome.WORSE
    assert re.fullmatch(
        r"The candidate is worse: -\d\d\.\d points \(95 % interval -\d\d\.\d to -\d\d\.\d\) on 4 unseen people, "
        r"12 cells of signer and sign, 1 training a side\.",
        against_worse.verdict.sentence,
    )
    assert against_worse.difference.high < 0
    assert against_worse.per_sign["sun"].difference == 0
    assert against_worse.per_sign["rain"].difference < -0.8
    assert set(against_worse.per_signer) == set(against_worse.signers) == {f"person{seed}" for seed in range(100, 104)}
    assert against_worse.num_clips == 4 * 2 * len(SIGNS)
    assert against_worse.controls[0].passed


def test_a_better_model_is_called_better(worse: Path, sound: Path, clips: list[Clip]) -> None:
    comparison = compare(worse, sound, clips)

    assert comparison.verdict.outcome is Outcome.BETTER
    assert comparison.candidate.accuracy > 0.8 > comparison.baseline.accuracy
    assert comparison.candidate.ece < comparison.baseline.ece
    assert comparison.candidate.latency.p50_ms > 0
    assert comparison.candidate.size_bytes == sound.stat().st_size
    assert comparison.candidate.idle_refused is not None
    assert sum(one.num_answers for one in comparison.candidate.reliability) == 24


def test_the_same_model_twice_shows_no_difference(sound: Path, clips: list[Clip]) -> None:
    comparison = compare(sound, sound, clips)

    assert comparison.verdict.outcome is Outcome.INCONCLUSIVE
    assert comparison.verdict.sentence.startswith("No difference was shown: +0.0 points")


def test_answers_that_have_nothing_to_do_with_the_labels_void_the_comparison(
    tiny_model_dir: Path, sound: Path, tmp_path: Path, clips: list[Clip]
) -> None:
    ignorant = write_variant(tiny_model_dir, tmp_path / "model_v3.pt", wrong=SIGNS)

    one, both = compare(sound, ignorant, clips), compare(ignorant, ignorant, clips)

    assert [control.passed for control in one.controls] == [True, False]
    assert "nothing to do with the labels" in one.controls[1].sentence
    assert one.verdict.outcome is Outcome.WORSE
    assert both.verdict.outcome is Outcome.INCONCLUSIVE
    assert "the controls failed (permuted labels, first, permuted labels, second)" in both.verdict.sentence


def test_labels_that_were_mixed_up_are_found_by_the_control(sound: Path, worse: Path, clips: list[Clip]) -> None:
    rng = np.random.default_rng(0)
    labels = rng.permutation([clip.label or "" for clip in clips])
    mixed = [replace(clip, label=str(label)) for clip, label in zip(clips, labels, strict=True)]

    comparison = compare(sound, worse, mixed)

    assert not any(control.passed for control in comparison.controls)
    assert comparison.verdict.outcome is Outcome.INCONCLUSIVE


def test_people_whom_a_model_has_seen_are_refused_or_left_out(sound: Path, worse: Path, clips: list[Clip]) -> None:
    known = [*clips, *make_clips(num_people=1, takes=1, labels=SIGNS)]

    with pytest.raises(DatasetError, match=r"model_v1\.onnx was trained on person0: .*--skip-seen"):
        compare(sound, worse, known)
    comparison = compare(sound, worse, known, rules=Rules(skip_seen=True))

    assert "person0" not in comparison.signers
    with pytest.raises(DatasetError, match="everybody in the data was seen by"):
        compare(sound, worse, known[-3:], rules=Rules(skip_seen=True))


def test_a_model_that_does_not_say_whom_it_has_seen_is_believed_only_when_told_so(clips: list[Clip]) -> None:
    silent = replace(make_manifest(), provenance={})

    with pytest.raises(DatasetError, match=r"model does not say whom it was trained on; .*--assume-unseen"):
        unseen_clips([("model", silent)], clips, Rules())
    assert unseen_clips([("model", silent)], clips, Rules(assume_unseen=True)) == clips


def test_a_person_who_was_held_out_counts_as_unseen_and_a_nameless_one_as_unknown(clips: list[Clip]) -> None:
    manifest = replace(make_manifest(), provenance={"signers": ["person100", "bob"], "held_out": ["person100"]})

    assert unseen_clips([("model", manifest)], clips, Rules()) == clips
    with pytest.raises(DatasetError, match="1 clips do not say who signs"):
        unseen_clips([("model", manifest)], [*clips, replace(clips[0], signer=None)], Rules())


def test_a_recording_under_two_names_is_refused_and_a_repeated_one_counts_once(clips: list[Clip]) -> None:
    again = replace(clips[0], clip_id="again")

    assert drop_copies([*clips, again]) == (clips, 1)
    for lie in (replace(again, signer="somebody else"), replace(again, label="sun")):
        with pytest.raises(DatasetError, match=r"the same recording is .* and .*; remove the wrong ones"):
            drop_copies([*clips, lie])


def test_a_training_recording_under_another_name_is_refused(sound: Path, worse: Path, clips: list[Clip]) -> None:
    trained = [replace(clips[3], signer="person0", clip_id="of person0")]

    with pytest.raises(DatasetError, match="1 test recordings are among the training recordings"):
        compare(sound, worse, clips, training_clips=trained)
    assert compare(sound, worse, clips, training_clips=clips[:0]).were_training_clips_given is False
    unrelated = make_clips(num_people=1, takes=1, labels=SIGNS)
    assert compare(sound, worse, clips, training_clips=unrelated).were_training_clips_given is True


def test_several_trainings_a_side_are_paired(tiny_model_dir: Path, tmp_path: Path, clips: list[Clip]) -> None:
    names = iter(range(4))
    first, second = (
        Side(
            name=name,
            paths=tuple(
                write_variant(tiny_model_dir, tmp_path / f"model_v{next(names)}.pt", wrong=wrong, seed=seed)
                for seed, wrong in enumerate(of_seed)
            ),
        )
        for name, of_seed in (("first", ((), ())), ("second", (("rain", "sun"), ())))
    )

    comparison = compare_models(first, second, clips)

    assert comparison.difference.mean == pytest.approx(-1 / 3, abs=0.1)
    assert comparison.difference.low < -0.5  # one training of two may have been luck
    assert comparison.difference.high >= 0
    assert comparison.verdict.outcome is Outcome.INCONCLUSIVE
    assert "2 trainings a side" in comparison.verdict.sentence
    with pytest.raises(DatasetError, match="2 baseline files and 1 candidate files cannot be paired"):
        compare_models(first, replace(second, paths=second.paths[:1]), clips)


def test_models_without_a_common_sign_are_not_compared(sound: Path, worse: Path) -> None:
    with pytest.raises(DatasetError, match="share no label to score"):
        compare(sound, worse, [replace(clip, label="bicycle") for clip in make_clips(num_people=1, takes=1, seed=100)])
    with pytest.raises(DatasetError, match="share no sign that the clips show"):
        compare(sound, worse, make_clips(num_people=2, takes=1, labels=(IDLE,), seed=100))


def test_test_time_augmentation_is_compared_like_another_model(sound: Path, clips: list[Clip]) -> None:
    comparison = compare_models(
        Side(name="plain", paths=(sound,)), Side(name="five views", paths=(sound,), tta=True), clips
    )

    assert comparison.baseline.ece != comparison.candidate.ece
    assert comparison.candidate.latency.p50_ms > comparison.baseline.latency.p50_ms


def test_an_html_report_holds_everything_and_asks_nobody(against_worse: Comparison, tmp_path: Path) -> None:
    path = tmp_path / "report.html"

    assert write_report(path, against_worse, machine="On a <machine>.") == [path]

    text = path.read_text()
    assert against_worse.verdict.sentence in text
    assert "On a &lt;machine&gt;." in text
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', text)
    assert len(sources) == 3
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "http" not in text.replace("http-equiv", "")
    for name in (*against_worse.signers, *SIGNS, "permuted labels, first"):
        assert f"<td>{name}</td>" in text


def test_a_markdown_report_has_its_pictures_beside_it(against_worse: Comparison, tmp_path: Path) -> None:
    report, *pictures = write_report(tmp_path / "report.md", against_worse, machine="On a machine.")

    text = report.read_text()
    linked = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert [picture.name for picture in pictures] == linked
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)
    assert "| rain | 8 | " in text
    with pytest.raises(ValueError, match=r"an \.html or \.md file"):
        write_report(tmp_path / "report.pdf", against_worse, machine="")
