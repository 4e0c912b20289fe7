"""The TLS proxy: a real Caddy with the file that we ship, in front of a real server."""

import asyncio
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from tests.binaries import require_binary
from tests.e2e.live_server import LiveServer, free_port
from tests.fakes import StreamWriter
from tests.test_observability.prometheus import ROOT, run_process


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A running proxy; `trust` knows the authority that signed its certificate."""

    port: int
    trust: ssl.SSLContext

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"https://localhost:{self.port}"

    def get(self, path: str) -> httpx.Response:
        """Ask over TLS, with the certificate checked."""
        return httpx.get(f"{self.url}{path}", verify=self.trust, timeout=30)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path) -> Iterator[Proxy]:
    """Caddy before a server, both on free ports."""
    caddy = require_binary("caddy", install="sudo apt-get install caddy")
    folder = tmp_path_factory.mktemp("proxy")
    server = LiveServer(data_dir=folder, model_dir=tiny_model_dir)
    port, http_port, admin_port = free_port(), free_port(), free_port()
    config = (ROOT / "proxy" / "Caddyfile").read_text(encoding="utf-8")
    own_ports = f"skip_install_trust\n\thttp_port {http_port}\n\tadmin 127.0.0.1:{admin_port}"
    path = folder / "Caddyfile"
    path.write_text(config.replace("skip_install_trust", own_ports), encoding="utf-8")
    variables = {
        "HOME": folder,
        "XDG_DATA_HOME": folder / "caddy-data",
        "XDG_CONFIG_HOME": folder / "caddy-config",
        "SIGNFLOW_DOMAIN": f"https://localhost:{port}",
        "SIGNFLOW_BACKEND_HOST": "localhost",
        "SIGNFLOW_BACKEND_PORT": server.port,
    }
    command = ["env", *(f"{name}={value}" for name, value in variables.items()), caddy, "run", "--config", str(path)]
    server.start()
    try:
        ready_url = f"https://localhost:{port}/health"
        with run_process([*command, "--adapter", "caddyfile"], log=folder / "caddy.log", ready_url=ready_url):
            root = folder / "caddy-data" / "caddy" / "pki" / "authorities" / "local" / "root.crt"
            yield Proxy(port=port, trust=ssl.create_default_context(cafile=root))
    finally:
        server.stop()


def test_the_page_and_the_http_interface_are_served_over_tls(proxy: Proxy) -> None:
    page, ready = proxy.get("/"), proxy.get("/ready")

    assert page.headers["Content-Type"].startswith("text/html")
    assert page.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert ready.json()["ready"] is True


def test_metrics_are_not_shown_to_the_world(proxy: Proxy) -> None:
    answer = proxy.get("/metrics")

    assert answer.status_code == 404
    assert "signflow" not in answer.text


async def _translate(proxy: Proxy, *, origin: str) -> set[str]:
    """Types of the messages that a short stream is answered with."""
    received: set[str] = set()
    async with connect(
        f"wss://localhost:{proxy.port}/api/v1/translate/stream",
        subprotocols=[Subprotocol("signflow.v1")],
        origin=Origin(origin),
        ssl=proxy.trust,
        compression=None,
    ) as socket:
        for frame in StreamWriter().sign():
            await socket.send(frame)
        await socket.send(json.dumps({"type": "end"}))
        async with asyncio.timeout(60):
            while "ended" not in received:
                received.add(json.loads(await socket.recv())["type"])
    return received


async def test_the_live_stream_of_our_own_page_goes_through(proxy: Proxy) -> None:
    assert {"ready", "state", "ended"} <= await _translate(proxy, origin=proxy.url)


async def test_a_foreign_page_is_refused_behind_the_proxy_too(proxy: Proxy) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        await _translate(proxy, origin="https://evil.example")

    assert refusal.value.response.status_code == 403
