from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.ml.artifacts.manifest import Calibration, FamiliarityGate
from app.ml.errors import DatasetError
from app.ml.evaluation.scoring import accepted_fraction
from app.ml.evaluation.unseen import FoldOutcome, calibrate, hold_out, train_fold
from app.ml.inference.confidence import softmax
from app.ml.model_configs import get_model_config
from app.ml.recordings.clips import Clip
from app.ml.recordings.labels import BACKGROUND, IDLE
from app.ml.training.config import TrainerConfig
from app.ml.training.fitting import describe_model
from app.ml.training.recipes import Recipe, get_recipe
from app.ml.types import FloatArray
from tests.parametric_signer import make_clips, make_person, perform_sign

SIGNS = ("sun", "rain", "letter_v")
LABELS = ("rain", "sun", *BACKGROUND)
QUICK = Recipe(
    name="quick",
    model=get_model_config("tiny"),
    trainer=TrainerConfig(
        steps=40, batch_size=24, learning_rate=5e-3, warmup_steps=5, ema_decay=0.9, eval_every=40, people_prior=0.0
    ),
)


def world() -> list[Clip]:
    """Three people who make three signs and idle; `person2` alone also makes `star`."""
    clips = make_clips(num_people=3, takes=2, labels=(*SIGNS, IDLE))
    return [*clips, perform_sign(make_person(2), "star")]


def background() -> list[Clip]:
    clips = [perform_sign(make_person(number), "house", seed=number) for number in (2, 7, 8)]
    return [replace(clip, quality="nonsign", label="scratch") for clip in clips]


def test_a_held_out_person_is_nowhere_in_training() -> None:
    fold = hold_out(world(), background(), person="person2")

    assert {clip.signer for clip in fold.train} == {"person0", "person1", "person7", "person8"}
    assert {clip.signer for clip in fold.test} == {"person2"}
    assert {clip.signer for clip in fold.refuse} == {"person2"}


def test_only_signs_that_somebody_else_has_are_tested() -> None:
    fold = hold_out(world(), [], person="person2")

    assert sorted({clip.label or "" for clip in fold.test}) == sorted(SIGNS)
    assert fold.labels == ("letter_v", "rain", "sun", *BACKGROUND)
    assert len(fold.test) == 6


def test_doubtful_clips_and_non_signs_are_never_tested_as_signs() -> None:
    clips = world()
    mine = [number for number, clip in enumerate(clips) if clip.signer == "person2" and clip.label == "sun"]
    clips[mine[0]] = replace(clips[mine[0]], quality="suspect")
    clips[mine[1]] = replace(clips[mine[1]], quality="nonsign")

    fold = hold_out(clips, [], person="person2")

    assert "sun" not in {clip.label for clip in fold.test}
    assert "sun" in fold.labels
    assert [clip.quality for clip in fold.refuse if clip.label == "sun"] == ["nonsign"]


def test_what_must_be_refused_has_a_hand_in_view() -> None:
    fold = hold_out(world(), background(), person="person2")

    # An even idle take shows no hand at all, an odd one holds a fidget.
    assert sorted(clip.clip_id or "" for clip in fold.refuse) == ["person2/house/2", "person2/idle/1"]


def test_others_can_be_absent_without_being_tested() -> None:
    fold = hold_out(world(), background(), person="person2", also_absent=("person1", "person7"))

    assert {clip.signer for clip in fold.train} == {"person0", "person8"}
    assert {clip.signer for clip in fold.test} == {"person2"}
    assert {clip.signer for clip in fold.refuse} == {"person1", "person2", "person7"}


def test_somebody_who_shares_no_sign_cannot_be_held_out() -> None:
    lonely = [*make_clips(num_people=1, takes=1, labels=("sun",)), perform_sign(make_person(5), "star")]

    with pytest.raises(DatasetError, match="person5 has no clip of a sign that somebody else has"):
        hold_out(lonely, [], person="person5")


def test_a_stranger_who_makes_no_sign_can_be_held_out_to_be_refused() -> None:
    fold = hold_out(world(), background(), person="person7")

    assert (fold.test, {clip.signer for clip in fold.refuse}) == ([], {"person7"})
    assert "person7" not in {clip.signer for clip in fold.train}


def test_a_fold_learns_and_answers_for_every_clip() -> None:
    fold = hold_out(world(), background(), person="person2")

    model, prototypes, outcome = train_fold(fold, QUICK, seed=1)

    assert (outcome.person, outcome.seed, outcome.labels) == ("person2", 1, fold.labels)
    assert outcome.logits.shape == (6, 5)
    assert outcome.refuse_logits.shape == (2, 5)
    assert [outcome.labels[target] for target in outcome.targets] == [clip.label for clip in fold.test]
    assert not model.training
    assert np.isfinite(outcome.logits).all()
    assert outcome.correct.mean() > 0.5
    assert prototypes.shape == (5, get_model_config("tiny").embedding)
    assert (outcome.familiarity.shape, outcome.refuse_familiarity.shape) == ((6, 5), (2, 5))
    own = outcome.familiarity[np.arange(6), outcome.targets]
    assert own.mean() > outcome.familiarity.mean() + 0.1


def make_outcome(logits: FloatArray, *, targets: list[int], person: str = "ann", seed: int = 0) -> FoldOutcome:
    return FoldOutcome(
        person=person,
        seed=seed,
        labels=LABELS,
        targets=np.array(targets),
        logits=logits,
        refuse_logits=np.zeros((0, len(LABELS)), np.float32),
    )


def test_background_does_not_count_as_an_answer_unless_it_is_asked_for() -> None:
    logits = np.array([[1, 3, 9, 0], [1, 3, 0, 0], [5, 3, 0, 0]], np.float32)

    outcome = make_outcome(logits, targets=[1, 1, 1])

    assert outcome.num_signs == 2
    assert outcome.correct.tolist() == [True, True, False]
    assert outcome.correct_among_all.tolist() == [False, True, False]


def test_a_fold_tells_confidences_for_signs_and_for_what_must_be_refused() -> None:
    logits = np.array([[1, 3, 9, 0], [1, 3, 0, 2]], np.float32)
    familiarity = np.array([[0.9, 0.8, 0.7, 0.6], [0.4, 0.3, 0.2, 0.1]], np.float32)
    plain = replace(make_outcome(logits, targets=[1, 1]), refuse_logits=logits[::-1].copy())
    familiar = replace(plain, familiarity=familiarity, refuse_familiarity=familiarity[::-1].copy())
    gate = FamiliarityGate(bias=-4.0, slope=8.0)

    signs, refuse = plain.confidences(Calibration(temperature=2.0))
    gated, _ = familiar.confidences(Calibration(temperature=2.0, gate=gate))

    np.testing.assert_allclose(signs, softmax(logits / 2)[:, 1], rtol=1e-5)
    np.testing.assert_allclose(refuse, signs[::-1], rtol=1e-5)
    np.testing.assert_allclose(gated, signs / (1 + np.exp(4 - 8 * familiarity[:, 1])), rtol=1e-5)
    assert make_outcome(logits, targets=[1, 1]).confidences(Calibration())[1].shape == (0,)


def test_an_outcome_is_kept_as_it_was(tmp_path: Path) -> None:
    outcome = make_outcome(np.arange(12, dtype=np.float32).reshape(3, 4), targets=[0, 1, 1], person="bob", seed=3)
    outcome = replace(outcome, familiarity=np.random.default_rng(0).random((3, 4), np.float32))
    path = tmp_path / "deep" / "bob-3.npz"

    outcome.save(path)
    again = FoldOutcome.load(path)

    assert (again.person, again.seed, again.labels) == ("bob", 3, LABELS)
    np.testing.assert_array_equal(again.logits, outcome.logits)
    np.testing.assert_array_equal(again.targets, outcome.targets)
    np.testing.assert_array_equal(again.refuse_logits, outcome.refuse_logits)
    np.testing.assert_array_equal(again.familiarity, outcome.familiarity)
    assert [file.name for file in path.parent.iterdir()] == ["bob-3.npz"]


def test_an_outcome_of_an_earlier_version_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "bob-3.npz", about="{}", logits=np.zeros((1, 2)))

    with pytest.raises(DatasetError, match=r"bob-3\.npz was kept by an earlier version; remove it"):
        FoldOutcome.load(tmp_path / "bob-3.npz")


def unsure_logits(count: int, *, seed: int = 0) -> FloatArray:
    """Answers of every degree of certainty, all for the first sign; about a quarter of them should be wrong."""
    margins = np.linspace(0.2, 6.0, count) + np.random.default_rng(seed).normal(0, 0.01, count)
    columns = (margins, np.zeros(count), np.full(count, -9.0), np.full(count, -9.0))
    return np.stack(columns, axis=1).astype(np.float32)


def mixed_targets(count: int) -> list[int]:
    return [1 if number % 4 == 0 else 0 for number in range(count)]


def test_the_threshold_lets_the_asked_part_of_signs_pass() -> None:
    folds = [make_outcome(unsure_logits(40), targets=mixed_targets(40), person=person) for person in ("ann", "bob")]

    for acceptance in (0.5, 0.75, 0.9):
        found = calibrate(folds, acceptance=acceptance)
        passed = [accepted_fraction(fold.confidences(found)[0], threshold=found.threshold) for fold in folds]
        assert np.mean(passed) == pytest.approx(acceptance, abs=0.03)


@pytest.mark.parametrize("count", [20, 50, 60])
def test_every_person_counts_the_same_however_many_clips_they_gave(count: int) -> None:
    few = make_outcome(unsure_logits(count), targets=mixed_targets(count), person="few")
    many = make_outcome(unsure_logits(76), targets=mixed_targets(76), person="many")

    found = calibrate([few, many], acceptance=0.5)

    passed = [accepted_fraction(fold.confidences(found)[0], threshold=found.threshold) for fold in (few, many)]
    assert np.mean(passed) == pytest.approx(0.5, abs=0.03)


def test_nobody_is_judged_by_a_threshold_that_their_own_clips_chose() -> None:
    ann, bob = (
        make_outcome(unsure_logits(40) * scale, targets=mixed_targets(40), person=person)
        for person, scale in (("ann", 1.0), ("bob", 4.0))
    )

    assert calibrate([ann, bob], without=("ann",)) == calibrate([bob])
    assert calibrate([ann, bob], without=("bob",)) == calibrate([ann])


def test_somebody_must_be_left_to_calibrate_on() -> None:
    with pytest.raises(DatasetError, match="no fold"):
        calibrate([make_outcome(unsure_logits(4), targets=[0] * 4)], without=("ann",))


def test_a_manifest_tells_how_many_people_each_sign_was_learned_from() -> None:
    clips = [replace(clip, language="ase") for clip in world()]

    manifest = describe_model(clips, (*SIGNS, "star", *BACKGROUND), QUICK, version="v3", provenance={"seed": 4})

    people = {label.label: label.num_people for label in manifest.labels}
    assert people == {"sun": 3, "rain": 3, "letter_v": 3, "star": 1, "idle": 3, "unknown": 0}
    assert {label.language for label in manifest.labels} == {"ase"}
    assert (manifest.version, manifest.num_features, manifest.background) == ("v3", 256, BACKGROUND)
    assert manifest.provenance == {"recipe": "quick", "people_prior": 0.0, "seed": 4}
    assert manifest.config == get_model_config("tiny").to_dict()


def test_recipes_are_found_by_name_and_take_a_seed_without_changing() -> None:
    recipe = get_recipe("starter")

    assert recipe.with_seed(9) == replace(recipe.trainer, seed=9)
    assert recipe.name == "starter"
    with pytest.raises(ValueError, match=r"'secret'; known: reference, starter"):
        get_recipe("secret")


def test_a_recipe_s_fingerprint_follows_its_settings_and_ignores_what_is_off() -> None:
    recipe = get_recipe("starter")

    assert recipe.fingerprint == get_recipe("starter").fingerprint
    assert recipe.fingerprint != replace(recipe, trainer=replace(recipe.trainer, steps=651)).fingerprint
    assert recipe.fingerprint != replace(recipe, model=replace(recipe.model, drop_path=0.0)).fingerprint
    assert recipe.trainer.mixup == 0.0
    assert recipe.fingerprint == replace(recipe, trainer=replace(recipe.trainer, mixup=0)).fingerprint
