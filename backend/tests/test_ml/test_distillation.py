from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from app.ml.artifacts.files import save_torch_artifact
from app.ml.artifacts.manifest import ModelManifest
from app.ml.dataset import LandmarkDataset, sign_labels
from app.ml.distillation import DistillationTrainer, Teacher, distillation_loss, teacher_from
from app.ml.errors import ArtifactError, DatasetError, ManifestMismatchError
from app.ml.evaluation.unseen import hold_out, train_fold
from app.ml.inference.torch_backend import load_model
from app.ml.landmarks.features import get_feature_spec
from app.ml.model import build_model, count_parameters
from app.ml.model_configs import get_model_config
from app.ml.recordings.labels import BACKGROUND
from app.ml.trainer import Progress, ProgressListener, SignTrainer, predict_logits
from app.ml.training.config import DistillationConfig, TrainerConfig
from app.ml.training.fitting import Given, describe_model, fit_recipe
from app.ml.training.people_prior import add_people_prior
from app.ml.training.recipes import Recipe, get_recipe, total_steps
from app.ml.training.sampling import SamplingConfig
from tests.parametric_signer import IDLE, make_clips

SIGNS = ("letter_v", "rain", "sun")
LABELS = (*SIGNS, *BACKGROUND)
TINY = get_model_config("tiny")
CONFIG = TrainerConfig(
    steps=6, batch_size=8, warmup_steps=2, ema_decay=0.0, eval_every=3, sampling=SamplingConfig(max_frames=20)
)
SETTINGS = DistillationConfig(recipe="")


@pytest.fixture(scope="module")
def train() -> LandmarkDataset:
    return LandmarkDataset(make_clips(num_people=3, takes=2, labels=(*SIGNS, IDLE)), labels=LABELS)


def make_teacher(train: LandmarkDataset, *, spec: str = "hands256", labels: tuple[str, ...] = LABELS) -> Teacher:
    """A teacher that is sure of everything it says."""
    torch.manual_seed(3)
    width = get_feature_spec(spec).num_features
    model = build_model(TINY, num_features=width, num_labels=len(labels))
    model.classifier.weight.data.mul_(8.0)
    return Teacher(name="test", model=model, spec=get_feature_spec(spec), labels=labels, signers=train.signers)


def test_the_loss_is_zero_for_agreement_and_grows_with_the_distance() -> None:
    teacher = torch.tensor([[4.0, 0.0, -2.0], [0.0, 1.0, 0.0]])
    near, far = teacher + torch.tensor([0.1, 0.0, 0.0]), teacher.flip(1)

    losses = [float(distillation_loss(student, teacher, temperature=4.0)) for student in (teacher, near, far)]

    assert losses[0] == pytest.approx(0.0, abs=1e-6)
    assert 0 < losses[1] < losses[2]


def test_the_loss_is_hintons_formula() -> None:
    rng = np.random.default_rng(0)
    student, teacher = (torch.from_numpy(rng.normal(0, 2, (5, 4)).astype(np.float32)) for _ in range(2))
    soft, taught = (torch.softmax(logits / 4.0, -1) for logits in (student, teacher))

    expected = 16.0 * (taught * (taught.log() - soft.log())).sum(-1).mean()

    torch.testing.assert_close(distillation_loss(student, teacher, temperature=4.0), expected)
    assert float(distillation_loss(student[:0], teacher[:0], temperature=4.0)) == 0.0


def test_the_temperature_does_not_change_the_size_of_the_gradient_much() -> None:
    teacher = torch.tensor([[3.0, 0.0, -1.0]])
    sizes: list[float] = []
    for temperature in (4.0, 8.0):
        student = torch.zeros(1, 3, requires_grad=True)
        distillation_loss(student, teacher, temperature=temperature).backward()
        assert student.grad is not None
        sizes.append(float(student.grad.norm()))

    assert sizes[0] == pytest.approx(sizes[1], rel=0.1)


def test_a_teacher_changes_what_is_learned_and_is_not_changed_itself(train: LandmarkDataset) -> None:
    teacher = make_teacher(train)
    before = {name: value.clone() for name, value in teacher.model.state_dict().items()}

    taught = DistillationTrainer(TINY, CONFIG, teacher=teacher, distillation=SETTINGS).fit(train).model
    alone = SignTrainer(TINY, CONFIG).fit(train).model
    ignored = DistillationTrainer(TINY, CONFIG, teacher=teacher, distillation=replace(SETTINGS, alpha=0.0))

    for name, value in teacher.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not torch.equal(taught.classifier.weight, alone.classifier.weight)
    torch.testing.assert_close(ignored.fit(train).model.classifier.weight, alone.classifier.weight)


def test_a_student_comes_to_answer_as_its_teacher(train: LandmarkDataset) -> None:
    config = replace(CONFIG, steps=60, learning_rate=4e-3)
    torch.manual_seed(1)
    teacher = make_teacher(train)
    points = [example.points for example in train.examples]
    taught_by = torch.from_numpy(predict_logits(teacher.model.eval(), points, config))

    def distance(alpha: float) -> float:
        settings = replace(SETTINGS, alpha=alpha)
        student = DistillationTrainer(TINY, config, teacher=teacher, distillation=settings).fit(train).model
        answers = torch.from_numpy(predict_logits(student, points, config))
        return float(distillation_loss(answers, taught_by, temperature=1.0))

    assert distance(1.0) < 0.5 * distance(0.0)


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_a_teacher_may_read_other_features_than_its_student(train: LandmarkDataset, mixup: float) -> None:
    config = replace(CONFIG, mixup=mixup)
    trainer = DistillationTrainer(TINY, config, teacher=make_teacher(train, spec="base469"), distillation=SETTINGS)

    result = trainer.fit(train)

    assert result.model.num_features == 256
    assert all(torch.isfinite(value).all() for value in result.model.state_dict().values())


class StopAt:
    """Stands in for a power cut after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, progress: Progress, /) -> None:
        if progress.step == self.step:
            raise KeyboardInterrupt


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one_and_another_teacher_is_refused(
    train: LandmarkDataset, tmp_path: Path
) -> None:
    trainer = DistillationTrainer(TINY, CONFIG, teacher=make_teacher(train), distillation=SETTINGS)
    uninterrupted = trainer.fit(train).model.state_dict()

    with pytest.raises(KeyboardInterrupt):
        trainer.fit(train, checkpoint=tmp_path / "run.ckpt", on_progress=StopAt(4))
    other = replace(make_teacher(train), name="another")
    with pytest.raises(ArtifactError, match=r"teacher was test .*is another"):
        DistillationTrainer(TINY, CONFIG, teacher=other, distillation=SETTINGS).fit(
            train, checkpoint=tmp_path / "run.ckpt"
        )
    resumed = trainer.fit(train, checkpoint=tmp_path / "run.ckpt").model.state_dict()

    for name, value in uninterrupted.items():
        assert torch.equal(value, resumed[name]), name


def test_a_teacher_of_other_labels_is_refused_with_the_difference(train: LandmarkDataset) -> None:
    teacher = make_teacher(train, labels=("letter_v", "stone", *BACKGROUND))
    trainer = DistillationTrainer(TINY, CONFIG, teacher=teacher, distillation=SETTINGS)

    with pytest.raises(ManifestMismatchError, match="only the data has rain, sun; only the teacher has stone"):
        trainer.fit(train)


def test_a_teacher_that_has_seen_the_people_held_out_is_refused(train: LandmarkDataset) -> None:
    val = LandmarkDataset(make_clips(num_people=1, takes=1, labels=SIGNS, seed=50), labels=LABELS)
    knowing = replace(make_teacher(train), signers=("person50",))

    with pytest.raises(DatasetError, match="trained on person50, held out here"):
        DistillationTrainer(TINY, CONFIG, teacher=knowing, distillation=SETTINGS).fit(train, val=val)


def test_a_loaded_teacher_teaches_without_its_prior_on_people(tmp_path: Path) -> None:
    clips = make_clips(num_people=4, takes=1, labels=("sun",)) + make_clips(num_people=1, takes=2, labels=("rain",))
    labels = (*sign_labels(clips), *BACKGROUND)
    train = LandmarkDataset(clips, labels=labels)
    recipe = Recipe(name="quick", model=TINY, trainer=replace(CONFIG, people_prior=0.5))
    torch.manual_seed(0)
    model = build_model(TINY, num_features=256, num_labels=len(labels))
    plain = model.classifier.bias.detach().clone()
    add_people_prior(model, train, weight=0.5)
    manifest: ModelManifest = describe_model(clips, labels, recipe, version="v1", provenance={"signers": ["a"]})
    save_torch_artifact(tmp_path / "model_v1.pt", state_dict=model.state_dict(), manifest=manifest)

    teacher = teacher_from(*load_model(tmp_path / "model_v1.pt"))

    assert not torch.equal(model.classifier.bias, plain)
    torch.testing.assert_close(teacher.model.classifier.bias, plain)
    assert (teacher.labels, teacher.signers) == (labels, ("a",))


def test_a_recipe_trains_its_teacher_first_on_the_same_people_and_reports_one_run(
    train: LandmarkDataset, tmp_path: Path
) -> None:
    master = Recipe(name="master", model=TINY, trainer=replace(CONFIG, steps=3, people_prior=0.5))
    pupil = Recipe(name="pupil", model=TINY, trainer=CONFIG, distillation=DistillationConfig(recipe="master"))
    reports: list[Progress] = []

    def fit(on_progress: ProgressListener | None = None) -> dict[str, torch.Tensor]:
        result = fit_recipe(
            pupil,
            train,
            seed=0,
            checkpoint=tmp_path / "run.ckpt",
            on_progress=on_progress,
            given=Given(teacher=master),
        )
        return dict(result.model.state_dict())

    first = fit(reports.append)
    again = fit()

    assert [(report.step, report.steps) for report in reports] == [(step, 9) for step in range(1, 10)]
    assert (tmp_path / "run.teacher.ckpt").exists()
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    with pytest.raises(ArtifactError, match="teacher was recipe master"):
        DistillationTrainer(TINY, CONFIG, teacher=make_teacher(train), distillation=SETTINGS).fit(
            train, checkpoint=tmp_path / "run.ckpt"
        )


def test_the_steps_of_a_teacher_are_counted_unless_it_is_given() -> None:
    recipe = get_recipe("student+distilled")

    assert total_steps(recipe) == get_recipe("baseline").trainer.steps + recipe.trainer.steps
    assert total_steps(recipe, has_teacher=True) == recipe.trainer.steps


def test_a_fold_refuses_a_teacher_that_knows_its_person(train: LandmarkDataset) -> None:
    clips = make_clips(num_people=3, takes=1, labels=(*SIGNS, IDLE))
    recipe = Recipe(name="pupil", model=TINY, trainer=CONFIG, distillation=SETTINGS)

    with pytest.raises(DatasetError, match="trained on person0, whom this fold tests"):
        train_fold(hold_out(clips, [], person="person0"), recipe, seed=0, teacher=make_teacher(train))


def test_techniques_are_added_to_a_recipe_by_name() -> None:
    student = get_recipe("student-short+distilled")
    size = count_parameters(build_model(student.model, num_features=256, num_labels=70))

    assert student.distillation == DistillationConfig(recipe="baseline-short", temperature=4.0, alpha=0.5)
    assert 250_000 < size < 350_000
    assert get_recipe("starter+tta").tta
    curriculum = get_recipe("starter+confidence").trainer.curriculum
    assert curriculum is not None
    assert curriculum.kind == "confidence"
    assert get_recipe("starter+length").fingerprint != get_recipe("starter").fingerprint
    with pytest.raises(ValueError, match="unknown technique 'magic'; known: length, confidence, distilled, tta"):
        get_recipe("starter+magic")
