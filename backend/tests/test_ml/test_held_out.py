import logging

import numpy as np
import pytest

from app.ml.artifacts.manifest import Calibration, FamiliarityGate
from app.ml.dataset import LandmarkDataset
from app.ml.inference.confidence import STANDARD
from app.ml.inference.familiarity import RawAnswers
from app.ml.model import build_model
from app.ml.model_configs import get_model_config
from app.ml.recordings.labels import BACKGROUND
from app.ml.training.config import TrainerConfig
from app.ml.training.held_out import REPORTED, HeldOutAnswers, ask_held_out, calibrate_run
from tests.parametric_signer import IDLE, make_clips

SIGNS = ("rain", "sun")
LABELS = (*SIGNS, *BACKGROUND)


def make_answers(*, num_signs: int, num_stray: int, seed: int = 0) -> HeldOutAnswers:
    """Ann and Bob are answered right, both familiar; Bob's idle hands look like nothing known."""
    generator = np.random.default_rng(seed)
    targets = np.arange(num_signs) % 2
    logits = generator.normal(0, 0.5, (num_signs, len(LABELS))).astype(np.float32)
    logits[np.arange(num_signs), targets] += 5
    stray = generator.normal(0, 2, (num_stray, len(LABELS))).astype(np.float32)
    return HeldOutAnswers(
        raw=RawAnswers(logits, np.full_like(logits, 0.9)),
        targets=targets,
        signers=["ann" if number % 3 else "bob" for number in range(num_signs)],
        labels=LABELS,
        stray={"bob": RawAnswers(stray, np.full_like(stray, 0.5))} if num_stray else {},
    )


def test_enough_people_held_out_measure_the_confidences_and_are_named() -> None:
    answers = make_answers(num_signs=60, num_stray=30)

    calibration, calibrated_on = calibrate_run(answers, given=None)

    assert calibrated_on == "ann, bob"
    assert calibration.gate not in (None, STANDARD.gate)
    signing, stray = answers.people[0], answers.people[-1]
    assert signing.judge(calibration)[0].mean() > 0.8
    assert stray.judge(calibration)[0].max() < 0.2


def test_too_few_people_held_out_leave_the_standard_gate_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        calibration, calibrated_on = calibrate_run(make_answers(num_signs=12, num_stray=0), given=None)

    assert calibration.gate == STANDARD.gate
    assert calibrated_on.startswith("nobody: 12 clips of signs and 0 of hands that make none were held out; 40 and 20")
    assert "12 clips of signs" in caplog.text


def test_nobody_held_out_gives_the_standard_calibration_and_a_report_comes_first() -> None:
    reported = Calibration(temperature=2.0, threshold=0.3, gate=FamiliarityGate(bias=-1.0, slope=2.0))

    assert calibrate_run(None, given=None) == (STANDARD, "nobody: no clip of a sign was held out")
    assert calibrate_run(make_answers(num_signs=60, num_stray=30), given=reported) == (reported, REPORTED)


def test_signs_and_moving_hands_are_asked_about_apart() -> None:
    clips = make_clips(num_people=2, takes=2, labels=(*SIGNS, IDLE))
    val = LandmarkDataset(clips, labels=LABELS, is_complete=False)
    config = TrainerConfig(steps=1)
    network = get_model_config("tiny")
    model = build_model(network, num_features=256, num_labels=len(LABELS)).eval()
    prototypes = np.eye(len(LABELS), network.embedding, dtype=np.float32)

    answers = ask_held_out(model, val, prototypes, config)

    assert answers is not None
    assert sorted(answers.truth) == sorted([*SIGNS] * 4)
    assert set(answers.signers) == {"person0", "person1"}
    # An even idle take shows no hand at all, an odd one holds a fidget.
    assert {signer: len(raw.logits) for signer, raw in answers.stray.items()} == {"person0": 1, "person1": 1}
    assert [person.num_clips for person in answers.people] == [4, 4, 1, 1]
    idle_alone = LandmarkDataset([clip for clip in clips if clip.label == IDLE], labels=LABELS, is_complete=False)
    assert ask_held_out(model, idle_alone, prototypes, config) is None
