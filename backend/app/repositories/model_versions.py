"""Which model files this server has loaded, and when."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
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
        query = select(ModelVersionRow).where(
            ModelVersionRow.version == model.version,
            ModelVersionRow.sha256 == model.sha256,
            ModelVersionRow.backend == model.backend,
        )
        async with self._sessions.begin() as session:
            row = await session.scalar(query)
            if row is None:
                row = ModelVersionRow(
                    version=model.version,
                    sha256=model.sha256,
                    backend=model.backend,
                    first_loaded_at=model.loaded_at,
                )
                session.add(row)
            row.file_name = model.file_name
            row.num_labels = model.num_labels
            row.last_loaded_at = model.loaded_at

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
