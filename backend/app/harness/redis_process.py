"""A Redis of our own for a load test: without persistence; it can be killed and started again, empty."""

import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from app.client.errors import ServerUnreachableError
from app.harness.server_process import free_port

_START_WITHIN_S: Final = 30.0


@dataclass(slots=True, kw_only=True)
class RedisProcess:
    """One redis-server; `folder` is where it works."""

    folder: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For clients."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, empty, and wait until it answers.

        Raises:
            ServerUnreachableError: it is not installed, or does not start.
        """
        binary = shutil.which("redis-server")
        if binary is None:
            msg = "redis-server is not installed; on Debian: sudo apt-get install redis-server"
            raise ServerUnreachableError(msg)
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [binary, *options, "--dir", str(self.folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline_s = time.monotonic() + _START_WITHIN_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                msg = f"redis-server does not answer on port {self.port}"
                raise ServerUnreachableError(msg)
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as a crash would; all it held is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False
