"""Which model files this server has loaded, and when."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.db.models import ModelVersionRow


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """One model file; times are UTC."""

    version: str
    sha256: str
    backend: str
    file_name: str
    num_labels: int
    loaded_at: datetime


class ModelVersionRepository:
    """Reads and writes the table `model_versions`."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    async def record(self, model: LoadedModel) -> None:
        """Remember that a model was loaded; the same file again only moves its last time."""
        if not await self._touch(model):
            try:
                async with self._sessions.begin() as session:
                    session.add(
                        ModelVersionRow(
                            version=model.version,
                            sha256=model.sha256,
                            backend=model.backend,
                            file_name=model.file_name,
                            num_labels=model.num_labels,
                            first_loaded_at=model.loaded_at,
                            last_loaded_at=model.loaded_at,
                        )
                    )
            except IntegrityError:  # another worker that loads the same file was first
                await self._touch(model)

    async def _touch(self, model: LoadedModel) -> bool:
        """Move the last time of a known file; False when it is not known."""
        statement = (
            update(ModelVersionRow)
            .where(
                ModelVersionRow.version == model.version,
                ModelVersionRow.sha256 == model.sha256,
                ModelVersionRow.backend == model.backend,
            )
            .values(file_name=model.file_name, num_labels=model.num_labels, last_loaded_at=model.loaded_at)
            .returning(ModelVersionRow.id)
        )
        async with self._sessions.begin() as session:
            return (await session.execute(statement)).first() is not None

    async def list(self, *, limit: int = 50) -> Sequence[LoadedModel]:
        """The models loaded last, newest first."""
        query = select(ModelVersionRow).order_by(ModelVersionRow.last_loaded_at.desc()).limit(limit)
        async with self._sessions() as session:
            return [
                LoadedModel(
                    version=row.version,
                    sha256=row.sha256,
                    backend=row.backend,
                    file_name=row.file_name,
                    num_labels=row.num_labels,
                    loaded_at=row.last_loaded_at,
                )
                for row in await session.scalars(query)
            ]
