"""Tables and their repositories, the same on SQLite and on a real PostgreSQL."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from app.core.errors import ConfigurationError
from app.db.database import Database
from app.db.models import Base
from app.repositories.feedback_clips import QUARANTINED, FeedbackClip, FeedbackClipRepository
from app.repositories.model_versions import LoadedModel, ModelVersionRepository
from app.repositories.signs import Sign, SignRepository
from tests.e2e.live_server import free_port

NOON = datetime(2026, 5, 4, 12, 0, 0, 123_456, tzinfo=UTC)


def make_clip(number: int, *, giver: str = "giver", session: str = "session") -> FeedbackClip:
    return FeedbackClip(
        clip_id=f"clip{number}",
        giver_hash=giver,
        session_id=session,
        sign_id=number,
        status=QUARANTINED,
        label="hello",
        predicted_label=None,
        confidence=0.25,
        model_version="v1",
        num_frames=30,
        duration_ms=990.5,
        consented_at=NOON + timedelta(minutes=number),
        created_at=NOON + timedelta(minutes=number),
    )


MODEL = LoadedModel(
    version="v1", sha256="a" * 64, backend="onnx", file_name="model_v1.onnx", num_labels=70, loaded_at=NOON
)


async def test_migrating_makes_the_tables_that_the_code_expects_and_does_nothing_the_second_time(
    database_url: str,
) -> None:
    database = Database(database_url)
    await database.migrate()
    await database.migrate()
    await database.close()

    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))

    engine = create_async_engine(database_url)
    async with engine.connect() as connection:
        found = await connection.run_sync(differences)
    await engine.dispose()
    assert found == []


async def test_servers_that_start_at_the_same_time_prepare_the_database_one_after_the_other(database_url: str) -> None:
    signs = [Sign(language="ase", label=f"sign{number}", kind="word", texts={"en": "x"}) for number in range(20)]

    async def prepare() -> list[tuple[str, str]]:
        database = Database(database_url)
        async with database.alone():
            await database.migrate()
            await SignRepository(database.sessions).replace_all(signs)
        labels = await SignRepository(database.sessions).list_labels("ase")
        await database.close()
        return labels

    if database_url.startswith("sqlite"):  # a file has one server
        prepared = [await prepare(), await prepare()]
    else:
        prepared = await asyncio.gather(*(prepare() for _ in range(4)))

    assert {len(labels) for labels in prepared} == {20}


async def test_signs_are_replaced_as_a_whole(database: Database) -> None:
    repository = SignRepository(database.sessions)
    thanks = Sign(language="ase", label="thank_you", kind="word", texts={"en": "thank you", "fr": "merci à toi"})
    await repository.replace_all([thanks, replace(thanks, language="kvk")])
    await repository.replace_all([thanks])

    assert await repository.list_labels() == [("ase", "thank_you")]


async def test_the_same_model_again_only_moves_its_last_time_and_times_are_utc(database: Database) -> None:
    repository = ModelVersionRepository(database.sessions)
    await repository.record(MODEL)
    later = replace(MODEL, loaded_at=NOON + timedelta(hours=1), num_labels=71)
    await repository.record(later)
    other = replace(MODEL, sha256="b" * 64, loaded_at=NOON + timedelta(minutes=1))
    await repository.record(other)

    assert await repository.list() == [later, other]


async def test_workers_that_load_a_model_at_the_same_time_record_it_once(database: Database) -> None:
    repository = ModelVersionRepository(database.sessions)

    await asyncio.gather(*(repository.record(MODEL) for _ in range(8)))

    assert await repository.list() == [MODEL]


async def test_clips_are_listed_newest_first_and_each_giver_sees_only_their_own(database: Database) -> None:
    repository = FeedbackClipRepository(database.sessions)
    clips = [make_clip(number, giver="ann" if number % 2 else "ben") for number in range(5)]
    for clip in clips:
        await repository.add(clip, f"landmarks {clip.clip_id}".encode())

    assert await repository.list(giver_hash=None, offset=0, limit=3) == [clips[4], clips[3], clips[2]]
    assert await repository.list(giver_hash="ann", offset=1, limit=9) == [clips[1]]
    assert (await repository.count(), await repository.count(giver_hash="ben")) == (5, 3)
    assert await repository.get_npz("clip1", giver_hash="ann") == b"landmarks clip1"
    assert await repository.get_npz("clip1", giver_hash="ben") is None


async def test_a_later_correction_of_a_sign_replaces_the_earlier_and_deleting_is_for_good(database: Database) -> None:
    repository = FeedbackClipRepository(database.sessions)
    await repository.add(make_clip(1), b"first")
    again = replace(make_clip(1), clip_id="again", label="yes")
    await repository.add(again, b"second")
    await repository.add(make_clip(2), b"third")

    assert await repository.list(giver_hash="giver", offset=0, limit=9) == [make_clip(2), again]
    assert await repository.delete(clip_id="again", giver_hash="somebody else") == 0
    assert await repository.delete(clip_id="again", giver_hash="giver") == 1
    assert await repository.delete(clip_id=None, giver_hash="giver") == 1
    assert await repository.count() == 0
    with pytest.raises(ValueError, match="say which"):
        await repository.delete(clip_id=None, giver_hash=None)


async def test_a_database_that_cannot_be_used_is_named_without_its_password(postgres_url: str) -> None:
    port = free_port()
    nobody = Database(f"postgresql+asyncpg://signflow:secret@127.0.0.1:{port}/signflow")
    missing = Database(f"{postgres_url}/nowhere")
    with pytest.raises(ConfigurationError, match=rf"127.0.0.1:{port}/signflow cannot be used") as refused:
        async with nobody.alone():
            pass
    with pytest.raises(ConfigurationError, match='"nowhere" does not exist'):
        async with missing.alone():
            pass
    await nobody.close()
    await missing.close()

    assert "secret" not in str(refused.value)
    assert "SIGNFLOW_DATABASE_URL" in str(refused.value)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_connection_that_the_server_closed_is_replaced(database: Database, database_url: str) -> None:
    repository = SignRepository(database.sessions)
    await repository.replace_all([])
    engine = create_async_engine(database_url)
    async with engine.connect() as connection:
        await connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    await engine.dispose()

    assert await repository.list_labels() == []
