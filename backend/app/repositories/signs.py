"""The signs of each sign language and their display texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.db.models import SignRow

SignKind = Literal["word", "letter", "idle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """One sign; `texts` maps interface languages (`en`, `fr`) to what is shown."""

    language: str
    label: str
    kind: SignKind
    texts: dict[str, str]


class SignRepository:
    """Reads and writes the table `signs`."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    async def replace_all(self, signs: Sequence[Sign]) -> None:
        """Make the table hold exactly these signs."""
        async with self._sessions.begin() as session:
            await session.execute(delete(SignRow))
            session.add_all(
                SignRow(language=sign.language, label=sign.label, kind=sign.kind, texts=sign.texts) for sign in signs
            )

    async def list_labels(self, language: str | None = None) -> list[tuple[str, str]]:
        """The (language, label) pairs, in that order, of one sign language or of all."""
        query = select(SignRow.language, SignRow.label).order_by(SignRow.language, SignRow.label)
        if language is not None:
            query = query.where(SignRow.language == language)
        async with self._sessions() as session:
            return [(row.language, row.label) for row in await session.execute(query)]
