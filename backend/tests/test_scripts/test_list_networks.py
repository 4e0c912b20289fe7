import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from scripts.list_networks import main

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "training.md"


def run(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(main)
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_documents_parameter_counts_are_the_codes() -> None:
    rows = {row["name"]: row for row in json.loads(run("--json", "--labels", "64"))}
    written = {
        cells[0].strip("`"): cells
        for line in DOCUMENT.read_text().splitlines()
        if len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 5 and cells[0].startswith("`")
    }

    assert set(written) == set(rows) - {"tiny"}
    for name, (_, reads, _, parameters, wide) in written.items():
        row = rows[name]
        assert reads == f"`{row['reads']}`"
        assert parameters == f"{row['parameters']:,}"
        assert wide == ("" if row["parameters_base469"] is None else f"{row['parameters_base469']:,}")


@pytest.mark.parametrize("name", ["baseline", "spatial_tcn", "landmarks75"])
def test_the_table_names_networks_and_what_they_read(name: str) -> None:
    assert name in run()
