"""Corrections with their landmark clips, in quarantine until an annotator accepts them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.db.models import FeedbackClipRow

QUARANTINED: Final = "quarantined"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackClip:
    """One correction, without its landmarks; times are UTC.

    Attributes:
        giver_hash: SHA-256 of the giver's token; the token itself is stored nowhere.
        label: what the giver says it was.
        predicted_label: what the model said; None for "not sure".
    """

    clip_id: str
    giver_hash: str
    session_id: str
    sign_id: int
    status: str
    label: str
    predicted_label: str | None
    confidence: float
    model_version: str
    num_frames: int
    duration_ms: float
    consented_at: datetime
    created_at: datetime


_COLUMNS: Final = tuple(column for column in FeedbackClipRow.__table__.columns if column.name != "clip")


class FeedbackClipRepository:
    """Reads and writes the table `feedback_clips`. `giver_hash` None means everybody's."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    async def add(self, clip: FeedbackClip, npz: bytes) -> None:
        """Store a clip; a later correction of the same sign replaces the earlier one."""
        async with self._sessions.begin() as session:
            await session.execute(
                delete(FeedbackClipRow).where(
                    FeedbackClipRow.session_id == clip.session_id, FeedbackClipRow.sign_id == clip.sign_id
                )
            )
            session.add(
                FeedbackClipRow(
                    id=clip.clip_id,
                    giver_hash=clip.giver_hash,
                    session_id=clip.session_id,
                    sign_id=clip.sign_id,
                    status=clip.status,
                    label=clip.label,
                    predicted_label=clip.predicted_label,
                    confidence=clip.confidence,
                    model_version=clip.model_version,
                    num_frames=clip.num_frames,
                    duration_ms=clip.duration_ms,
                    consented_at=clip.consented_at,
                    created_at=clip.created_at,
                    clip=npz,
                )
            )

    async def count(self, *, giver_hash: str | None = None) -> int:
        """How many clips there are."""
        query = select(func.count()).select_from(FeedbackClipRow)
        if giver_hash is not None:
            query = query.where(FeedbackClipRow.giver_hash == giver_hash)
        async with self._sessions() as session:
            return await session.scalar(query) or 0

    async def list(self, *, giver_hash: str | None, offset: int, limit: int) -> Sequence[FeedbackClip]:
        """Clips, newest first, without their landmarks."""
        query = select(*_COLUMNS).order_by(FeedbackClipRow.created_at.desc(), FeedbackClipRow.id)
        if giver_hash is not None:
            query = query.where(FeedbackClipRow.giver_hash == giver_hash)
        async with self._sessions() as session:
            rows = (await session.execute(query.offset(offset).limit(limit))).mappings()
            return [FeedbackClip(clip_id=row["id"], **{key: row[key] for key in row if key != "id"}) for row in rows]

    async def get_npz(self, clip_id: str, *, giver_hash: str | None) -> bytes | None:
        """The landmark clip file of one correction; None when there is none, or it is somebody else's."""
        query = select(FeedbackClipRow.clip).where(FeedbackClipRow.id == clip_id)
        if giver_hash is not None:
            query = query.where(FeedbackClipRow.giver_hash == giver_hash)
        async with self._sessions() as session:
            return await session.scalar(query)

    async def delete(self, *, clip_id: str | None, giver_hash: str | None) -> int:
        """Delete one clip, or all of a giver; returns how many were deleted.

        Raises:
            ValueError: neither says which.
        """
        if clip_id is None and giver_hash is None:
            msg = "say which clip, or whose clips, to delete"
            raise ValueError(msg)
        query = delete(FeedbackClipRow)
        if clip_id is not None:
            query = query.where(FeedbackClipRow.id == clip_id)
        if giver_hash is not None:
            query = query.where(FeedbackClipRow.giver_hash == giver_hash)
        async with self._sessions.begin() as session:
            deleted = await session.execute(query.returning(FeedbackClipRow.id))
            return len(deleted.all())
