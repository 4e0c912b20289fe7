from pathlib import Path

import orjson
from typer.testing import CliRunner

from scripts.benchmark_growth import app


def test_the_table_and_the_picture_show_what_each_number_of_streams_cost(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["--output", str(tmp_path / "growth"), "--streams", "1,2", "--workers", "1", "--seconds", "3"]
    )

    assert result.exit_code == 0, result.output
    table = orjson.loads((tmp_path / "growth.json").read_bytes())
    assert orjson.loads(result.stdout) == table
    assert [point["num_streams"] for point in table["1"]["points"]] == [1, 2]
    assert all(point["cores"] > 0 and point["frames_dropped"] == 0 for point in table["1"]["points"])
    assert table["1"]["admitted"] == 2
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
