"""Complete ways to train a model: network, training and data settings under one name."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Final

from app.ml.landmarks.augment import AugmentConfig
from app.ml.model_configs import ModelConfig, get_model_config, model_config_names
from app.ml.training.config import DistillationConfig, PretrainingConfig, TrainerConfig
from app.ml.training.curricula import CurriculumConfig
from app.ml.training.sampling import SamplingConfig

SHORT: Final = "-short"
PRETRAINED: Final = "-pretrained"


TECHNIQUES: Final = ("length", "confidence", "distilled", "tta")
"""What can be added to a recipe's name after a plus: `starter+length`."""
_TEACHER: Final = "baseline"
"""The recipe that a `distilled` one learns from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides what a training run gives, except data and seed.

    Attributes:
        pretraining: how the network first learns from the training clips without their labels; None is not at all.
        distillation: learn from a teacher as well; the teacher is trained first, on the same data.
        tta: judge by the mean over five views of every clip (`app.ml.tta`); the training stays the same.
    """

    name: str
    model: ModelConfig
    trainer: TrainerConfig
    distillation: DistillationConfig | None = None
    tta: bool = False
    pretraining: PretrainingConfig | None = None

    def with_seed(self, seed: int) -> TrainerConfig:
        """The training settings under another seed."""
        return replace(self.trainer, seed=seed)

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits that change with any setting, so that a kept result is never taken for another's.

        Settings that are off (None, False, 0, empty) do not count: a new technique leaves the recipes that do without
        it what they were.
        """
        described = json.dumps(_without_what_is_off(asdict(self)), sort_keys=True, default=str)
        return hashlib.sha256(described.encode()).hexdigest()[:8]


def _without_what_is_off(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {key: _without_what_is_off(item) for key, item in value.items() if item not in (None, 0, "", (), {})}


def with_network(recipe: Recipe, name: str) -> Recipe:
    """The same data and training settings for another network, named after it; it gets landmarks if it reads them.

    Raises:
        ValueError: no network configuration has that name.
    """
    config = get_model_config(name)
    spec = "landmarks75" if config.reads_landmarks else TrainerConfig().feature_spec
    return replace(recipe, name=name, model=config, trainer=replace(recipe.trainer, feature_spec=spec))


def shortened(recipe: Recipe) -> Recipe:
    """The same with 300 batches of 32 windows, less than a quarter of the starter's: what a study of many networks can
    afford."""
    return replace(recipe, name=f"{recipe.name}{SHORT}", trainer=replace(recipe.trainer, steps=300, batch_size=32))


def with_pretraining(recipe: Recipe) -> Recipe:
    """The same for a network that was first pretrained on its own training clips, in batches of the same size."""
    pretraining = PretrainingConfig(batch_size=recipe.trainer.batch_size)
    return replace(recipe, name=f"{recipe.name}{PRETRAINED}", pretraining=pretraining)


# What ships: also streams, wandering hands, unknown movement, more variation of the hands, a prior on people.
_STARTER: Final = Recipe(name="starter", model=get_model_config("starter"), trainer=TrainerConfig(people_prior=0.5))
_RECIPES: Final = {
    recipe.name: recipe
    for recipe in (
        # What first experiments on these data had found: mirror images, hands described relative to the body, people
        # drawn evenly, isolated clips only. The yardstick for everything that came after.
        Recipe(
            name="reference",
            model=get_model_config("starter"),
            trainer=TrainerConfig(
                steps=300,
                learning_rate=2e-3,
                signing_weight=0.0,
                sampling=SamplingConfig(context=0.0, background=0.0, stream=0.0),
                augmentation=AugmentConfig(hand_shift=0.0, hand_scale=0.0, hand_turn_deg=0.0, slow_camera=0.0),
            ),
        ),
        _STARTER,
        # A tiny network in a minute or two: shows whether new recordings can be learned from, not how well.
        Recipe(
            name="trial",
            model=get_model_config("tiny"),
            trainer=TrainerConfig(
                steps=120, batch_size=32, learning_rate=4e-3, warmup_steps=10, ema_decay=0.95, eval_every=10
            ),
        ),
        # The starter's settings for other networks, so that only the network differs.
        *(with_network(_STARTER, name) for name in ("baseline", "large", "spatial", "spatial_tcn", "student")),
    )
}


def with_technique(recipe: Recipe, technique: str) -> Recipe:
    """The same with one technique more: `length` or `confidence` (curricula), `distilled` or `tta`.

    Raises:
        ValueError: no technique has that name.
    """
    name = f"{recipe.name}+{technique}"
    if technique == "length" or technique == "confidence":
        curriculum = CurriculumConfig(kind=technique)
        return replace(recipe, name=name, trainer=replace(recipe.trainer, curriculum=curriculum))
    if technique == "distilled":
        teacher = f"{_TEACHER}{SHORT if recipe.name.endswith(SHORT) else ''}"
        return replace(recipe, name=name, distillation=DistillationConfig(recipe=teacher))
    if technique == "tta":
        return replace(recipe, name=name, tta=True)
    msg = f"unknown technique {technique!r}; known: {', '.join(TECHNIQUES)}"
    raise ValueError(msg)


def get_recipe(name: str) -> Recipe:
    """Look a recipe up by name; with the ending `-short` it is `shortened`, with `-pretrained` pretrained.

    With `+length`, or another of `TECHNIQUES`, that technique is added.

    Raises:
        ValueError: no recipe or technique has that name.
    """
    if "+" in name:
        base, _, technique = name.rpartition("+")
        return with_technique(get_recipe(base), technique)
    if name.endswith(SHORT):
        return shortened(get_recipe(name.removesuffix(SHORT)))
    if name.endswith(PRETRAINED):
        return with_pretraining(get_recipe(name.removesuffix(PRETRAINED)))
    if name not in _RECIPES:
        msg = f"unknown recipe {name!r}; known: {', '.join(_RECIPES)}"
        raise ValueError(msg)
    return _RECIPES[name]


def recipe_names() -> tuple[str, ...]:
    """Recipes to choose from; `get_recipe` takes more, with other endings."""
    return (*_RECIPES, "starter+length", "starter+confidence", "student+distilled")


def total_steps(recipe: Recipe, *, has_teacher: bool = False) -> int:
    """Steps of a whole run; those of its teacher count unless one is given."""
    if recipe.distillation is None or has_teacher:
        return recipe.trainer.steps
    return recipe.trainer.steps + total_steps(get_recipe(recipe.distillation.recipe))


def recipe_for_model(name: str) -> Recipe:
    """The recipe of that name, or else the starter's settings for the network of that name.

    Raises:
        ValueError: no network configuration has that name.
    """
    return _RECIPES[name] if name in _RECIPES and name in model_config_names() else with_network(_STARTER, name)
