"""What a finished model adds to its logits.

A sign that ten people share is likelier on an eleventh than one that a single person has shown, which may be that
person's own variant.
"""

from collections.abc import Mapping, Sequence

import torch

from app.ml.dataset import LandmarkDataset
from app.ml.model import SignEncoder
from app.ml.recordings.labels import BACKGROUND


def add_people_prior(model: SignEncoder, train: LandmarkDataset, *, weight: float) -> None:
    """Add to a finished model what `TrainerConfig.people_prior` describes."""
    people: dict[str, set[str]] = {}
    for example in train.examples:
        people.setdefault(train.labels[example.target], set()).add(example.signer)
    shift_by_people(model, train.labels, {label: len(signers) for label, signers in people.items()}, weight=weight)


@torch.no_grad()
def shift_by_people(model: SignEncoder, labels: Sequence[str], people: Mapping[str, int], *, weight: float) -> None:
    """Shift each sign's logit by `weight` times the log of (its people / the most people of any sign); ours.

    With a positive weight never upwards, so that no sign gains on the background.

    Args:
        model: its classifier's bias is changed.
        labels: one per logit, in order.
        people: how many people each label was learned from.
        weight: of the logarithm; the negative of an earlier one takes that one back.
    """
    is_sign = torch.tensor([label not in BACKGROUND for label in labels])
    log_people = torch.tensor([people.get(label, 0) for label in labels], dtype=torch.float32).clamp(min=1).log()
    prior = torch.where(is_sign, log_people - log_people[is_sign].max(), torch.zeros(()))
    model.classifier.bias.add_(weight * prior.to(model.classifier.bias.device))
