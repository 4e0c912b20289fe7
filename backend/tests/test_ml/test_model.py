from collections.abc import Generator
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from app.ml.model import DropPath, SignEncoder, build_model, count_parameters
from app.ml.model_configs import Architecture, ModelConfig, get_model_config, model_config_names

TINY = get_model_config("tiny")
TINY_TRANSFORMER = replace(TINY, architecture=Architecture.TRANSFORMER, num_conv_blocks=0, num_layers=2)
TINY_SPATIAL = replace(TINY, architecture=Architecture.SPATIAL, joint_channels=6, joint_outputs=3)
TINY_SPATIAL_TCN = replace(TINY_SPATIAL, num_conv_blocks=0, num_tokens=16)
EACH = pytest.mark.parametrize(
    "config",
    [TINY, TINY_TRANSFORMER, TINY_SPATIAL, TINY_SPATIAL_TCN],
    ids=["conv_attention", "transformer", "spatial", "spatial_tcn"],
)
NUM_FEATURES, NUM_LABELS = 12, 5


@pytest.fixture(autouse=True)
def one_thread() -> Generator[None]:
    """Networks this small spend their time waiting for each other's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_model(config: ModelConfig, *, seed: int = 0) -> SignEncoder:
    torch.manual_seed(seed)
    num_features = 225 if config.reads_landmarks else NUM_FEATURES
    return build_model(config, num_features=num_features, num_labels=NUM_LABELS).eval()


def make_features(config: ModelConfig, batch: int, frames: int, *, seed: int = 1) -> Tensor:
    """What the network reads: features, or landmarks of which a fifth is missing."""
    generator = torch.Generator().manual_seed(seed)
    if not config.reads_landmarks:
        return torch.randn(batch, frames, NUM_FEATURES, generator=generator)
    landmarks = torch.randn(batch, frames, 75, 3, generator=generator)
    landmarks[torch.rand(batch, frames, 75, generator=generator) < 0.2] = torch.nan
    return landmarks


def real(batch: int, frames: int) -> Tensor:
    return torch.ones(batch, frames, dtype=torch.bool)


@EACH
@settings(derandomize=True, deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=st.integers(1, 40), padding=st.integers(1, 40), garbage=st.sampled_from([0.0, 1.0, -1e4]))
@torch.inference_mode()
def test_padding_never_changes_an_answer(config: ModelConfig, frames: int, padding: int, garbage: float) -> None:
    model = make_model(config)
    features = make_features(config, 2, frames)
    padded = torch.cat([features, torch.full((2, padding, *features.shape[2:]), garbage)], dim=1)
    mask = torch.arange(frames + padding).expand(2, -1) < frames

    alone, with_padding = model(features, real(2, frames)), model(padded, mask)

    torch.testing.assert_close(with_padding.logits, alone.logits, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(with_padding.embedding, alone.embedding, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(with_padding.signing[:, :frames], alone.signing, atol=1e-5, rtol=1e-4)


@EACH
@torch.inference_mode()
def test_a_batch_of_different_lengths_answers_as_each_sequence_alone(config: ModelConfig) -> None:
    model = make_model(config)
    features, lengths = make_features(config, 4, 30), [30, 17, 5, 1]
    mask = torch.arange(30) < torch.tensor(lengths).unsqueeze(-1)

    together = model(features, mask)

    for row, length in enumerate(lengths):
        alone = model(features[row : row + 1, :length], real(1, length))
        torch.testing.assert_close(together.logits[row], alone.logits[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(together.embedding[row], alone.embedding[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(together.signing[row, :length], alone.signing[0], atol=1e-5, rtol=1e-4)


@EACH
@torch.inference_mode()
def test_outputs_have_the_promised_shapes_and_the_embedding_has_length_one(config: ModelConfig) -> None:
    output = make_model(config)(make_features(config, 3, 20), real(3, 20))

    assert output.logits.shape == (3, NUM_LABELS)
    assert output.signing.shape == (3, 20)
    assert output.embedding.shape == (3, config.embedding)
    torch.testing.assert_close(output.embedding.norm(dim=1), torch.ones(3))


@EACH
@torch.inference_mode()
def test_the_order_of_frames_matters(config: ModelConfig) -> None:
    model, features = make_model(config), make_features(config, 1, 20)

    forwards = model(features, real(1, 20)).logits
    backwards = model(features.flip(1), real(1, 20)).logits

    assert not torch.allclose(forwards, backwards, atol=1e-4)


@EACH
@torch.inference_mode()
def test_a_row_without_a_real_frame_gives_numbers_and_disturbs_nobody(config: ModelConfig) -> None:
    model, features = make_model(config), make_features(config, 2, 10)
    mask = real(2, 10)
    mask[1] = False

    output = model(features, mask)

    assert torch.isfinite(output.logits).all()
    assert torch.isfinite(output.embedding).all()
    torch.testing.assert_close(output.logits[:1], model(features[:1], real(1, 10)).logits, atol=1e-5, rtol=1e-4)


@EACH
@torch.inference_mode()
def test_the_input_is_not_changed(config: ModelConfig) -> None:
    features, mask = make_features(config, 2, 10), real(2, 10)
    mask[1, 6:] = False
    features_before, mask_before = features.clone(), mask.clone()

    make_model(config)(features, mask)

    torch.testing.assert_close(features, features_before, equal_nan=True, atol=0, rtol=0)
    assert torch.equal(mask, mask_before)


@EACH
def test_the_same_seed_builds_the_same_weights(config: ModelConfig) -> None:
    first, again, other = (make_model(config, seed=seed).state_dict() for seed in (0, 0, 1))

    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


@EACH
def test_every_parameter_learns(config: ModelConfig) -> None:
    model = make_model(config).train()

    output = model(make_features(config, 4, 12), real(4, 12))
    (output.logits.square().sum() + output.signing.square().sum()).backward()

    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(("name", "expected"), [("baseline", 1.9e6), ("large", 10.9e6), ("student", 0.35e6)])
def test_named_configs_have_about_as_many_parameters_as_promised(name: str, expected: float) -> None:
    model = build_model(get_model_config(name), num_features=469, num_labels=70)

    assert count_parameters(model) == pytest.approx(expected, rel=0.06)


def test_frozen_parameters_are_not_counted() -> None:
    model = make_model(TINY)
    before = count_parameters(model)

    model.classifier.requires_grad_(requires_grad=False)

    assert count_parameters(model) == before - NUM_LABELS * (TINY.embedding + 1)


@pytest.mark.parametrize("name", model_config_names())
def test_a_config_survives_the_way_through_a_manifest(name: str) -> None:
    config = get_model_config(name)
    values = config.to_dict()

    assert config.name == name
    assert ModelConfig.from_dict(values) == config
    assert values == config.to_dict()
    assert all(type(value) in (str, int, float, bool) for value in values.values())


def test_an_unknown_config_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match="'enormous'; known: tiny, baseline, large"):
        get_model_config("enormous")


@pytest.mark.parametrize(
    "changes", [{"architecture": "mamba"}, {"num_experts": 8}], ids=["architecture", "unknown value"]
)
def test_a_config_of_another_version_is_refused(changes: dict[str, str | int]) -> None:
    with pytest.raises(ValueError, match=r"mamba|num_experts"):
        ModelConfig.from_dict({**TINY.to_dict(), **changes})


def test_a_config_that_lacks_a_value_is_refused() -> None:
    values = TINY.to_dict()
    del values["width"]

    with pytest.raises(ValueError, match="width"):
        ModelConfig.from_dict(values)


def test_dropped_paths_leave_the_mean_as_it_is_and_answers_alone() -> None:
    torch.manual_seed(0)
    drop, branch = DropPath(0.25), torch.ones(4000, 1, 1)

    trained = drop.train()(branch)

    torch.testing.assert_close(trained.unique(), torch.tensor([0.0, 4 / 3]))
    assert trained.mean().item() == pytest.approx(1.0, abs=0.03)
    assert torch.equal(drop.eval()(branch), branch)


def test_a_network_of_landmarks_is_not_built_for_features() -> None:
    with pytest.raises(ValueError, match=r"'spatial' reads 225 values a frame .75 points., not 256 features"):
        build_model(get_model_config("spatial"), num_features=256, num_labels=3)
