import pickle
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from app.ml.dataset import LandmarkDataset, prepare
from app.ml.errors import ArtifactError, DatasetError, ManifestMismatchError, TrainingError
from app.ml.landmarks.augment import AugmentConfig
from app.ml.model import build_model
from app.ml.model_configs import Architecture, get_model_config
from app.ml.recordings.labels import BACKGROUND
from app.ml.trainer import Progress, SignTrainer, TrainingResult, TrainingStoppedError, predict_logits
from app.ml.training.averaging import WeightAverage
from app.ml.training.config import Precision, TrainerConfig
from app.ml.training.mixup import mix
from app.ml.training.optimizers import parameter_groups
from app.ml.training.sampling import Batch, SamplingConfig, WindowSampler
from app.ml.training.schedules import warmup_cosine
from tests.parametric_signer import IDLE, make_clips

TINY = replace(get_model_config("tiny"), head_dropout=0.2, drop_path=0.2)
LABELS = ("sun", "letter_v", *BACKGROUND)
CONFIG = TrainerConfig(
    feature_spec="hands256",
    steps=6,
    batch_size=6,
    learning_rate=4e-3,
    weight_decay=0.05,
    warmup_steps=2,
    label_smoothing=0.1,
    mixup=0.0,
    ema_decay=0.9,
    swa_fraction=0.0,
    clip_norm=1.0,
    signing_weight=0.5,
    eval_every=2,
    patience=0,
    people_prior=0.0,
    num_threads=1,
    seed=0,
    sampling=SamplingConfig(max_frames=30, background=0.2, stream=0.2),
    augmentation=AugmentConfig(),
)


@pytest.fixture(scope="module")
def train() -> LandmarkDataset:
    return LandmarkDataset(make_clips(num_people=2, takes=1, labels=("sun", "letter_v", IDLE)), labels=LABELS)


@pytest.fixture(scope="module")
def val() -> LandmarkDataset:
    return LandmarkDataset(make_clips(num_people=2, takes=1, labels=("sun", "letter_v"), seed=50), labels=LABELS)


def weights(result: TrainingResult) -> Mapping[str, Tensor]:
    return result.model.state_dict()


def assert_equal(first: TrainingResult, second: TrainingResult) -> None:
    for name, value in weights(first).items():
        assert torch.equal(value, weights(second)[name]), name


class StopAt:
    """Stands in for a power cut after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, progress: Progress, /) -> None:
        if progress.step == self.step:
            raise KeyboardInterrupt


class Watch:
    def __init__(self) -> None:
        self.seen: list[Progress] = []

    def __call__(self, progress: Progress, /) -> None:
        self.seen.append(progress)


def test_the_same_seed_gives_the_same_weights_to_the_last_bit_and_another_does_not(train: LandmarkDataset) -> None:
    first, again = (SignTrainer(TINY, CONFIG).fit(train) for _ in range(2))
    torch.manual_seed(99)
    other = SignTrainer(TINY, replace(CONFIG, seed=1)).fit(train)

    assert_equal(first, again)
    assert not torch.equal(weights(first)["classifier.weight"], weights(other)["classifier.weight"])


@pytest.mark.parametrize("stop_at", [4, 5], ids=["at a checkpoint", "between checkpoints"])
@pytest.mark.parametrize("changes", [{}, {"mixup": 0.4, "swa_fraction": 0.5}], ids=["plain", "mixup and SWA"])
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    train: LandmarkDataset, val: LandmarkDataset, tmp_path: Path, stop_at: int, changes: dict[str, float]
) -> None:
    trainer = SignTrainer(TINY, replace(CONFIG, **changes))
    checkpoint = tmp_path / "deep" / "run.ckpt"
    uninterrupted = trainer.fit(train, val=val)

    with pytest.raises(KeyboardInterrupt):
        trainer.fit(train, val=val, checkpoint=checkpoint, on_progress=StopAt(stop_at))
    watch = Watch()
    resumed = trainer.fit(train, val=val, checkpoint=checkpoint, on_progress=watch)

    assert [progress.step for progress in watch.seen] == [5, 6]
    assert_equal(resumed, uninterrupted)
    assert resumed.history == uninterrupted.history


def test_a_run_that_is_stopped_goes_on_from_that_very_step(
    train: LandmarkDataset, val: LandmarkDataset, tmp_path: Path
) -> None:
    def stop_at_3(progress: Progress) -> None:
        if progress.step == 3:
            raise TrainingStoppedError

    trainer, checkpoint, watch = SignTrainer(TINY, CONFIG), tmp_path / "run.ckpt", Watch()
    uninterrupted = trainer.fit(train, val=val)

    with pytest.raises(TrainingStoppedError):
        trainer.fit(train, val=val, checkpoint=checkpoint, on_progress=stop_at_3)
    resumed = trainer.fit(train, val=val, checkpoint=checkpoint, on_progress=watch)

    assert [progress.step for progress in watch.seen] == [4, 5, 6]
    assert_equal(resumed, uninterrupted)
    assert resumed.history == uninterrupted.history


def test_a_finished_run_is_not_trained_again(train: LandmarkDataset, tmp_path: Path) -> None:
    trainer, checkpoint, watch = SignTrainer(TINY, CONFIG), tmp_path / "run.ckpt", Watch()

    first = trainer.fit(train, checkpoint=checkpoint)
    again = trainer.fit(train, checkpoint=checkpoint, on_progress=watch)

    assert watch.seen == []
    assert_equal(again, first)
    assert again.history == first.history


def test_progress_is_told_after_every_step_and_judged_at_every_evaluation(
    train: LandmarkDataset, val: LandmarkDataset
) -> None:
    watch = Watch()
    result = SignTrainer(TINY, replace(CONFIG, steps=5)).fit(train, val=val, on_progress=watch)

    assert [progress.step for progress in watch.seen] == [1, 2, 3, 4, 5]
    assert [progress.step for progress in watch.seen if progress.val_accuracy is not None] == [2, 4, 5]
    assert [progress.step for progress in result.history] == [2, 4, 5]
    assert all(np.isfinite(progress.loss) for progress in watch.seen)
    expected = [4e-3 * warmup_cosine(step, warmup_steps=2, total_steps=5) for step in range(5)]
    assert [progress.learning_rate for progress in watch.seen] == pytest.approx(expected)


def test_how_long_each_step_waited_for_its_batch_is_told(
    train: LandmarkDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_slowly(sampler: WindowSampler, step: int) -> Batch:
        if step == 0:
            time.sleep(0.5)
        return make(sampler, step)

    make = WindowSampler.batch
    monkeypatch.setattr(WindowSampler, "batch", make_slowly)
    reports: list[Progress] = []

    SignTrainer(get_model_config("tiny"), CONFIG).fit(train, on_progress=reports.append)

    assert reports[0].waited_s >= 0.5
    assert min(report.waited_s for report in reports) < 0.5


def test_training_stops_when_validation_has_not_improved_for_as_long_as_allowed(
    train: LandmarkDataset, val: LandmarkDataset, tmp_path: Path
) -> None:
    config = replace(CONFIG, learning_rate=0.0, steps=50, eval_every=1, patience=2)
    checkpoint, watch = tmp_path / "run.ckpt", Watch()

    stopped = SignTrainer(TINY, config).fit(train, val=val, checkpoint=checkpoint)
    again = SignTrainer(TINY, config).fit(train, val=val, checkpoint=checkpoint, on_progress=watch)

    assert [progress.step for progress in stopped.history] == [1, 2, 3]  # the first is the best; two are no better
    assert watch.seen == []
    assert again.history == stopped.history


def test_the_result_is_ready_to_answer(train: LandmarkDataset) -> None:
    model = SignTrainer(TINY, CONFIG).fit(train).model

    assert not model.training
    assert model.num_labels == len(LABELS)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_averages_are_used_when_they_are_on(train: LandmarkDataset) -> None:
    plain = SignTrainer(TINY, replace(CONFIG, ema_decay=0.0)).fit(train)
    averaged = SignTrainer(TINY, CONFIG).fit(train)
    last_only = SignTrainer(TINY, replace(CONFIG, swa_fraction=1 / 6)).fit(train)

    assert not torch.equal(weights(plain)["classifier.weight"], weights(averaged)["classifier.weight"])
    assert_equal(last_only, plain)  # the mean over the last step alone


def test_a_sign_of_few_people_must_convince_more_and_background_is_left_alone() -> None:
    clips = make_clips(num_people=4, takes=1, labels=("sun",))
    clips += make_clips(num_people=1, takes=5, labels=("letter_v",))
    train = LandmarkDataset(clips, labels=LABELS)
    config = replace(CONFIG, steps=1)

    plain = weights(SignTrainer(TINY, config).fit(train))
    prior = weights(SignTrainer(TINY, replace(config, people_prior=0.5)).fit(train))

    shift = prior["classifier.bias"] - plain["classifier.bias"]
    torch.testing.assert_close(shift, torch.tensor([0.0, -0.5 * float(np.log(4)), 0.0, 0.0]), atol=1e-6, rtol=1e-6)
    assert torch.equal(prior["classifier.weight"], plain["classifier.weight"])


def test_windows_without_any_class_still_teach_where_signs_are(train: LandmarkDataset) -> None:
    watch = Watch()
    config = replace(CONFIG, steps=2, sampling=replace(CONFIG.sampling, stream=1.0))

    result = SignTrainer(TINY, config).fit(train, on_progress=watch)

    assert all(0 < progress.loss < 10 for progress in watch.seen)
    assert all(torch.isfinite(value).all() for value in weights(result).values())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_trains_and_resumes_to_the_same_weights(
    train: LandmarkDataset, tmp_path: Path, precision: Precision
) -> None:
    trainer = SignTrainer(TINY, replace(CONFIG, precision=precision, device="cpu"))
    checkpoint = tmp_path / "run.ckpt"

    whole, exact = trainer.fit(train), SignTrainer(TINY, CONFIG).fit(train)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(train, checkpoint=checkpoint, on_progress=StopAt(5))
    resumed = trainer.fit(train, checkpoint=checkpoint)

    assert_equal(resumed, whole)
    assert all(value.dtype == torch.float32 for value in weights(whole).values())
    for name, value in weights(exact).items():
        assert torch.isfinite(weights(whole)[name]).all()
        torch.testing.assert_close(weights(whole)[name], value, atol=0.05, rtol=0.05)
    assert not torch.equal(weights(whole)["stem.0.weight"], weights(exact)["stem.0.weight"])
    assert [progress.loss for progress in whole.history] == pytest.approx(
        [progress.loss for progress in exact.history], rel=0.05
    )


def test_a_device_that_is_not_there_is_refused_with_what_to_do() -> None:
    with pytest.raises(TrainingError, match=r"device 'cuda:7' cannot be used here \(.*leave it out, or name cpu"):
        SignTrainer(TINY, replace(CONFIG, device="cuda:7"))
    with pytest.raises(TrainingError, match="device 'abacus' cannot be used here"):
        SignTrainer(TINY, replace(CONFIG, device="abacus"))


def test_copies_of_training_clips_under_another_name_are_refused(train: LandmarkDataset) -> None:
    clips = make_clips(num_people=2, takes=1, labels=("sun", "letter_v", IDLE))
    renamed = [replace(clip, signer="somebody else", clip_id="copy") for clip in clips]

    with pytest.raises(DatasetError, match="validation recordings are copies of training ones"):
        SignTrainer(TINY, CONFIG).fit(train, val=LandmarkDataset(renamed, labels=LABELS))


def test_a_checkpoint_of_another_feature_spec_is_refused_with_the_difference(
    train: LandmarkDataset, finished: Path
) -> None:
    other = SignTrainer(TINY, replace(CONFIG, steps=1, feature_spec="base469"))

    with pytest.raises(ArtifactError, match=r"another run \(feature_spec was hands256, is base469\)"):
        other.fit(train, checkpoint=finished)


def test_the_number_of_threads_is_as_it_was_after_training(train: LandmarkDataset) -> None:
    before = torch.get_num_threads()

    with pytest.raises(KeyboardInterrupt):
        SignTrainer(TINY, replace(CONFIG, num_threads=before + 1)).fit(train, on_progress=StopAt(1))

    assert torch.get_num_threads() == before


def test_people_on_both_sides_are_refused(train: LandmarkDataset) -> None:
    same_people = LandmarkDataset(make_clips(num_people=1, takes=1, labels=("sun",)), labels=LABELS, is_complete=False)

    with pytest.raises(DatasetError, match="person0 would be on both sides"):
        SignTrainer(TINY, CONFIG).fit(train, val=same_people)


def test_sides_with_different_labels_are_refused(train: LandmarkDataset) -> None:
    val = LandmarkDataset(make_clips(num_people=1, takes=1, labels=("sun",), seed=50), labels=("sun", *BACKGROUND))

    with pytest.raises(DatasetError, match="different labels"):
        SignTrainer(TINY, CONFIG).fit(train, val=val)


@pytest.fixture(scope="module")
def finished(train: LandmarkDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    checkpoint = tmp_path_factory.mktemp("finished") / "run.ckpt"
    SignTrainer(TINY, replace(CONFIG, steps=1)).fit(train, checkpoint=checkpoint)
    return checkpoint


def test_a_checkpoint_of_another_configuration_is_refused(train: LandmarkDataset, finished: Path) -> None:
    for trainer in (
        SignTrainer(TINY, replace(CONFIG, steps=1, seed=1)),
        SignTrainer(TINY, replace(CONFIG, steps=2)),
        SignTrainer(replace(TINY, width=48), replace(CONFIG, steps=1)),
    ):
        with pytest.raises(ArtifactError, match=r"run\.ckpt belongs to another run"):
            trainer.fit(train, checkpoint=finished)


def test_a_checkpoint_of_other_recordings_is_refused_even_when_there_are_as_many(finished: Path) -> None:
    others = make_clips(num_people=2, takes=1, labels=("sun", "letter_v", IDLE), seed=7)

    with pytest.raises(ArtifactError, match="belongs to another run"):
        SignTrainer(TINY, replace(CONFIG, steps=1)).fit(LandmarkDataset(others, labels=LABELS), checkpoint=finished)


class Opened:
    """Unpickling an object of this class by the usual way creates a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


def test_a_damaged_checkpoint_is_refused_with_what_to_do(
    train: LandmarkDataset, finished: Path, tmp_path: Path
) -> None:
    content, damaged = finished.read_bytes(), tmp_path / "damaged.ckpt"
    for bad in (b"", b"garbage", content[: len(content) // 2], pickle.dumps({"identity": ""}, 2), pickle.dumps([1], 2)):
        damaged.write_bytes(bad)
        with pytest.raises(ArtifactError, match=r"damaged\.ckpt is not a readable checkpoint .*delete it"):
            SignTrainer(TINY, CONFIG).fit(train, checkpoint=damaged)


def test_a_checkpoint_cannot_run_code(train: LandmarkDataset, tmp_path: Path) -> None:
    evil, victim = tmp_path / "evil.ckpt", tmp_path / "victim"
    torch.save({"identity": "", "state": Opened(str(victim))}, evil)

    with pytest.raises(ArtifactError, match="not a readable checkpoint"):
        SignTrainer(TINY, CONFIG).fit(train, checkpoint=evil)
    assert not victim.exists()


@pytest.mark.parametrize("architecture", list(Architecture))
def test_norms_and_biases_do_not_decay_and_everything_is_in_one_group(architecture: Architecture) -> None:
    config = replace(TINY, architecture=architecture, joint_channels=4, joint_outputs=2, num_tokens=8)
    model = build_model(config, num_features=225, num_labels=3)
    names = {id(parameter): name for name, parameter in model.named_parameters()}

    decaying, steady = parameter_groups(model, 0.05)

    assert (decaying["weight_decay"], steady["weight_decay"]) == (0.05, 0.0)
    in_steady = {names[id(parameter)] for parameter in steady["params"]}  # pyright: ignore[reportGeneralTypeIssues]
    in_decaying = {names[id(parameter)] for parameter in decaying["params"]}  # pyright: ignore[reportGeneralTypeIssues]
    norms = {
        f"{name}.{part}"
        for name, module in model.named_modules()
        if isinstance(module, nn.LayerNorm)
        for part in ("weight", "bias")
    }
    assert norms <= in_steady
    assert {name for name in names.values() if name.endswith("bias")} <= in_steady
    assert {"classifier.weight", "stem.0.weight", "attention_blocks.0.qkv.weight"} <= in_decaying
    assert in_steady | in_decaying == set(names.values())
    assert not in_steady & in_decaying


def set_weights(layer: nn.Linear, value: float) -> nn.Linear:
    with torch.no_grad():
        layer.weight.fill_(value)
        layer.bias.fill_(-value)
    return layer


def test_the_plain_average_is_the_mean_of_all_updates() -> None:
    layer = set_weights(nn.Linear(2, 1), 100.0)
    average = WeightAverage(layer, decay=None)
    for value in (1.0, 2.0, 6.0):
        average.update(set_weights(layer, value))

    assert average.num_updates == 3
    assert average.weights["weight"].tolist() == [[pytest.approx(3.0), pytest.approx(3.0)]]
    assert average.weights["bias"].tolist() == [pytest.approx(-3.0)]


def test_an_exponential_average_forgets_its_start_quickly_and_then_keeps_its_decay() -> None:
    layer = set_weights(nn.Linear(2, 1), 0.0)
    average = WeightAverage(layer, decay=0.5)
    expected = 0.0
    for number, value in enumerate((4.0, 8.0, 2.0, 5.0, 7.0, 3.0, 9.0, 1.0, 6.0, 2.0, 4.0, 8.0), start=1):
        average.update(set_weights(layer, value))
        keep = min(0.5, number / (10 + number))
        expected = keep * expected + (1 - keep) * value

        assert average.weights["weight"][0, 0].item() == pytest.approx(expected, rel=1e-5)


def test_an_average_goes_on_where_it_was_saved() -> None:
    layer = set_weights(nn.Linear(2, 1), 0.0)
    whole, first_half = WeightAverage(layer, decay=0.9), WeightAverage(layer, decay=0.9)
    second_half = WeightAverage(set_weights(nn.Linear(2, 1), 5.0), decay=0.9)
    for average in (whole, first_half):
        average.update(set_weights(layer, 3.0))
    second_half.load_state_dict(first_half.state_dict())
    for average in (whole, second_half):
        average.update(set_weights(layer, -1.0))

    assert torch.equal(second_half.weights["weight"], whole.weights["weight"])
    assert second_half.num_updates == 2


def test_an_average_does_not_follow_the_model_by_itself() -> None:
    layer = set_weights(nn.Linear(2, 1), 1.0)
    average = WeightAverage(layer, decay=0.9)
    set_weights(layer, 9.0)

    assert average.weights["weight"].tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.1), (4, 0.5), (9, 1.0), (10, 1.0), (60, 0.01 + 0.99 / 2), (110, 0.01), (500, 0.01)],
)
def test_the_learning_rate_warms_up_and_follows_half_a_cosine(step: int, expected: float) -> None:
    assert warmup_cosine(step, warmup_steps=10, total_steps=110) == pytest.approx(expected)


def test_the_learning_rate_needs_no_warm_up() -> None:
    assert warmup_cosine(0, warmup_steps=0, total_steps=10) == 1.0
    assert warmup_cosine(10, warmup_steps=10, total_steps=10) == 1.0


def test_mixing_blends_each_window_with_its_neighbour_and_padding_with_nothing() -> None:
    features = torch.tensor([[[1.0], [2.0], [3.0]], [[10.0], [20.0], [99.0]]])
    mask = torch.tensor([[True, True, True], [True, True, False]])

    mixed, real = mix(features, mask, weight=0.75)

    torch.testing.assert_close(mixed[0, :, 0], torch.tensor([3.25, 6.5, 2.25]))
    torch.testing.assert_close(mixed[1, :, 0], torch.tensor([7.75, 15.5, 0.75]))
    assert real.tolist() == [[True, True, True], [True, True, True]]


def test_mixing_landmarks_takes_what_one_of_the_two_lacks_from_the_other() -> None:
    landmarks = torch.tensor([[1.0, torch.nan, torch.nan], [3.0, 5.0, torch.nan]]).reshape(2, 1, 1, 3)
    mask = torch.ones(2, 1, dtype=torch.bool)

    mixed, _ = mix(landmarks, mask, weight=0.75)

    expected = torch.tensor([[1.5, 5.0, torch.nan], [2.5, 5.0, torch.nan]]).reshape(2, 1, 1, 3)
    torch.testing.assert_close(mixed, expected, equal_nan=True)


def test_a_network_of_landmarks_is_not_trained_on_features() -> None:
    with pytest.raises(
        ManifestMismatchError, match="'spatial' reads landmarks, feature spec 'hands256' gives features"
    ):
        SignTrainer(get_model_config("spatial"), CONFIG)


def test_mixing_with_full_weight_changes_nothing_real() -> None:
    features, mask = torch.randn(3, 4, 2), torch.ones(3, 4, dtype=torch.bool)

    torch.testing.assert_close(mix(features, mask, weight=1.0)[0], features)


def test_logits_of_clips_do_not_depend_on_their_order_or_their_company() -> None:
    windows = [prepare(clip) for clip in make_clips(num_people=1, takes=2, labels=("sun", "letter_v", "rain"))]
    torch.manual_seed(0)
    model = build_model(TINY, num_features=256, num_labels=4).eval()

    together = predict_logits(model, windows, CONFIG)
    reversed_order = predict_logits(model, windows[::-1], CONFIG, batch_size=2)
    alone = np.concatenate([predict_logits(model, [window], CONFIG) for window in windows])

    assert together.shape == (6, 4)
    np.testing.assert_allclose(reversed_order[::-1], together, atol=1e-5)
    np.testing.assert_allclose(alone, together, atol=1e-5)
    assert predict_logits(model, [], CONFIG).shape == (0, 4)


def test_somebody_who_was_never_seen_is_understood_above_chance() -> None:
    signs = ("sun", "rain", "stone", "letter_v")
    labels = (*signs, *BACKGROUND)
    train = LandmarkDataset(make_clips(num_people=5, takes=2, labels=(*signs, IDLE)), labels=labels)
    strangers = LandmarkDataset(make_clips(num_people=4, takes=1, labels=signs, seed=200), labels=labels)
    config = replace(CONFIG, steps=60, batch_size=24, warmup_steps=10, eval_every=60)

    result = SignTrainer(get_model_config("tiny"), config).fit(train, val=strangers)

    assert result.history[-1].val_accuracy is not None
    assert result.history[-1].val_accuracy > 0.6
