import math
from pathlib import Path

import pytest

from app.client.errors import ServerHasNoModelError, ServerUnreachableError
from app.harness.server_process import Histogram, start_server
from tests.e2e.live_server import free_port


def test_quantiles_lie_where_the_counts_say() -> None:
    histogram = Histogram(bounds_s=(0.001, 0.002, 0.010, math.inf), counts=(90.0, 5.0, 5.0, 0.0))

    assert histogram.quantile_ms(0.45) == pytest.approx(0.5)
    assert histogram.quantile_ms(0.95) == pytest.approx(2.0)
    assert histogram.quantile_ms(0.99) == pytest.approx(8.4)
    assert Histogram(bounds_s=(0.001, math.inf), counts=(0.0, 4.0)).quantile_ms(0.5) == pytest.approx(1.0)
    assert Histogram().quantile_ms(0.5) is None


def test_only_what_came_after_is_counted() -> None:
    before = Histogram(bounds_s=(0.001, math.inf), counts=(90.0, 10.0))
    after = Histogram(bounds_s=(0.001, math.inf), counts=(90.0, 30.0))

    assert after.since(before).counts == (0.0, 20.0)
    assert after.since(Histogram()) == after


def test_a_server_without_a_model_is_not_ready(tmp_path: Path) -> None:
    with (
        pytest.raises(ServerHasNoModelError, match="is not ready: "),
        start_server({"MODEL_DIR": str(tmp_path)}),
    ):
        pass


def test_a_server_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    with pytest.raises(ServerUnreachableError, match="did not start"), start_server({"PORT": "none"}):
        pass
    assert free_port() > 0
