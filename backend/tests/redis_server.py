"""A real Redis for tests, skipped where the program is not installed."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from app.harness.redis_process import RedisProcess
from tests.binaries import require_binary


class RedisServer(RedisProcess):
    """One Redis; skips the test when the program is not installed."""

    def start(self) -> None:
        """Start empty, and wait until it answers."""
        require_binary("redis-server", install="sudo apt-get install redis-server")
        super().start()

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
