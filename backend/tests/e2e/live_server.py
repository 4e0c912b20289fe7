"""A real server for browser tests: `python -m app.main` with its own data folder."""

import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

BACKEND = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 180.0
"""Long enough for a machine that does ten other things; a server that has ended is noticed at once."""
OPERATOR_TOKEN = "operator-token-of-the-tests"
ANY_CERTIFICATE = ssl.create_default_context()
ANY_CERTIFICATE.check_hostname = False
ANY_CERTIFICATE.verify_mode = ssl.CERT_NONE


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """Whether an HTTP GET gets any answer, an error included: a server without a model is not ready, but it serves."""
    try:
        # A self-signed certificate is as good as any: only the answer counts here.
        with urllib.request.urlopen(url, timeout=5, context=ANY_CERTIFICATE):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except OSError:
        return False


@dataclass(kw_only=True)
class LiveServer:
    """One server process; it can be killed and started again with the same data."""

    data_dir: Path
    model_dir: Path
    port: int = field(default_factory=free_port)
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address of the page."""
        scheme = "https" if "TLS__CERTIFICATE" in self.settings else "http"
        return f"{scheme}://127.0.0.1:{self.port}"

    @property
    def log_file(self) -> Path:
        """What the server printed."""
        return self.data_dir / "server.log"

    def start(self) -> None:
        """Start and wait until the server answers.

        Raises:
            RuntimeError: it ended, or did not answer in time; the message holds its log.
        """
        settings = {
            "PORT": str(self.port),
            "DATA_DIR": str(self.data_dir),
            "MODEL_DIR": str(self.model_dir),
            "OPERATOR_TOKEN": OPERATOR_TOKEN,
            **self.settings,
        }
        # `env` adds to the environment and becomes the server, so that signals reach the server itself.
        command = ["env", *(f"SIGNFLOW_{name}={value}" for name, value in settings.items()), sys.executable]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen([*command, "-m", "app.main"], cwd=BACKEND, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not answers(f"{self.url}/health"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"the server did not start:\n{self.log_file.read_text()}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End the server as a crash would: no goodbye to anybody."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """End the server politely; after 15 seconds, not."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None
