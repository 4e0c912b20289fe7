"""Both stores of sessions, held against the same expectations; Redis is a real one."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.core.errors import LimitReachedError, StoreUnavailableError
from app.ml.inference.segmenter_memory import SegmenterMemory, SegmenterState
from app.ml.types import Alternative
from app.services.captions import CaptionEntry
from app.services.events import SignFinished
from app.services.redis_session_store import RedisSessionStore
from app.services.session_record import Lease, SessionHistory, SessionProgress, SessionRecord
from app.services.session_store import MemorySessionStore, SessionStore
from app.services.streams import StreamInfo
from tests.redis_server import RedisServer

MAX_SESSIONS = 3


def make_lease(name: str = "a", generation: int = 1) -> Lease:
    return Lease(token=f"token-{name}", session_id=f"session-{name}", generation=generation)


def make_record(lease: Lease, *, num_signs: int = 2, reached: int = 41) -> SessionRecord:
    """A session in the middle of a sign, with numbers that are no plain numbers."""
    memory = SegmenterMemory(
        state=SegmenterState.RECORDING,
        start_ms=1_100.25,
        done_ms=900.0,
        partial_labels=["hello", "hi"],
        last_hands_ms=1_366.6666666,
        wrists=(0.25, float("nan"), 1 / 3, 0.5),
        wrists_ms=1_300.0,
    )
    signs = tuple(
        SignFinished(
            sign_id=number,
            label=None if number == 2 else "hello",
            confidence=1 / 3,
            alternatives=(Alternative(label="hello", confidence=1 / 3),),
            start_ms=100.0 * number,
            end_ms=100.0 * number + 50,
            model_version="v7",
            latency_ms=3.25,
        )
        for number in range(1, num_signs + 1)
    )
    caption = tuple(CaptionEntry(sign_id=s.sign_id, label=s.label, start_ms=s.start_ms, end_ms=s.end_ms) for s in signs)
    progress = SessionProgress(
        stream=StreamInfo(width=480, height=640, mirrored=True, locale="fr"),
        state=SegmenterState.RECORDING,
        memory=memory,
        resume_after=12,
        reached_sequence=reached,
        reached_ms=1_366.6666666,
        stepped_ms=None,
        partial_ms=float("-inf"),
        last_sequence=reached,
        frames_handled=40,
        frames_dropped=2,
    )
    return SessionRecord(
        lease=lease,
        progress=progress,
        history=SessionHistory(signs=signs, caption=caption, num_signs=num_signs),
    )


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(folder=tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


Make = Callable[[], SessionStore]


@pytest.fixture(params=["memory", "redis"])
async def make_store(request: pytest.FixtureRequest) -> AsyncGenerator[Make]:
    """Makes the store of one process; two made in one test share what they keep."""
    if request.param == "memory":
        store = MemorySessionStore(max_sessions=MAX_SESSIONS, max_kept=2, resume_s=60.0)
        yield lambda: store
        return
    redis: RedisServer = request.getfixturevalue("redis")
    made: list[RedisSessionStore] = []

    def make() -> SessionStore:
        made.append(RedisSessionStore(redis.url, max_sessions=MAX_SESSIONS, resume_s=60.0))
        return made[-1]

    yield make
    await redis.flush()
    for store in made:
        await store.close()


async def test_what_was_kept_comes_back_whole_with_the_next_generation(make_store: Make) -> None:
    first, second = make_store(), make_store()
    record = make_record(make_lease())
    await first.admit(record.lease)
    await first.save([record])

    taken = await second.take("token-a")

    assert taken is not None
    assert taken.lease == make_lease(generation=2)
    assert taken.history == record.history
    assert repr(taken.progress) == repr(record.progress)  # NaN is not equal to itself
    assert await second.take("token-b") is None


async def test_an_earlier_owner_learns_that_the_session_has_moved_and_cannot_overwrite_it(make_store: Make) -> None:
    first, second = make_store(), make_store()
    lease = make_lease()
    await first.admit(lease)
    await first.save([make_record(lease)])
    taken = await second.take(lease.token)
    assert taken is not None
    newer = replace(taken, progress=make_record(lease, reached=99).progress)
    await second.save([newer])

    assert await first.save([make_record(lease, reached=50)]) == {lease}
    assert (await first.keep_alive([lease])).moved == {lease}
    await first.release([lease])
    again = await second.take(lease.token)
    assert again is not None
    assert again.progress.reached_sequence == 99
    assert await second.count_open() == 1  # the earlier owner's release took nothing from the later one


async def test_places_are_counted_over_all_processes_and_can_be_taken_again(make_store: Make) -> None:
    first, second = make_store(), make_store()
    leases = [make_lease(name) for name in "abc"]
    for store, lease in zip((first, second, first), leases, strict=True):
        await store.admit(lease)
    with pytest.raises(LimitReachedError, match="limit"):
        await second.admit(make_lease("d"))
    assert await first.count_open() == await second.count_open() == MAX_SESSIONS

    await second.release([leases[1]])
    await first.admit(make_lease("d"))


async def test_a_session_brings_its_place_along_and_needs_one_when_it_had_lost_it(make_store: Make) -> None:
    store = make_store()
    leases = [make_lease(name) for name in "abc"]
    for lease in leases:
        await store.admit(lease)
        await store.save([make_record(lease)])

    assert await store.take("token-a") is not None  # its connection looks open: the place moves with it
    await store.release([leases[1]])
    await store.admit(make_lease("d"))
    with pytest.raises(LimitReachedError):
        await store.take("token-b")


async def test_only_what_changed_is_written_and_nothing_is_missing_afterwards(make_store: Make) -> None:
    store = make_store()
    record = make_record(make_lease())
    await store.admit(record.lease)
    await store.save([record])
    for reached in (60, 70):
        await store.save([replace(record, progress=make_record(record.lease, reached=reached).progress)])
    longer = make_record(record.lease, num_signs=3, reached=80)
    await store.save([longer])

    taken = await store.take(record.lease.token)

    assert taken is not None
    assert taken.history == longer.history
    assert taken.progress.reached_sequence == 80


async def test_sessions_that_nobody_kept_are_named(make_store: Make) -> None:
    store = make_store()
    await store.admit(make_lease())

    assert (await store.keep_alive([make_lease()])).unknown == {make_lease()}
    await store.save([make_record(make_lease())])
    assert (await store.keep_alive([make_lease()])).unknown == set()


async def test_the_memory_store_forgets_the_oldest_lost_sessions_and_the_expired() -> None:
    now = [0.0]
    store = MemorySessionStore(max_sessions=9, max_kept=2, resume_s=10.0, clock=lambda: now[0])
    for name in "abc":
        await store.admit(make_lease(name))
        await store.save([make_record(make_lease(name))])
        await store.release([make_lease(name)])

    assert await store.take("token-a") is None
    assert await store.take("token-b") is not None
    now[0] = 11.0
    assert await store.take("token-c") is None


async def test_redis_forgets_a_lost_session_after_its_time(redis: RedisServer) -> None:
    store = RedisSessionStore(redis.url, max_sessions=9, resume_s=0.2)
    await store.admit(make_lease())
    await store.save([make_record(make_lease())])
    await store.release([make_lease()])
    await asyncio.sleep(0.4)

    assert await store.take("token-a") is None
    assert await store.count_open() == 0
    await store.close()


async def test_nobody_who_reads_redis_finds_a_token(redis: RedisServer) -> None:
    store = RedisSessionStore(redis.url, max_sessions=9, resume_s=5)
    await store.admit(make_lease())
    await store.save([make_record(make_lease())])

    async with redis.client() as client:
        names = await client.keys("*")
        contents = [await client.dump(name) for name in names]
    await redis.flush()
    await store.close()

    assert len(contents) == 2
    assert "token-a" not in repr((contents, names))


async def test_records_of_another_version_are_left_alone(redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    store = RedisSessionStore(redis.url, max_sessions=9, resume_s=5)
    await store.save([make_record(make_lease())])
    async with redis.client() as client:
        (name,) = await client.keys("*session*")
        await client.hset(name, "progress", '{"from": "the future"}')

    assert await store.take("token-a") is None
    assert "another version" in caplog.text
    await redis.flush()
    await store.close()


async def test_a_redis_that_goes_away_and_comes_back_empty_is_noticed_once_each_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    server = RedisServer(folder=tmp_path)
    server.start()
    store = RedisSessionStore(server.url, max_sessions=9, resume_s=5)
    record = make_record(make_lease())
    await store.admit(record.lease)
    await store.save([record])
    server.kill()
    for _ in range(5):
        with pytest.raises(StoreUnavailableError):
            await store.save([record])
    with pytest.raises(StoreUnavailableError):
        await store.keep_alive([record.lease])
    assert not store.is_reachable
    server.start()
    with pytest.raises(StoreUnavailableError):
        await store.admit(make_lease("b"))  # would make a newcomer wait: only keep_alive and take try again

    assert (await store.keep_alive([record.lease])).unknown == {record.lease}
    assert store.is_reachable
    assert await store.save([record]) == frozenset()
    taken = await store.take("token-a")
    await store.close()
    server.kill()

    assert taken is not None
    assert taken.history == record.history  # the history was written again, although it had not changed
    assert [message.split(" (")[0] for message in caplog.messages] == [
        "Redis does not answer",
        "Redis answers again after 0 s",
    ]
