from collections.abc import Generator

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from app.ml.landmarks.layout import LEFT_HAND, LEFT_WRIST, NUM_POINTS, RIGHT_HAND, RIGHT_WRIST
from app.ml.spatial_encoder import GRAPH_EDGES, SPATIAL_FEATURES, SpatialLandmarkEncoder

NAN = float("nan")
PROPERTY = settings(
    derandomize=True, deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(autouse=True)
def one_thread() -> Generator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def encoder() -> SpatialLandmarkEncoder:
    torch.manual_seed(0)
    return SpatialLandmarkEncoder(joint_channels=8, joint_outputs=4).eval()


def make_landmarks(batch: int = 2, frames: int = 6, *, seed: int = 1) -> Tensor:
    return torch.randn(batch, frames, NUM_POINTS, 3, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def test_each_frame_becomes_256_values(encoder: SpatialLandmarkEncoder) -> None:
    assert SPATIAL_FEATURES == 256
    assert encoder(make_landmarks(3, 7)).shape == (3, 7, 256)
    assert encoder(make_landmarks(1, 1)).shape == (1, 1, 256)


@torch.inference_mode()
def test_every_joint_is_read_and_none_is_averaged_away(encoder: SpatialLandmarkEncoder) -> None:
    landmarks = make_landmarks(1, 1)
    before = encoder(landmarks)
    moved: list[Tensor] = []
    for joint in range(NUM_POINTS):
        changed = landmarks.clone()
        changed[:, :, joint] += 0.5
        moved.append((encoder(changed) - before).flatten())

    directions = torch.nn.functional.normalize(torch.stack(moved), dim=1)
    same = (directions @ directions.T - torch.eye(NUM_POINTS)).abs()

    assert torch.stack(moved).abs().amax(1).min() > 1e-4
    assert same.max() < 0.99  # a mean over joints would answer in one direction whichever joint moves


@torch.inference_mode()
def test_swapping_two_fingers_is_seen(encoder: SpatialLandmarkEncoder) -> None:
    landmarks = make_landmarks(1, 1)
    swapped = landmarks.clone()
    index, little = torch.arange(5, 9) + RIGHT_HAND.start, torch.arange(17, 21) + RIGHT_HAND.start
    swapped[:, :, index], swapped[:, :, little] = landmarks[:, :, little], landmarks[:, :, index]

    assert not torch.allclose(encoder(swapped), encoder(landmarks), atol=1e-3)


@PROPERTY
@given(seed=st.integers(0, 1000), number=st.sampled_from([0.0, 7.0, -1e9, float("inf")]))
@torch.inference_mode()
def test_what_stands_beside_a_missing_coordinate_changes_nothing(
    encoder: SpatialLandmarkEncoder, seed: int, number: float
) -> None:
    landmarks = make_landmarks()
    missing = torch.rand(2, 6, NUM_POINTS, generator=torch.Generator().manual_seed(seed)) < 0.4
    all_missing, one_missing = landmarks.clone(), landmarks.clone()
    all_missing[missing] = NAN
    one_missing[missing] = torch.tensor([number, NAN, number])

    assert torch.equal(encoder(all_missing), encoder(one_missing))


@torch.inference_mode()
def test_a_missing_hand_is_no_hand_in_the_middle_of_the_body(encoder: SpatialLandmarkEncoder) -> None:
    missing, centred = make_landmarks(1, 1), make_landmarks(1, 1)
    missing[:, :, LEFT_HAND] = NAN
    centred[:, :, LEFT_HAND] = 0.0

    assert torch.isfinite(encoder(missing)).all()
    assert not torch.allclose(encoder(missing), encoder(centred), atol=1e-3)


@PROPERTY
@given(padding=st.integers(1, 12), garbage=st.sampled_from([0.0, 5.0, -1e6, NAN]))
@torch.inference_mode()
def test_padding_never_changes_a_real_frame(encoder: SpatialLandmarkEncoder, padding: int, garbage: float) -> None:
    landmarks = make_landmarks(2, 6)
    padded = torch.cat([landmarks, torch.full((2, padding, NUM_POINTS, 3), garbage)], 1)
    mask = torch.arange(6 + padding).expand(2, -1) < 6

    torch.testing.assert_close(encoder(padded, mask)[:, :6], encoder(landmarks), atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_an_empty_frame_gives_numbers_and_keeps_out_of_its_neighbours_movement(encoder: SpatialLandmarkEncoder) -> None:
    landmarks = make_landmarks(1, 5)
    landmarks[:, 2:] = NAN

    torch.testing.assert_close(encoder(landmarks)[:, :2], encoder(landmarks[:, :2]), atol=1e-5, rtol=1e-4)
    assert torch.isfinite(encoder(landmarks)).all()


@torch.inference_mode()
def test_movement_is_read(encoder: SpatialLandmarkEncoder) -> None:
    pose = make_landmarks(1, 1)
    still, moving = pose.repeat(1, 3, 1, 1), pose.repeat(1, 3, 1, 1)
    moving[:, 0] -= 0.1
    moving[:, 2] += 0.1

    assert not torch.allclose(encoder(still)[:, 1], encoder(moving)[:, 1], atol=1e-3)


@torch.inference_mode()
def test_the_input_is_not_changed(encoder: SpatialLandmarkEncoder) -> None:
    landmarks = make_landmarks()
    landmarks[:, :, LEFT_HAND] = NAN
    before = landmarks.clone()

    encoder(landmarks)

    torch.testing.assert_close(landmarks, before, equal_nan=True, atol=0, rtol=0)


def test_missing_joints_stop_no_gradient(encoder: SpatialLandmarkEncoder) -> None:
    landmarks = make_landmarks()
    landmarks[0, :, RIGHT_HAND] = NAN

    encoder(landmarks).square().sum().backward()

    assert all(parameter.grad is not None for parameter in encoder.parameters())
    assert all(torch.isfinite(parameter.grad).all() for parameter in encoder.parameters() if parameter.grad is not None)


def test_hands_hang_on_the_arms_and_every_hand_bone_is_there() -> None:
    edges = set(GRAPH_EDGES)

    assert {(LEFT_WRIST, LEFT_HAND.start), (RIGHT_WRIST, RIGHT_HAND.start)} <= edges
    for hand in (LEFT_HAND, RIGHT_HAND):
        assert sum(first in range(hand.start, hand.stop) for first, _ in edges) == 21
