"""Every panel and every rule shows something when people sign: a real server, a real Prometheus, real traffic."""

import asyncio
import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from app.ml.recordings.clips import save_clip
from scripts.write_dashboard import dashboard_json
from scripts.write_slo_rules import slo_rules
from tests.e2e.live_server import LiveServer
from tests.parametric_signer import make_person, perform_stream
from tests.test_core.test_metrics import documented_budget
from tests.test_observability.prometheus import ROOT, Prometheus, run_prometheus, wait_until

BACKEND = ROOT / "backend"
DASHBOARD = ROOT / "grafana" / "dashboards" / "signflow.json"
VARIABLES = {"$__rate_interval": "1m", "$instance": ".*", "$model": ".*"}
WORDS = ("sun", "river", "star", "house", "bird")


def dashboard_queries() -> list[tuple[str, str]]:
    """Title and query of every panel's every target."""
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel.get("targets", [])]


def test_the_committed_dashboard_and_rules_are_what_the_code_writes() -> None:
    assert DASHBOARD.read_text(encoding="utf-8") == dashboard_json(), "run: make generate"
    assert (ROOT / "prometheus/rules/slo.yml").read_text(encoding="utf-8") == slo_rules(), "run: make generate"


def test_the_dashboard_asks_only_for_metrics_that_are_documented() -> None:
    limits, _ = documented_budget()
    names = {name for _, expr in dashboard_queries() for name in re.findall(r"(?<![\w:])signflow_\w+", expr)}
    known = set(limits) | {f"{name}_{suffix}" for name in limits for suffix in ("bucket", "sum", "count")}

    assert names - known == set()
    assert len(names) > 20


def test_panels_have_titles_units_helps_and_a_place_of_their_own() -> None:
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels = dashboard["panels"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]

    assert dashboard["uid"] == "signflow"
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len(set(places)) == len(panels)
    for panel in panels:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert panel["type"] == "row" or (panel["description"] and panel["fieldConfig"]["defaults"]["unit"])
    assert {"heatmap", "stat", "timeseries", "table"} <= {panel["type"] for panel in panels}


async def _misbehave(server: LiveServer) -> None:
    """One message that is no frame, so that there is an error to show."""
    address = f"ws://127.0.0.1:{server.port}/api/v1/translate/stream"
    async with connect(address, subprotocols=[Subprotocol("signflow.v1")], compression=None) as socket:
        await socket.send(b"rubbish")
        assert json.loads(await socket.recv())["code"] == "bad_magic"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path) -> Iterator[Prometheus]:
    """Prometheus after somebody has signed for a while in front of a server."""
    folder = tmp_path_factory.mktemp("watched")
    stream = perform_stream(make_person(100), WORDS, seed=100, rest_ms=900.0)
    clip = folder / "signs.npz"
    save_clip(clip, stream.clip)
    server = LiveServer(data_dir=folder, model_dir=tiny_model_dir)
    server.start()
    try:
        with run_prometheus(folder, server=f"127.0.0.1:{server.port}") as prometheus:
            wait_until(lambda: prometheus.query('up{job="signflow"} == 1') != {}, what="the first scrape")
            asyncio.run(_misbehave(server))
            replay = [sys.executable, "-m", "scripts.replay", str(clip), "--server", server.url, "--pace", "live"]
            subprocess.run(replay, cwd=BACKEND, check=True, capture_output=True, timeout=300)
            frames = stream.clip.num_frames
            wait_until(
                lambda: set(prometheus.query("signflow_frames_received_total").values()) == {float(frames)},
                what=f"a scrape after all {frames} frames",
            )
            wait_until(lambda: prometheus.query("signflow:sessions:usage") != {}, what="an evaluation of the rules")
            yield prometheus
    finally:
        server.stop()


def shows_something(prometheus: Prometheus, expr: str) -> bool:
    """Whether a query returns at least one number."""
    return any(math.isfinite(value) for value in prometheus.query(expr).values())


def test_every_query_of_every_panel_returns_data(watched: Prometheus) -> None:
    empty: list[tuple[str, str]] = []
    for title, query in dashboard_queries():
        expr = query
        for name, value in VARIABLES.items():
            expr = expr.replace(name, value)
        assert "$" not in expr, expr
        if not shows_something(watched, expr):
            empty.append((title, expr))

    assert empty == []


def test_every_recording_rule_returns_data_and_every_rule_can_be_evaluated(watched: Prometheus) -> None:
    def rules() -> list[dict[str, Any]]:
        return [rule for group in watched.ask("rules")["groups"] for rule in group["rules"]]

    wait_until(lambda: all(rule["health"] == "ok" for rule in rules()), what="an evaluation of every rule")
    recording = [rule for rule in rules() if rule["type"] == "recording"]
    labels = [",".join(f'{name}="{value}"' for name, value in rule.get("labels", {}).items()) for rule in recording]
    empty = [
        f"{rule['name']}{{{where}}}"
        for rule, where in zip(recording, labels, strict=True)
        if not shows_something(watched, f"{rule['name']}{{{where}}}")
    ]

    assert len(recording) > 50
    assert empty == []
    assert watched.query('ALERTS{alertstate="firing"}') == {}


def test_what_prometheus_has_is_what_happened(watched: Prometheus) -> None:
    errors = watched.query("signflow_errors_total")
    signs = watched.query("sum(signflow_signs_total)")
    handled = watched.query("signflow_frame_seconds_count")
    received = watched.query("signflow_frames_received_total")
    dropped = watched.query("sum(signflow_frames_dropped_total)")

    assert [dict(labels)["code"] for labels in errors] == ["bad_magic"]
    assert sum(signs.values()) >= len(WORDS)
    assert sum(received.values()) == sum(handled.values()) + sum(dropped.values())
