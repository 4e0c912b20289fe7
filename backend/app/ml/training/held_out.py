"""What a trained model says of the people who were held out of its training, and the calibration that follows from it.

Shapes: N clips, C labels.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.ml.artifacts.manifest import Calibration
from app.ml.dataset import LandmarkDataset
from app.ml.evaluation.calibration import PersonAnswers, explain_shortage, fit_calibration
from app.ml.inference.confidence import NOBODY, STANDARD
from app.ml.inference.familiarity import RawAnswers, measure_familiarity
from app.ml.landmarks.layout import has_hands_in_view
from app.ml.model import SignEncoder
from app.ml.recordings.labels import BACKGROUND
from app.ml.trainer import predict
from app.ml.training.config import TrainerConfig
from app.ml.types import FloatArray

logger = logging.getLogger(__name__)

REPORTED: Final = "a report on unseen people"
"""What a model's provenance says of a calibration that was not fitted in its own training."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOutAnswers:
    """Logits and familiarity `[N, C]` for the held-out people's clips of signs, and each clip's sign and signer.

    `stray` has the same for their clips of hands in view that make no sign, by signer.
    """

    raw: RawAnswers
    targets: NDArray[np.int64]
    signers: list[str]
    labels: Sequence[str]
    stray: dict[str, RawAnswers]

    @property
    def truth(self) -> list[str]:
        """What each clip shows."""
        return [self.labels[int(target)] for target in self.targets]

    @property
    def people(self) -> list[PersonAnswers]:
        """The same, person by person, for calibration."""
        is_sign = np.array([label not in BACKGROUND for label in self.labels])
        by_signer = {
            signer: np.array([one == signer for one in self.signers], np.bool_) for signer in sorted(set(self.signers))
        }
        return [
            *(
                PersonAnswers(
                    raw=RawAnswers(*(values[chosen] for values in self.raw)),
                    targets=self.targets[chosen],
                    is_sign=is_sign,
                )
                for chosen in by_signer.values()
            ),
            *(PersonAnswers(raw=raw, targets=None, is_sign=is_sign) for raw in self.stray.values()),
        ]

    @property
    def predicted(self) -> list[str]:
        """The model's first answer to each clip."""
        return [self.labels[int(answer)] for answer in self.raw.logits.argmax(1)]


def ask_held_out(
    model: SignEncoder, val: LandmarkDataset, prototypes: FloatArray, config: TrainerConfig
) -> HeldOutAnswers | None:
    """What the model says of the people held out; None where they have no clip of a sign."""
    is_background = [val.labels[example.target] in BACKGROUND for example in val.examples]
    judged = [one for one, is_other in zip(val.examples, is_background, strict=True) if not is_other]
    if not judged:
        return None
    stray: dict[str, list[FloatArray]] = {}
    for one, is_other in zip(val.examples, is_background, strict=True):
        if is_other and has_hands_in_view(one.points):
            stray.setdefault(one.signer, []).append(one.points)

    def ask(windows: list[FloatArray]) -> RawAnswers:
        said = predict(model, windows, config)
        return RawAnswers(said.logits, measure_familiarity(said.embeddings, prototypes))

    return HeldOutAnswers(
        raw=ask([example.points for example in judged]),
        targets=np.array([example.target for example in judged], np.int64),
        signers=[example.signer for example in judged],
        labels=val.labels,
        stray={signer: ask(windows) for signer, windows in sorted(stray.items())},
    )


def calibrate_run(answers: HeldOutAnswers | None, *, given: Calibration | None) -> tuple[Calibration, str]:
    """The calibration, and on whom it was fitted; says so where the confidences were not measured.

    The people held out decide its few numbers and nothing else: their accuracy, which none of these changes, stays
    honest.

    Args:
        answers: of the people held out; None where nobody was.
        given: from a report on unseen people, which comes first.
    """
    if given is not None:
        return given, REPORTED
    if answers is None:
        return STANDARD, f"{NOBODY}: no clip of a sign was held out"
    people = answers.people
    calibration, shortage = fit_calibration(people), explain_shortage(people)
    if shortage is not None:
        logger.warning("confidences are those of the shipped model, not measured: %s", shortage)
        return calibration, f"{NOBODY}: {shortage}"
    return calibration, ", ".join(sorted(set(answers.signers)))
