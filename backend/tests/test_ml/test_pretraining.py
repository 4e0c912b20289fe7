from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.ml.artifacts.files import load_torch_artifact
from app.ml.dataset import LandmarkDataset
from app.ml.errors import ArtifactError, DatasetError, ManifestMismatchError, ModelNotFoundError
from app.ml.landmarks.features import get_feature_spec
from app.ml.landmarks.layout import LEFT_HAND, LEFT_SHOULDER, NUM_POINTS, RIGHT_HAND, RIGHT_SHOULDER
from app.ml.model import build_model
from app.ml.model_configs import Architecture, ModelConfig, get_model_config
from app.ml.pretraining import MaskedWindows, interpolate, masked_loss, pretrain, pretrain_for
from app.ml.recordings.clips import Clip
from app.ml.recordings.labels import BACKGROUND
from app.ml.trainer import Progress, SignTrainer, TrainerConfig
from app.ml.training.config import PretrainingConfig
from app.ml.training.masking import draw_masked, hide
from app.ml.training.pretrained import PretrainedEncoder
from app.ml.training.recipes import Recipe, get_recipe
from app.ml.types import FloatArray
from tests.parametric_signer import make_clips

TINY = get_model_config("tiny")
SPATIAL = replace(
    TINY, name="tiny_spatial", architecture=Architecture.SPATIAL, joint_channels=6, joint_outputs=3, num_tokens=16
)
EACH = pytest.mark.parametrize(
    ("config", "spec"), [(TINY, "hands256"), (SPATIAL, "landmarks75")], ids=["features", "landmarks"]
)
CONFIG = PretrainingConfig(steps=3, batch_size=4, warmup_steps=1)
PROPERTY = settings(
    derandomize=True, deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return make_clips(num_people=3, takes=1, labels=("sun", "letter_v"))


@pytest.fixture(autouse=True)
def one_thread() -> Generator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_points(*, seed: int = 0, batch: int = 2, frames: int = 20, missing: float = 0.2) -> FloatArray:
    """Points of which whole hands are missing in some frames."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((batch, frames, NUM_POINTS, 3)).astype(np.float32)
    for hand in (LEFT_HAND, RIGHT_HAND):
        points[:, :, hand][rng.random((batch, frames)) < missing] = np.nan
    return points


@PROPERTY
@given(seed=st.integers(0, 10_000), frames=st.integers(1, 40), share=st.sampled_from([0.05, 0.15, 0.4]))
def test_the_promised_share_is_masked_and_only_what_is_in_view(seed: int, frames: int, share: float) -> None:
    points = make_points(seed=seed, frames=frames)
    in_view = ~np.isnan(points).any(-1)

    masked = draw_masked(points, share=share, rng=np.random.default_rng(seed))

    assert not (masked & ~in_view).any()
    np.testing.assert_array_equal(masked.sum((1, 2)), np.round(share * in_view.sum((1, 2))))


def test_masks_are_spans_in_time_and_whole_hands_and_leave_the_shoulders() -> None:
    points = make_points(batch=60, missing=0.0)

    masked = draw_masked(points, share=0.15, rng=np.random.default_rng(0))

    whole_hands = sum(masked[:, :, hand].all(-1).sum() for hand in (LEFT_HAND, RIGHT_HAND))
    stays_hidden = (masked[:, 1:] & masked[:, :-1]).sum() / masked[:, :-1].sum()
    assert whole_hands > 60
    assert stays_hidden > 0.6  # single points drawn at random would stay hidden 15 % of the time
    assert not masked[:, :, (LEFT_SHOULDER, RIGHT_SHOULDER)].any()
    assert masked.any((0, 1))[:LEFT_SHOULDER].all()


def test_a_window_without_anybody_masks_nothing() -> None:
    nobody = np.full((1, 5, NUM_POINTS, 3), np.nan, np.float32)

    assert not draw_masked(nobody, share=0.15, rng=np.random.default_rng(0)).any()


def test_hiding_takes_away_what_is_masked_and_nothing_else() -> None:
    points = make_points()
    before = points.copy()
    masked = draw_masked(points, share=0.15, rng=np.random.default_rng(0))

    hidden = hide(points, masked)

    assert np.isnan(hidden[masked]).all()
    np.testing.assert_array_equal(hidden[~masked], points[~masked])
    np.testing.assert_array_equal(points, before)


@PROPERTY
@given(seed=st.integers(0, 1000), number=st.sampled_from([-5.0, 0.0, 3.0, 1e6]))
def test_only_masked_landmarks_in_view_count_in_the_loss(seed: int, number: float) -> None:
    landmarks = torch.from_numpy(make_points(seed=seed))
    masked = torch.from_numpy(np.random.default_rng(seed).random(landmarks.shape[:3]) < 0.15)  # some are out of view
    found = torch.randn(landmarks.shape, generator=torch.Generator().manual_seed(seed))
    counted = masked & ~torch.isnan(landmarks).any(-1)
    elsewhere = torch.where(counted.unsqueeze(-1), found, torch.tensor(number))

    loss = masked_loss(found, landmarks, masked)

    assert torch.isfinite(loss)
    torch.testing.assert_close(masked_loss(elsewhere, landmarks, masked), loss)
    expected = torch.nn.functional.smooth_l1_loss(found[counted], landmarks[counted], beta=0.1)
    torch.testing.assert_close(loss, expected)


def test_a_landmark_that_is_masked_and_wrong_costs_and_has_a_gradient() -> None:
    landmarks = torch.zeros(1, 2, NUM_POINTS, 3)
    masked = torch.zeros(1, 2, NUM_POINTS, dtype=torch.bool)
    masked[0, 1, 40] = True
    found = torch.ones_like(landmarks).requires_grad_()

    masked_loss(found, landmarks, masked).backward()

    assert found.grad is not None
    assert found.grad.nonzero()[:, :3].unique(dim=0).tolist() == [[0, 1, 40]]


def test_nothing_to_find_costs_nothing() -> None:
    landmarks = torch.zeros(1, 2, NUM_POINTS, 3)

    assert masked_loss(landmarks + 1, landmarks, torch.zeros(1, 2, NUM_POINTS, dtype=torch.bool)) == 0


@pytest.mark.parametrize("spec", ["hands256", "base469", "landmarks75"])
def test_what_is_masked_cannot_be_read_off_the_features(clips: list[Clip], spec: str) -> None:
    windows = MaskedWindows(clips, spec=get_feature_spec(spec), config=CONFIG, seed=0)

    batch = windows.batch(0)

    assert batch.features.shape[2:] == get_feature_spec(spec).shape
    assert np.isfinite(batch.landmarks[batch.masked]).all()
    assert not batch.masked[~batch.mask].any()
    if spec == "landmarks75":
        assert np.isnan(batch.features[batch.masked]).all()
        np.testing.assert_allclose(batch.features[~batch.masked], batch.landmarks[~batch.masked], atol=1e-5)


def test_batches_are_a_function_of_seed_and_step_and_labels_are_not_read(clips: list[Clip]) -> None:
    spec = get_feature_spec("landmarks75")
    unlabelled = [replace(clip, label=None) for clip in clips]
    first, again, other = (
        MaskedWindows(chosen, spec=spec, config=CONFIG, seed=seed).batch(5)
        for chosen, seed in ((clips, 0), (unlabelled, 0), (clips, 1))
    )

    np.testing.assert_array_equal(first.features, again.features)
    np.testing.assert_array_equal(first.masked, again.masked)
    assert first.features.shape != other.features.shape or not np.array_equal(first.masked, other.masked)


def test_long_recordings_are_cut_and_single_frames_are_taken(clips: list[Clip]) -> None:
    long = replace(
        clips[0],
        landmarks=np.concatenate([clips[0].landmarks] * 20),
        times_ms=np.arange(20 * clips[0].num_frames) * 50.0,
    )
    single = replace(clips[1], landmarks=clips[1].landmarks[:1], times_ms=np.zeros(1))

    for chosen in (long, single):
        batch = MaskedWindows([chosen], spec=get_feature_spec("hands256"), config=CONFIG, seed=0).batch(0)
        assert batch.features.shape[1] <= CONFIG.max_frames


def test_clips_that_show_nobody_teach_nothing(clips: list[Clip]) -> None:
    empty = replace(clips[0], landmarks=np.full_like(clips[0].landmarks, np.nan))
    spec = get_feature_spec("hands256")

    MaskedWindows([clips[1], empty], spec=spec, config=CONFIG, seed=0).batch(0)

    with pytest.raises(DatasetError, match="no clip to pretrain on shows anybody"):
        MaskedWindows([empty], spec=spec, config=CONFIG, seed=0)


def test_a_straight_line_bridges_what_is_masked_in_the_middle() -> None:
    times = np.arange(6, dtype=np.float32)
    landmarks = np.tile(times[None, :, None, None], (1, 1, NUM_POINTS, 3))
    masked = np.zeros((1, 6, NUM_POINTS), np.bool_)
    masked[0, 2:4, 40] = True
    masked[0, :, 41] = True

    guessed = interpolate(landmarks, masked)

    np.testing.assert_allclose(guessed[0, :, 40], landmarks[0, :, 40])
    assert (guessed[0, :, 41] == 0).all()  # never seen in the batch
    np.testing.assert_array_equal(guessed[0, :, 42], landmarks[0, :, 42])


@EACH
def test_hidden_landmarks_of_strangers_are_found_better_with_practice(config: ModelConfig, spec: str) -> None:
    people = make_clips(num_people=5, takes=2, labels=("sun", "letter_v", "rain"))
    strangers = make_clips(num_people=2, takes=1, labels=("sun", "letter_v", "rain"), seed=90)
    errors = [
        pretrain(
            people,
            config,
            PretrainingConfig(steps=steps, batch_size=16, learning_rate=4e-3, warmup_steps=5),
            feature_spec=spec,
            val=strangers,
        ).provenance["reconstruction_error"]
        for steps in (1, 40)
    ]

    assert float(errors[1]) < 0.85 * float(errors[0])  # pyright: ignore[reportArgumentType]


@EACH
def test_the_same_seed_gives_the_same_encoder_and_progress_is_told(
    clips: list[Clip], config: ModelConfig, spec: str
) -> None:
    seen: list[Progress] = []
    first, again = (
        pretrain(clips, config, CONFIG, feature_spec=spec, on_progress=listener) for listener in (seen.append, None)
    )
    other = pretrain(clips, config, CONFIG, feature_spec=spec, seed=1)

    assert first.sha256 == again.sha256 != other.sha256
    assert [progress.step for progress in seen] == [1, 2, 3]
    assert first.provenance["signers"] == ["person0", "person1", "person2"]
    assert not any(name.startswith(("classifier", "signing", "embed", "pooling")) for name in first.weights)


@EACH
def test_a_network_starts_from_the_encoder_and_keeps_its_own_heads(
    clips: list[Clip], tmp_path: Path, config: ModelConfig, spec: str
) -> None:
    path = tmp_path / "deep" / "some.pretrained.pt"
    pretrain(clips, config, CONFIG, feature_spec=spec).save(path)
    loaded = PretrainedEncoder.load(path)
    model = build_model(
        replace(config, name="another_name", head_dropout=0.4),
        num_features=get_feature_spec(spec).num_features,
        num_labels=7,
    )
    heads = model.classifier.weight.clone()

    loaded.load_into(model, feature_spec=spec)

    state = model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in loaded.weights.items())
    assert torch.equal(model.classifier.weight, heads)
    assert (loaded.feature_spec, loaded.config) == (spec, config)
    assert loaded.provenance["num_clips"] == len(clips)


@EACH
def test_training_goes_on_from_it(clips: list[Clip], config: ModelConfig, spec: str) -> None:
    encoder = pretrain(clips, config, CONFIG, feature_spec=spec)
    trainer = SignTrainer(
        config, TrainerConfig(feature_spec=spec, steps=1, batch_size=4, learning_rate=0.0, ema_decay=0.0)
    )
    dataset = LandmarkDataset(clips, labels=("letter_v", "sun", *BACKGROUND))

    trained, scratch = (trainer.fit(dataset, pretrained=start).model.state_dict() for start in (encoder, None))

    assert all(torch.equal(trained[name], value) for name, value in encoder.weights.items())
    assert any(not torch.equal(scratch[name], value) for name, value in encoder.weights.items())


def test_an_encoder_of_another_network_or_of_other_features_is_refused(clips: list[Clip]) -> None:
    encoder = pretrain(clips, TINY, CONFIG, feature_spec="hands256")
    wider = build_model(replace(TINY, width=64), num_features=256, num_labels=3)
    other_features = build_model(TINY, num_features=469, num_labels=3)

    with pytest.raises(ManifestMismatchError, match="width is 64, was 32; pretrain one for this network"):
        encoder.load_into(wider, feature_spec="hands256")
    with pytest.raises(ManifestMismatchError, match="feature spec is base469, was hands256"):
        encoder.load_into(other_features, feature_spec="base469")
    with pytest.raises(ManifestMismatchError, match="'tiny' reads features, feature spec 'landmarks75' gives"):
        pretrain(clips, TINY, CONFIG, feature_spec="landmarks75")


def test_people_seen_in_pretraining_cannot_judge(clips: list[Clip]) -> None:
    encoder = pretrain(clips, TINY, CONFIG, feature_spec="hands256")
    labels = ("letter_v", "sun", *BACKGROUND)
    train, val = ([clip for clip in clips if (clip.signer == "person2") is held] for held in (False, True))

    with pytest.raises(DatasetError, match="person2 was seen in pretraining"):
        SignTrainer(TINY, TrainerConfig(steps=1)).fit(
            LandmarkDataset(train, labels=labels), val=LandmarkDataset(val, labels=labels), pretrained=encoder
        )


def test_files_that_are_no_encoder_are_refused(clips: list[Clip], tmp_path: Path) -> None:
    path = tmp_path / "tiny.pretrained.pt"
    pretrain(clips, TINY, CONFIG, feature_spec="hands256").save(path)
    content = torch.load(path, weights_only=True)  # noqa: TID251 - to damage it
    content["weights"]["stem.0.bias"] += 1
    torch.save(content, tmp_path / "changed.pt")
    torch.save({"format": "something else"}, tmp_path / "other.pt")
    (tmp_path / "garbage.pt").write_bytes(b"garbage")

    for name, kind, complaint in (
        ("absent.pt", ModelNotFoundError, "no such file; make one with"),
        ("garbage.pt", ArtifactError, "not a readable file of weights"),
        ("other.pt", ArtifactError, "not a pretrained encoder"),
        ("changed.pt", ManifestMismatchError, "hash of the weights differs"),
    ):
        with pytest.raises(kind, match=complaint):
            PretrainedEncoder.load(tmp_path / name)
    with pytest.raises(ArtifactError, match="not a SignFlow model"):
        load_torch_artifact(path)


def test_a_recipe_says_whether_and_how_to_pretrain(clips: list[Clip]) -> None:
    recipe = get_recipe("baseline-short-pretrained")
    quick = Recipe(name="quick", model=TINY, trainer=TrainerConfig(), pretraining=CONFIG)

    encoder = pretrain_for(quick, clips, seed=3)

    assert recipe.pretraining is not None
    assert recipe.pretraining.batch_size == recipe.trainer.batch_size == 32
    assert replace(recipe, name="baseline-short", pretraining=None) == get_recipe("baseline-short")
    assert recipe.fingerprint != get_recipe("baseline-short").fingerprint
    assert encoder is not None
    assert (encoder.provenance["seed"], encoder.provenance["steps"]) == (3, 3)
    assert pretrain_for(replace(quick, pretraining=None), clips, seed=3) is None
