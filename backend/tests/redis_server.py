"""A real Redis for tests: its own process on a free port, without persistence; it can be killed and started again."""

import socket
import subprocess
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from redis.asyncio import Redis

from tests.binaries import require_binary
from tests.e2e.live_server import free_port

START_TIMEOUT_S = 30.0


@dataclass(kw_only=True)
class RedisServer:
    """One Redis; skips the test when the program is not installed."""

    folder: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For clients."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start empty, and wait until it answers."""
        binary = require_binary("redis-server", install="sudo apt-get install redis-server")
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [binary, *options, "--dir", str(self.folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            assert self._process.poll() is None, "redis-server ended"
            assert time.monotonic() < deadline_s, "redis-server does not answer"
            time.sleep(0.02)

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Redis]:
        """A plain client, to look at what is kept."""
        client = Redis.from_url(self.url)
        yield client
        await client.aclose()

    async def flush(self) -> None:
        """Forget everything."""
        async with self.client() as client:
            await client.flushall()

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
