"""Prints the networks that `train --model` takes: what each reads, and how many parameters it truly has.

Reads and writes nothing. Parameters are counted in the built network.

    python -m scripts.list_networks --labels 64
"""

from typing import Annotated

import orjson
import typer
from rich.table import Table

from app.ml.landmarks.features import get_feature_spec
from app.ml.model_configs import get_model_config, model_config_names
from app.ml.training.recipes import recipe_for_model
from scripts.console import needs_packages, results

with needs_packages():
    from app.ml.model import build_model, count_parameters


def main(
    *,
    labels: Annotated[int, typer.Option(min=1, help="Signs and background classes that it tells apart.")] = 64,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Print the named networks."""
    rows = [describe(name, labels) for name in model_config_names()]
    if as_json:
        typer.echo(orjson.dumps(rows).decode())
        return
    table = Table("network", "reads", "parameters", "with base469", box=None)
    for row in rows:
        wide = row["parameters_base469"]
        table.add_row(
            str(row["name"]), str(row["reads"]), f"{row['parameters']:,}", "" if wide is None else f"{wide:,}"
        )
    results().print(table)


def describe(name: str, num_labels: int) -> dict[str, str | int | None]:
    """A network's name, the feature specification that its recipe gives it, and its parameters with that and with the
    469 features."""
    config = get_model_config(name)
    spec = recipe_for_model(name).trainer.feature_spec

    def count(spec_name: str) -> int:
        num_features = get_feature_spec(spec_name).num_features
        return count_parameters(build_model(config, num_features=num_features, num_labels=num_labels))

    return {
        "name": name,
        "reads": spec,
        "parameters": count(spec),
        "parameters_base469": None if config.reads_landmarks else count("base469"),
    }


if __name__ == "__main__":
    typer.run(main)
