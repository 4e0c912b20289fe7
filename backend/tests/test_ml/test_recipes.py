from dataclasses import replace

import pytest

from app.ml.training.recipes import get_recipe, recipe_for_model


@pytest.mark.parametrize(
    ("name", "spec"),
    [("baseline", "hands256"), ("large", "hands256"), ("spatial", "landmarks75"), ("spatial_tcn", "landmarks75")],
)
def test_recipes_of_other_networks_differ_from_the_starter_in_the_network_only(name: str, spec: str) -> None:
    recipe, starter = get_recipe(name), get_recipe("starter")

    assert recipe.model.name == recipe.name == name
    assert recipe.trainer.feature_spec == spec
    assert replace(recipe.trainer, feature_spec=starter.trainer.feature_spec) == starter.trainer


def test_a_network_without_a_recipe_of_its_own_gets_the_starters_settings() -> None:
    recipe = recipe_for_model("student")

    assert (recipe.name, recipe.model.name) == ("student", "student")
    assert recipe.trainer == get_recipe("starter").trainer
    assert recipe_for_model("spatial") == get_recipe("spatial")


def test_unknown_names_are_refused_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match=r"unknown recipe 'spacial'; known: reference, starter"):
        get_recipe("spacial")
    with pytest.raises(ValueError, match=r"unknown model config 'reference'; known: tiny"):
        recipe_for_model("reference")
