"""The configuration of Prometheus and Alertmanager: accepted by their own tools, and every alert has a runbook."""

import json
import re
import subprocess
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.binaries import require_binary
from tests.e2e.live_server import free_port
from tests.test_observability.prometheus import INSTALL, ROOT, run_process, wait_until

RULES = sorted((ROOT / "prometheus" / "rules").glob("*.yml"))
RULE_TESTS = sorted((ROOT / "prometheus" / "tests").glob("*.yml"))
ALERTMANAGER = ROOT / "alertmanager"


def alerts() -> list[dict[str, Any]]:
    """Every alerting rule."""
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in RULES]
    return [rule for file in files for group in file["groups"] for rule in group["rules"] if "alert" in rule]


def run_tool(*command: str) -> None:
    """Run a checking tool; what it says is shown when it is not satisfied."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_accepts_configuration_and_rules() -> None:
    run_tool(require_binary("promtool", install=INSTALL), "check", "config", "prometheus/prometheus.yml")


def test_alertmanager_accepts_its_configuration() -> None:
    run_tool(require_binary("amtool", install=INSTALL), "check-config", "alertmanager/alertmanager.yml")


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_alerts_fire_stay_silent_and_bear_missing_data(path: Path) -> None:
    run_tool(require_binary("promtool", install=INSTALL), "test", "rules", str(path))


def test_each_alert_is_tested_firing_silent_and_without_data() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in RULE_TESTS)
    cases = [
        (case["alertname"], bool(case["exp_alerts"]), bool(test["input_series"]))
        for path in RULE_TESTS
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
        for case in test.get("alert_rule_test", [])
    ]

    for alert in alerts():
        name = alert["alert"]
        assert name in text
        assert any(case[0] == name and case[1] for case in cases), f"{name} is never expected to fire"
        assert any(case == (name, False, True) for case in cases), f"{name} is never expected to be silent"
        assert any(case[0] == name and not case[2] for case in cases), f"{name} is not tested without data"


def test_each_alert_has_a_severity_a_summary_and_a_runbook_that_exists() -> None:
    runbooks = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", runbooks, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}

    for alert in alerts():
        assert alert["labels"]["severity"] in {"page", "ticket"}
        assert alert["annotations"]["summary"]
        document, anchor = alert["annotations"]["runbook_url"].split("#")
        assert (ROOT / document).is_file()
        assert anchor in anchors, f"{alert['alert']}: docs/runbooks.md has no section #{anchor}"


class _Webhook(BaseHTTPRequestHandler):
    """Takes what Alertmanager sends, as a chat's incoming webhook does."""

    received: list[tuple[str, dict[str, Any]]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.path, json.loads(body)))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


def test_a_page_and_a_ticket_reach_their_own_webhooks(tmp_path: Path) -> None:
    binary = require_binary("prometheus-alertmanager", "alertmanager", install=INSTALL)
    received: list[tuple[str, dict[str, Any]]] = []
    webhook = ThreadingHTTPServer(("127.0.0.1", 0), type("Webhook", (_Webhook,), {"received": received}))
    threading.Thread(target=webhook.serve_forever, daemon=True).start()
    config = (ALERTMANAGER / "alertmanager.yml").read_text(encoding="utf-8")
    for name in ("pager", "ticket"):
        secret = tmp_path / f"{name}_webhook_url"
        secret.write_text(f"http://127.0.0.1:{webhook.server_port}/{name}", encoding="utf-8")
        config = config.replace(f"/run/secrets/{secret.name}", str(secret))
    config = re.sub(r"group_wait: \w+", "group_wait: 1s", config).replace("templates/", f"{ALERTMANAGER}/templates/")
    path = tmp_path / "alertmanager.yml"
    path.write_text(config, encoding="utf-8")
    url = f"http://127.0.0.1:{free_port()}"
    command = [binary, f"--config.file={path}", f"--storage.path={tmp_path / 'alertmanager'}"]
    command += [f"--web.listen-address={url.removeprefix('http://')}", "--cluster.listen-address="]
    fired = [
        {
            "labels": {"alertname": alert["alert"], **alert["labels"]},
            "annotations": {key: alert["annotations"][key] for key in ("description", "runbook_url", "summary")},
        }
        for alert in alerts()
        if alert["alert"] in ("SignFlowHasNoModel", "SignFlowFallsBack", "SignFlowNearlyFull")
    ]
    try:
        with run_process(command, log=tmp_path / "alertmanager.log", ready_url=f"{url}/-/ready"):
            request = urllib.request.Request(
                f"{url}/api/v2/alerts", json.dumps(fired).encode(), {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=10):
                pass
            wait_until(lambda: {path for path, _ in received} == {"/pager", "/ticket"}, what="both messages")
    finally:
        webhook.shutdown()
        webhook.server_close()
    texts = {path: json.dumps(body) for path, body in received}

    assert "SignFlowHasNoModel" in texts["/pager"]
    assert "docs/runbooks.md#signflowhasnomodel" in texts["/pager"]
    assert "docs/runbooks.md#signflowfallsback" in texts["/ticket"]
    assert "SignFlowNearlyFull" not in str(texts), "a consequence of having no model: inhibited"
