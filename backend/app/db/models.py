"""Tables. A change here needs a migration beside it (`alembic revision --autogenerate` from `backend`)."""

from datetime import UTC, datetime

from sqlalchemy import JSON, DateTime, Float, Index, Integer, LargeBinary, String, TypeDecorator, UniqueConstraint
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, in UTC. SQLite forgets time zones, so they are given back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """What was read, in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Base of all tables."""


class SignRow(Base):
    """A sign of a sign language and how it reads in each interface language."""

    __tablename__ = "signs"

    language: Mapped[str] = mapped_column(String(3), primary_key=True)
    label: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    texts: Mapped[dict[str, str]] = mapped_column(JSON)


class ModelVersionRow(Base):
    """A model file that this server has loaded."""

    __tablename__ = "model_versions"
    __table_args__ = (UniqueConstraint("version", "sha256", "backend", name="uq_model_versions_file"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    version: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64))
    backend: Mapped[str] = mapped_column(String(32))
    file_name: Mapped[str] = mapped_column(String(255))
    num_labels: Mapped[int] = mapped_column(Integer)
    first_loaded_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_loaded_at: Mapped[datetime] = mapped_column(UtcDateTime)


class FeedbackClipRow(Base):
    """The landmark clip of a sign with the label that its signer says is right, kept with their consent."""

    __tablename__ = "feedback_clips"
    __table_args__ = (
        UniqueConstraint("session_id", "sign_id", name="uq_feedback_clips_sign"),
        Index("ix_feedback_clips_giver_hash", "giver_hash"),
        Index("ix_feedback_clips_created_at", "created_at"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    giver_hash: Mapped[str] = mapped_column(String(64))
    session_id: Mapped[str] = mapped_column(String(32))
    sign_id: Mapped[int] = mapped_column(Integer)
    status: Mapped[str] = mapped_column(String(16))
    label: Mapped[str] = mapped_column(String(64))
    predicted_label: Mapped[str | None] = mapped_column(String(64))
    confidence: Mapped[float] = mapped_column(Float)
    model_version: Mapped[str] = mapped_column(String(64))
    num_frames: Mapped[int] = mapped_column(Integer)
    duration_ms: Mapped[float] = mapped_column(Float)
    consented_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    clip: Mapped[bytes] = mapped_column(LargeBinary)
