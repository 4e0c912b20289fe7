"""The database connection: SQLite without any setup, PostgreSQL by URL."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from app.core.errors import ConfigurationError

MIGRATIONS_DIR: Final = Path(__file__).parent / "migrations"
BUSY_TIMEOUT_MS: Final = 5_000
_PREPARING_LOCK: Final = 0x5167_F107
"""Number of PostgreSQL's advisory lock for changing tables; any number that nobody else uses."""


class Database:
    """An engine and its sessions; `migrate` before first use, `close` at the end."""

    def __init__(self, url: str) -> None:
        """Take the database at a URL; nothing is opened yet.

        Raises:
            ConfigurationError: the driver is not installed.
        """
        self._shown_url = make_url(url).render_as_string(hide_password=True)
        try:
            # A connection that the database closed while it lay in the pool is noticed and replaced.
            self._engine = create_async_engine(url, pool_pre_ping=not url.startswith("sqlite"))
        except ModuleNotFoundError as error:
            msg = f"{self._shown_url} needs the package {error.name}; 'make extra NAME=scale' installs it"
            raise ConfigurationError(msg) from error
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine.sync_engine, "connect", _prepare_sqlite)
        self.sessions: async_sessionmaker[AsyncSession] = async_sessionmaker(self._engine, expire_on_commit=False)

    @asynccontextmanager
    async def alone(self) -> AsyncGenerator[None]:
        """Keep other servers that start at the same time from preparing the same PostgreSQL database.

        A SQLite file has one server, which prepares it before it starts its workers.

        Raises:
            ConfigurationError: the database cannot be reached, or refuses us.
        """
        if self._engine.dialect.name != "postgresql":
            yield
            return
        try:
            connection = await self._engine.connect()
        except (SQLAlchemyError, OSError) as error:
            reason = str(error).splitlines()[0]
            msg = f"the database {self._shown_url} cannot be used: {reason}; see SIGNFLOW_DATABASE_URL"
            raise ConfigurationError(msg) from error
        try:
            await connection.execute(text("SELECT pg_advisory_lock(:number)"), {"number": _PREPARING_LOCK})
            yield
        finally:
            await connection.execute(text("SELECT pg_advisory_unlock(:number)"), {"number": _PREPARING_LOCK})
            await connection.close()

    async def migrate(self) -> None:
        """Bring the tables to the newest version."""
        async with self._engine.begin() as connection:
            await connection.run_sync(_upgrade)

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS_DIR))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _prepare_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    """Readers don't wait for writers, writers wait for each other, and deleted clips are wiped from the file."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA secure_delete=ON")
    cursor.close()
