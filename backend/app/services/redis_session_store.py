"""Sessions in Redis: several processes, on one machine or many, share places and can go on with each other's streams.

One hash a session (`id`, generation `g`, `progress`, `history`), named by a hash of its token, so that who reads Redis
cannot resume anybody's session; one sorted set of the places taken, scored by when they expire. A process that dies
keeps no place: it no longer says that its sessions are alive. Each step is one script, so that two processes never
decide on half a picture, and times are Redis' own.

While Redis does not answer, calls fail at once (StoreUnavailableError). Only `keep_alive`, which comes every second
then, tries again, and `take`, because a session that is not found would be lost to its client.
"""

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app.core.errors import LimitReachedError, StoreUnavailableError
from app.services.session_record import Lease, SessionHistory, SessionProgress, SessionRecord
from app.services.session_store import KeptAlive, StoreKind

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
_PLACES: Final = "{signflow}:places"
_SESSION: Final = "{signflow}:session:"
PLACE_TTL_S: Final = 10.0
"""A process that has not said for so long that its session is alive has lost its place."""
_ANSWER_WITHIN_S: Final = 2.0
_CONNECT_WITHIN_S: Final = 1.0
_MAX_CONNECTIONS: Final = 8
_FULL: Final = -1
_UNKNOWN: Final = 2

_NOW: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
"""
_ADMIT: Final = (
    _NOW
    + """
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then return -1 end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
return 1
"""
)
_TAKE: Final = (
    _NOW
    + """
local id = redis.call('HGET', KEYS[2], 'id')
if not id then return 0 end
local generation = redis.call('HGET', KEYS[2], 'g')
local had_place = redis.call('ZREM', KEYS[1], id .. ':' .. generation)
if had_place == 0 and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return -1 end
generation = redis.call('HINCRBY', KEYS[2], 'g', 1)
redis.call('ZADD', KEYS[1], now + ARGV[1], id .. ':' .. generation)
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return {id, generation, redis.call('HGET', KEYS[2], 'progress'), redis.call('HGET', KEYS[2], 'history')}
"""
)
_SAVE: Final = """
local generation = tonumber(redis.call('HGET', KEYS[1], 'g') or 0)
if generation > tonumber(ARGV[2]) then return 0 end
if generation == 0 and ARGV[5] == '' then return 2 end
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'g', ARGV[2], 'progress', ARGV[4])
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'history', ARGV[5]) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
_KEEP_ALIVE: Final = (
    _NOW
    + """
local answers = {}
for number = 2, #KEYS do
    local id, generation = ARGV[number * 2 - 1], ARGV[number * 2]
    local kept = tonumber(redis.call('HGET', KEYS[number], 'g') or 0)
    if kept > tonumber(generation) then
        answers[number - 1] = 0
    else
        redis.call('ZADD', KEYS[1], now + ARGV[1], id .. ':' .. generation)
        redis.call('PEXPIRE', KEYS[number], ARGV[2])
        answers[number - 1] = kept == 0 and 2 or 1
    end
end
return answers
"""
)
_RELEASE: Final = """
for number = 2, #KEYS do
    local id, generation = ARGV[number * 2 - 2], ARGV[number * 2 - 1]
    redis.call('ZREM', KEYS[1], id .. ':' .. generation)
    if redis.call('HGET', KEYS[number], 'g') == generation then redis.call('PEXPIRE', KEYS[number], ARGV[1]) end
end
return 1
"""
_COUNT: Final = _NOW + "return redis.call('ZCARD', KEYS[1])"

_PROGRESS: Final = TypeAdapter(SessionProgress)
_HISTORY: Final = TypeAdapter(SessionHistory)


class RedisSessionStore:
    """`SessionStore` for several processes.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        max_sessions: places for open sessions, of all processes together.
        resume_s: how long a session without a connection is kept.
    """

    kind: StoreKind = "redis"
    is_shared = True

    def __init__(self, url: str, *, max_sessions: int, resume_s: float) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_MAX_CONNECTIONS,
            timeout=_ANSWER_WITHIN_S,
            socket_timeout=_ANSWER_WITHIN_S,
            socket_connect_timeout=_CONNECT_WITHIN_S,
            retry=Retry(NoBackoff(), 1),  # a connection from before a restart of Redis fails once
        )
        self._redis: Redis = Redis.from_pool(pool)
        self._max_sessions = max_sessions
        self._resume_ms = max(round(resume_s * 1000), 1)
        self._open_ms = self._resume_ms + round(PLACE_TTL_S * 1000)
        self._histories: dict[str, SessionHistory] = {}
        self._down_since_s: float | None = None

    @property
    def is_reachable(self) -> bool:
        """False from the first failed call until one succeeds."""
        return self._down_since_s is None

    async def admit(self, lease: Lease) -> None:
        """Take a place."""
        place_ms = round(PLACE_TTL_S * 1000)
        answer = await self._ask(lambda: self._eval(_ADMIT, [_PLACES], [_place(lease), place_ms, self._max_sessions]))
        if answer == _FULL:
            raise self._full()

    async def take(self, token: str) -> SessionRecord | None:
        """Take a session over."""
        keys, arguments = [_PLACES, _key(token)], [round(PLACE_TTL_S * 1000), self._max_sessions, self._open_ms]
        answer = await self._ask(lambda: self._eval(_TAKE, keys, arguments), is_probe=True)
        if answer == _FULL:
            raise self._full()
        if not isinstance(answer, list):
            return None
        session_id, generation, progress, history = answer
        try:
            record = SessionRecord(
                lease=Lease(token=token, session_id=session_id.decode(), generation=int(generation)),
                progress=_PROGRESS.validate_python(json.loads(progress)),  # NaN and infinity are numbers here
                history=_HISTORY.validate_json(history),
            )
        except (ValidationError, ValueError, TypeError) as error:
            logger.warning("session %s in Redis was written by another version of SignFlow: %s", session_id, error)
            return None
        self._histories[session_id.decode()] = record.history
        return record

    async def save(self, records: Sequence[SessionRecord]) -> frozenset[Lease]:
        """Keep records; a history is written only when it has changed, or when Redis has lost it."""
        answers = await self._write([(record, self._has_news(record)) for record in records])
        lost = [record for record, answer in zip(records, answers, strict=True) if answer == _UNKNOWN]
        if lost:
            await self._write([(record, True) for record in lost])
        for record in records:
            self._histories[record.lease.session_id] = record.history
        return frozenset(record.lease for record, answer in zip(records, answers, strict=True) if answer == 0)

    async def keep_alive(self, leases: Sequence[Lease]) -> KeptAlive:
        """Say that sessions are open."""
        keys = [_PLACES, *(_key(lease.token) for lease in leases)]
        arguments: list[str | int] = [round(PLACE_TTL_S * 1000), self._open_ms]
        for lease in leases:
            arguments += [lease.session_id, lease.generation]
        answers = await self._ask(lambda: self._eval(_KEEP_ALIVE, keys, arguments), is_probe=True)
        told = list(zip(leases, answers, strict=True))
        return KeptAlive(
            moved=frozenset(lease for lease, answer in told if answer == 0),
            unknown=frozenset(lease for lease, answer in told if answer == _UNKNOWN),
        )

    async def release(self, leases: Sequence[Lease]) -> None:
        """Free places."""
        keys = [_PLACES, *(_key(lease.token) for lease in leases)]
        arguments: list[str | int] = [self._resume_ms]
        for lease in leases:
            arguments += [lease.session_id, lease.generation]
            self._histories.pop(lease.session_id, None)
        await self._ask(lambda: self._eval(_RELEASE, keys, arguments))

    async def count_open(self) -> int:
        """Places taken, by all processes."""
        return int(await self._ask(lambda: self._eval(_COUNT, [_PLACES], [])))

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose(close_connection_pool=True)

    async def _write(self, records: Sequence[tuple[SessionRecord, bool]]) -> list[int]:
        """One script a record, all in one round trip."""

        async def run() -> list[int]:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for record, with_history in records:
                    lease = record.lease
                    pipeline.eval(
                        _SAVE,
                        1,
                        _key(lease.token),
                        lease.session_id,
                        lease.generation,
                        self._open_ms,
                        json.dumps(_PROGRESS.dump_python(record.progress)),
                        orjson.dumps(record.history) if with_history else b"",
                    )
                return await pipeline.execute()

        return await self._ask(run)

    def _has_news(self, record: SessionRecord) -> bool:
        return self._histories.get(record.lease.session_id) is not record.history

    def _eval(self, script: str, keys: Sequence[str], arguments: Sequence[str | int]) -> Awaitable[Any]:
        return self._redis.eval(script, len(keys), *keys, *arguments)

    async def _ask(self, call: Callable[[], Awaitable[_T]], *, is_probe: bool = False) -> _T:
        if self._down_since_s is not None and not is_probe:
            msg = "Redis does not answer"
            raise StoreUnavailableError(msg)
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                answer = await call()
        except (RedisError, OSError, TimeoutError) as error:
            if self._down_since_s is None:
                self._down_since_s = time.monotonic()
                reason = str(error) or type(error).__name__
                logger.warning(
                    "Redis does not answer (%s): streams go on, but only this process can resume them", reason
                )
            msg = "Redis does not answer"
            raise StoreUnavailableError(msg) from error
        if self._down_since_s is not None:
            logger.warning("Redis answers again after %.0f s", time.monotonic() - self._down_since_s)
            self._down_since_s = None
        return answer

    def _full(self) -> LimitReachedError:
        return LimitReachedError(f"{self._max_sessions} sessions are open (limit of all processes); try again later")


def _place(lease: Lease) -> str:
    return f"{lease.session_id}:{lease.generation}"


def _key(token: str) -> str:
    return _SESSION + hashlib.sha256(token.encode()).hexdigest()[:40]
