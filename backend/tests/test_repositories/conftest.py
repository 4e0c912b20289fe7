"""An empty, migrated database of each kind that SignFlow runs on."""

import itertools
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from app.db.database import Database
from tests.postgres_server import run_postgres

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A running PostgreSQL, without a database's name."""
    with run_postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'signflow.db'}"
    server: str = request.getfixturevalue("postgres_url")
    name = f"test{next(_numbers)}"
    engine = create_async_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(f"CREATE DATABASE {name}"))
    await engine.dispose()
    return f"{server}/{name}"


@pytest.fixture
async def database(database_url: str) -> AsyncGenerator[Database]:
    """An empty database with all tables."""
    database = Database(database_url)
    await database.migrate()
    yield database
    await database.close()
