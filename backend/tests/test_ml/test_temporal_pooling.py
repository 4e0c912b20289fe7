from collections.abc import Generator

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from app.ml.errors import InvalidLandmarksError
from app.ml.temporal_pooling import DILATIONS, NUM_TOKENS, TemporalConvPooling

CHANNELS = 6
PROPERTY = settings(
    derandomize=True, deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(autouse=True)
def one_thread() -> Generator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_pooling(*, seed: int = 0) -> TemporalConvPooling:
    torch.manual_seed(seed)
    return TemporalConvPooling(CHANNELS).eval()


def make_plain() -> TemporalConvPooling:
    """Convolutions that add nothing, so that only the pooling is left."""
    pooling = make_pooling()
    for convolution in pooling.convolutions:
        torch.nn.init.zeros_(convolution.weight)  # pyright: ignore[reportArgumentType]
        torch.nn.init.zeros_(convolution.bias)  # pyright: ignore[reportArgumentType]
    return pooling


def make_frames(batch: int, frames: int, *, seed: int = 1) -> Tensor:
    return torch.randn(batch, frames, CHANNELS, generator=torch.Generator().manual_seed(seed))


def lengths_of(*values: int) -> Tensor:
    return torch.tensor(values)


def test_the_dilations_are_those_promised() -> None:
    assert DILATIONS == (1, 2, 4)
    assert [convolution.dilation for convolution in make_pooling().convolutions] == [(1,), (2,), (4,)]


@PROPERTY
@given(frames=st.integers(1, 200))
@torch.inference_mode()
def test_any_length_becomes_64_tokens(frames: int) -> None:
    tokens = make_pooling()(make_frames(2, frames), lengths_of(frames, max(1, frames // 2)))

    assert tokens.shape == (2, NUM_TOKENS, CHANNELS)
    assert NUM_TOKENS == 64
    assert torch.isfinite(tokens).all()


@PROPERTY
@given(
    frames=st.integers(1, 150),
    padding=st.integers(1, 80),
    garbage=st.sampled_from([0.0, 1.0, -1e6, float("nan"), float("inf")]),
)
@torch.inference_mode()
def test_padding_never_changes_a_token(frames: int, padding: int, garbage: float) -> None:
    pooling, x = make_pooling(), make_frames(1, frames)
    padded = torch.cat([x, torch.full((1, padding, CHANNELS), garbage)], dim=1)

    alone, with_padding = pooling(x, lengths_of(frames)), pooling(padded, lengths_of(frames))

    torch.testing.assert_close(with_padding, alone, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_a_batch_of_different_lengths_gives_what_each_sequence_gives_alone() -> None:
    pooling, x, lengths = make_pooling(), make_frames(4, 90), [90, 64, 13, 1]

    together = pooling(x, lengths_of(*lengths))

    for row, length in enumerate(lengths):
        alone = pooling(x[row : row + 1, :length], lengths_of(length))
        torch.testing.assert_close(together[row], alone[0], atol=1e-5, rtol=1e-4)


@PROPERTY
@given(frames=st.integers(1, 200))
@torch.inference_mode()
def test_every_frame_weighs_the_same_in_the_tokens(frames: int) -> None:
    x = make_frames(1, frames)

    tokens = make_plain()(x, lengths_of(frames))

    torch.testing.assert_close(tokens.mean(1), x.mean(1), atol=1e-4, rtol=1e-3)


@torch.inference_mode()
def test_sixty_four_frames_stay_as_they_are_and_twice_as_many_are_averaged_in_pairs() -> None:
    x = make_frames(1, 128)

    same, pairs = make_plain()(x[:, :64], lengths_of(64)), make_plain()(x, lengths_of(128))

    torch.testing.assert_close(same, x[:, :64])
    torch.testing.assert_close(pairs, (x[:, 0::2] + x[:, 1::2]) / 2)


@torch.inference_mode()
def test_the_same_movement_at_half_the_speed_gives_the_same_tokens() -> None:
    x = make_frames(1, 20)

    fast, slow = make_plain()(x, lengths_of(20)), make_plain()(x.repeat_interleave(2, 1), lengths_of(40))

    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_a_token_sees_fifteen_frames_around_its_own() -> None:
    pooling, x = make_pooling(), make_frames(1, 64)
    changed = x.clone()
    changed[:, 32, 0] += 1.0

    difference = (pooling(changed, lengths_of(64)) - pooling(x, lengths_of(64))).abs().sum(-1)[0]

    assert difference.nonzero().flatten().tolist() == list(range(32 - 7, 32 + 8))


@PROPERTY
@given(frames=st.integers(1, 150), padding=st.integers(0, 20))
@torch.inference_mode()
def test_frames_get_back_what_went_into_the_tokens(frames: int, padding: int) -> None:
    pooling = make_pooling()
    constant = torch.ones(1, NUM_TOKENS, CHANNELS) * 3.0

    back = pooling.to_frames(constant, lengths_of(frames), num_frames=frames + padding)

    assert back.shape == (1, frames + padding, CHANNELS)
    torch.testing.assert_close(back[:, :frames], torch.full((1, frames, CHANNELS), 3.0), atol=1e-4, rtol=1e-4)
    assert (back[:, frames:].abs() < 1e-3).all()


@torch.inference_mode()
def test_short_sequences_come_back_frame_by_frame() -> None:
    pooling, x = make_plain(), make_frames(1, 16)

    back = pooling.to_frames(pooling(x, lengths_of(16)), lengths_of(16), num_frames=16)

    torch.testing.assert_close(back, x, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("length", [0, -3, 11])
def test_a_length_that_cannot_be_is_refused_with_the_limits(length: int) -> None:
    with pytest.raises(InvalidLandmarksError, match=rf"\[10, {length}\] are not all in 1\.\.10"):
        make_pooling()(make_frames(2, 10), lengths_of(10, length))


@torch.inference_mode()
def test_the_input_is_not_changed() -> None:
    x = make_frames(2, 30)
    before = x.clone()

    make_pooling()(x, lengths_of(30, 4))

    assert torch.equal(x, before)
