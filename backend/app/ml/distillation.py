"""Distillation: a small student learns what a large, frozen teacher thinks of every window (Hinton et al. 2015).

Shapes: B batch, C labels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from app.ml.artifacts.manifest import ModelManifest
from app.ml.dataset import LandmarkDataset
from app.ml.errors import DatasetError, ManifestMismatchError
from app.ml.landmarks.features import FeatureSpec, get_feature_spec
from app.ml.model import SignEncoder
from app.ml.model_configs import ModelConfig
from app.ml.trainer import SignTrainer
from app.ml.training.config import DistillationConfig, TrainerConfig
from app.ml.training.objectives import LossConfig, SignObjective, Windows
from app.ml.training.people_prior import shift_by_people
from app.ml.training.pretrained import PretrainedEncoder
from app.ml.training.sampling import IGNORE
from app.ml.training.world import ALONE, World


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Teacher:
    """A trained model whose logits are taught, without the prior on people that a finished model adds to them.

    Attributes:
        name: what a checkpoint's identity and the student's provenance say, e.g. a recipe or a hash of weights.
        labels: one per logit, in order.
        signers: whom it was trained on.
    """

    name: str
    model: SignEncoder
    spec: FeatureSpec
    labels: tuple[str, ...]
    signers: tuple[str, ...]


def teacher_from(model: SignEncoder, manifest: ModelManifest) -> Teacher:
    """A teacher out of a loaded artifact; its prior on people is taken off when the manifest says how strong it was."""
    prior = manifest.provenance.get("people_prior", 0.0)
    people = {label.label: label.num_people for label in manifest.labels}
    if isinstance(prior, float | int) and prior:
        shift_by_people(model, manifest.label_names, people, weight=-float(prior))
    signers = manifest.provenance.get("signers", [])
    return Teacher(
        name=f"weights {manifest.weights_sha256[:16]}",
        model=model,
        spec=get_feature_spec(manifest.feature_spec),
        labels=manifest.label_names,
        signers=tuple(signers) if isinstance(signers, list) else (),
    )


class DistillationObjective(SignObjective):
    """`SignObjective` in which the teacher's softened probabilities take the share `alpha` of the class loss.

    Windows that show no class (stretches of streams) are not asked about: the teacher was never taught what to say.
    """

    def __init__(self, config: LossConfig, *, teacher: SignEncoder, distillation: DistillationConfig) -> None:
        """Take the teacher, which is not changed."""
        super().__init__(config)
        self._teacher = teacher
        self._distillation = distillation

    def _with_teacher(self, loss: Tensor, logits: Tensor, classes: Tensor, windows: Windows) -> Tensor:
        alpha = self._distillation.alpha
        with torch.no_grad():
            taught = self._teacher(windows.for_teacher, windows.mask).logits.float()
        shows_class = classes != IGNORE
        soft = distillation_loss(logits[shows_class], taught[shows_class], temperature=self._distillation.temperature)
        return (1 - alpha) * loss + alpha * soft


def distillation_loss(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """Divergence of the student's softened probabilities from the teacher's, times the temperature's square.

    The square keeps the gradient's size whatever the temperature (Hinton et al. 2015, section 2).

    Args:
        student: logits `[B, C]`.
        teacher: logits `[B, C]`.
        temperature: divides both.

    Returns:
        A scalar, the mean over the batch; zero when both agree or the batch is empty.
    """
    if len(student) == 0:
        return student.sum() * 0
    log_student = functional.log_softmax(student / temperature, dim=-1)
    log_teacher = functional.log_softmax(teacher / temperature, dim=-1)
    return temperature**2 * functional.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)


class DistillationTrainer(SignTrainer):
    """Trains a student by what a frozen teacher says of every window and by the true labels."""

    def __init__(
        self,
        model_config: ModelConfig,
        config: TrainerConfig,
        *,
        teacher: Teacher,
        distillation: DistillationConfig,
        world: World = ALONE,
    ) -> None:
        """Take the student's settings and the teacher, which is frozen here.

        Raises:
            TrainingError: the device that the settings name is not there.
        """
        super().__init__(model_config, config, world=world)
        self._teacher = teacher
        self._distillation = distillation
        teacher.model.eval().requires_grad_(False).to(self._device.torch_device)
        self._teacher_spec = None if teacher.spec == self._spec else teacher.spec

    def _objective(self) -> SignObjective:
        return DistillationObjective(self._loss_config(), teacher=self._teacher.model, distillation=self._distillation)

    def _identity(self, train: LandmarkDataset, pretrained: PretrainedEncoder | None) -> dict[str, str]:
        about = f"{self._teacher.name} {self._distillation}"
        return {**super()._identity(train, pretrained), "teacher": about}

    def _check(self, train: LandmarkDataset, val: LandmarkDataset | None) -> None:
        super()._check(train, val)
        if self._teacher.labels != train.labels:
            ours, theirs = set(train.labels), set(self._teacher.labels)
            differences = [
                f"only the {who} has {', '.join(sorted(labels))}"
                for who, labels in (("data", ours - theirs), ("teacher", theirs - ours))
                if labels
            ]
            msg = (
                f"the teacher ({self._teacher.name}) answers other labels than the data has: "
                f"{'; '.join(differences) or 'the same in another order'}; train a teacher on the same signs"
            )
            raise ManifestMismatchError(msg)
        seen = set() if val is None else set(val.signers) & set(self._teacher.signers)
        if seen:
            msg = (
                f"the teacher ({self._teacher.name}) was trained on {', '.join(sorted(seen))}, held out here: what it "
                "knows of them would pass to the student; train a teacher without them"
            )
            raise DatasetError(msg)
