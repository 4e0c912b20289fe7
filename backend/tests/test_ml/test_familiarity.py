import numpy as np
import pytest

from app.ml.artifacts.manifest import manifest_from_json, manifest_to_json
from app.ml.artifacts.prototypes import prototypes_from_text, prototypes_to_text
from app.ml.errors import ArtifactError
from app.ml.inference.familiarity import (
    CLIPS_A_LABEL,
    RawAnswers,
    choose_clips,
    learn_prototypes,
    mean_answers,
    measure_familiarity,
)
from app.ml.types import FloatArray
from tests.untrained_model import LABELS, make_manifest


def make_embeddings(num: int, *, seed: int = 0) -> FloatArray:
    values = np.random.default_rng(seed).normal(size=(num, 16)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_a_prototype_is_the_direction_of_the_mean_and_a_label_without_clips_is_familiar_to_nothing() -> None:
    embeddings = make_embeddings(7)
    targets = np.array([0, 0, 0, 2, 2, 2, 2])

    prototypes = learn_prototypes(embeddings, targets, num_labels=3)

    mean = embeddings[:3].mean(0)
    np.testing.assert_allclose(prototypes[0], mean / np.linalg.norm(mean), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(prototypes, axis=1), [1, 0, 1], atol=1e-6)
    assert (measure_familiarity(embeddings, prototypes)[:, 1] == 0).all()


def test_familiarity_is_one_for_the_prototype_and_never_negative() -> None:
    prototypes = make_embeddings(4)

    familiarity = measure_familiarity(np.concatenate([prototypes, -prototypes]), prototypes)

    np.testing.assert_allclose(familiarity[:4].diagonal(), 1, atol=1e-6)
    assert (familiarity[4:].diagonal() == 0).all()
    assert (familiarity >= 0).all()
    assert (familiarity <= 1).all()


def test_without_prototypes_there_is_no_familiarity() -> None:
    nothing = prototypes_from_text("", num_labels=5)

    assert measure_familiarity(make_embeddings(3), nothing).shape == (3, 0)


def test_large_labels_are_thinned_evenly_and_small_ones_kept_whole() -> None:
    targets = np.repeat([3, 1, 0], [7, 10 * CLIPS_A_LABEL, CLIPS_A_LABEL])

    chosen = choose_clips(targets)

    assert np.bincount(targets[chosen]).tolist() == [CLIPS_A_LABEL, CLIPS_A_LABEL, 0, 7]
    of_large = np.sort(chosen[targets[chosen] == 1]) - 7
    np.testing.assert_array_equal(of_large, np.arange(CLIPS_A_LABEL) * 10)
    assert choose_clips(np.zeros(0, np.int64)).shape == (0,)


def test_views_are_averaged_one_by_one() -> None:
    views = [RawAnswers(np.full((2, 3), value, np.float32), np.full((2, 3), value / 4, np.float32)) for value in (1, 3)]

    mean = mean_answers(views)

    assert (mean.logits == 2).all()
    assert (mean.familiarity == 0.5).all()


def test_prototypes_survive_a_manifest() -> None:
    prototypes = make_embeddings(len(LABELS))
    manifest = make_manifest(prototypes=prototypes_to_text(prototypes))

    again = manifest_from_json(manifest_to_json(manifest))

    np.testing.assert_allclose(prototypes_from_text(again.prototypes, num_labels=len(LABELS)), prototypes, atol=1e-3)


@pytest.mark.parametrize(
    "text",
    [
        "no base64!",
        "AAA=",
        prototypes_to_text(np.ones((len(LABELS) + 1, 1), np.float32)),
        prototypes_to_text(np.full((len(LABELS), 4), np.nan, np.float32)),
    ],
)
def test_prototypes_that_do_not_fit_the_labels_are_refused(text: str) -> None:
    with pytest.raises(ArtifactError, match="prototypes: they are not a row of numbers for each label"):
        manifest_from_json(manifest_to_json(make_manifest(prototypes=text)))
