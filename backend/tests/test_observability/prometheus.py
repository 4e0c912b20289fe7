"""A real Prometheus on a free port, with the configuration that we ship and faster clocks."""

import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.binaries import require_binary
from tests.e2e.live_server import ANY_CERTIFICATE, free_port

ROOT: Final = Path(__file__).resolve().parents[3]
INSTALL: Final = "sudo apt-get install prometheus prometheus-alertmanager"
START_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def ask(self, path: str, **parameters: str) -> Any:
        """The `data` of an answer of the HTTP interface."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=30) as answer:
            return json.load(answer)["data"]

    def query(self, expr: str) -> dict[tuple[tuple[str, str], ...], float]:
        """The value of each series of an instant query, by labels."""
        return {
            tuple(sorted(series["metric"].items())): float(series["value"][1])
            for series in self.ask("query", query=expr)["result"]
        }


def wait_until(is_so: Callable[[], bool], *, what: str, timeout_s: float = START_TIMEOUT_S) -> None:
    """Wait until something holds."""
    deadline_s = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline_s, f"{what} did not happen within {timeout_s:.0f} s"
        time.sleep(0.1)


def is_ready(url: str) -> bool:
    """Whether an HTTP GET succeeds; a program that is still starting may answer with an error."""
    try:
        with urllib.request.urlopen(url, timeout=5, context=ANY_CERTIFICATE):
            return True
    except OSError:
        return False


@contextmanager
def run_process(command: list[str], *, log: Path, ready_url: str) -> Generator[None]:
    """Run a program until the block ends; waits until an address answers well."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_until(
            lambda: process.poll() is not None or is_ready(ready_url), what=f"an answer of {command[0]} at {ready_url}"
        )
        assert process.poll() is None, log.read_text(errors="replace")
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextmanager
def run_prometheus(folder: Path, *, server: str, alertmanager: str | None = None) -> Generator[Prometheus]:
    """Watch a server with the rules that we ship, scraped and evaluated every second.

    Args:
        folder: where configuration and data go.
        server: host and port of a SignFlow server.
        alertmanager: host and port of an Alertmanager that is told of alerts.
    """
    binary = require_binary("prometheus", install=INSTALL)
    config = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    port = free_port()
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(ROOT / "prometheus" / name) for name in config["rule_files"]]
    targets = {"signflow": server, "prometheus": f"127.0.0.1:{port}"}
    config["scrape_configs"] = [
        {"job_name": name, "static_configs": [{"targets": [target]}]} for name, target in targets.items()
    ]
    config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]} if alertmanager else {}
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    url = f"http://127.0.0.1:{port}"
    command = [
        binary,
        f"--config.file={path}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with run_process(command, log=folder / "prometheus.log", ready_url=f"{url}/-/ready"):
        yield Prometheus(url=url)
