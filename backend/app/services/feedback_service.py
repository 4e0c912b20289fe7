"""Corrections: the caption follows at once; the sign's landmark clip is kept only with consent, in quarantine."""

import asyncio
import hashlib
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from app.core.errors import InvalidInputError, LimitReachedError, NotFoundError
from app.core.metrics import ServerMetrics
from app.ml.recordings.clips import Clip, save_clip
from app.repositories.feedback_clips import QUARANTINED, FeedbackClip, FeedbackClipRepository
from app.services.inference_service import TranslationSession
from app.services.sign_catalog import SignCatalog


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackLimits:
    """How many clips are kept, in all and of one giver."""

    max_clips: int = 10_000
    max_clips_per_giver: int = 200


class FeedbackService:
    """Takes corrections, lists and deletes clips. A giver is known by the token of the session that gave them."""

    def __init__(
        self, clips: FeedbackClipRepository, *, catalog: SignCatalog, limits: FeedbackLimits, metrics: ServerMetrics
    ) -> None:
        self._clips = clips
        self._catalog = catalog
        self._limits = limits
        self._metrics = metrics
        self._storing = asyncio.Lock()

    async def give(self, session: TranslationSession, *, sign_id: int, label: str, has_consent: bool) -> None:
        """Take the right label of a sign.

        Raises:
            NotFoundError: the session does not remember that sign, or no longer its landmarks.
            InvalidInputError: nobody knows that label.
            LimitReachedError: no more clips are kept.
        """
        found = session.find_sign(sign_id)
        if found is None:
            msg = f"this session has no sign {sign_id}, or it is too long ago"
            raise NotFoundError(msg)
        if label not in session.recogniser.labels and self._catalog.get(label) is None:
            msg = f"{label!r} is not a sign of this server; /api/v1/signs lists them"
            raise InvalidInputError(msg)
        session.correct(sign_id, None if self._catalog.is_background(label) else label)
        if not has_consent:
            return
        sign, window = found
        if window is None:
            msg = f"the landmarks of sign {sign_id} are no longer in memory; correct a sign soon after it"
            raise NotFoundError(msg)
        giver_hash = hash_giver_token(session.token)
        now = datetime.now(UTC)
        clip = FeedbackClip(
            clip_id=secrets.token_hex(16),
            giver_hash=giver_hash,
            session_id=session.session_id,
            sign_id=sign_id,
            status=QUARANTINED,
            label=label,
            predicted_label=sign.label,
            confidence=sign.confidence,
            model_version=sign.model_version,
            num_frames=len(window.times_ms),
            duration_ms=float(window.times_ms[-1] - window.times_ms[0]),
            consented_at=now,
            created_at=now,
        )
        known = self._catalog.get(label)
        landmark_clip = Clip(
            landmarks=window.landmarks,
            times_ms=window.times_ms,
            width=window.width,
            height=window.height,
            label=label,
            clip_id=clip.clip_id,
            language=None if known is None else known.language,
        )
        npz = await asyncio.to_thread(_to_npz, landmark_clip)
        async with self._storing:
            await self._require_room(giver_hash)
            await self._clips.add(clip, npz)
        self._metrics.feedback_kept()

    async def list(self, *, giver_token: str | None, offset: int = 0, limit: int = 100) -> Sequence[FeedbackClip]:
        """Clips of a giver, or of everybody with None (which only an operator may ask), newest first."""
        return await self._clips.list(giver_hash=_hash_or_none(giver_token), offset=offset, limit=limit)

    async def count(self, *, giver_token: str | None) -> int:
        """How many clips a giver, or with None everybody, has given."""
        return await self._clips.count(giver_hash=_hash_or_none(giver_token))

    async def require_npz(self, clip_id: str, *, giver_token: str | None) -> bytes:
        """The landmark clip file of one correction.

        Raises:
            NotFoundError: there is none, or it is somebody else's.
        """
        npz = await self._clips.get_npz(clip_id, giver_hash=_hash_or_none(giver_token))
        if npz is None:
            raise _no_clip(clip_id)
        return npz

    async def delete(self, clip_id: str, *, giver_token: str | None) -> None:
        """Delete one clip for good.

        Raises:
            NotFoundError: there is none, or it is somebody else's.
        """
        if not await self._clips.delete(clip_id=clip_id, giver_hash=_hash_or_none(giver_token)):
            raise _no_clip(clip_id)

    async def delete_all(self, *, giver_token: str) -> int:
        """Delete everything that one giver has given; returns how many clips that were."""
        return await self._clips.delete(clip_id=None, giver_hash=hash_giver_token(giver_token))

    async def _require_room(self, giver_hash: str) -> None:
        if await self._clips.count() >= self._limits.max_clips:
            msg = (
                f"{self._limits.max_clips} feedback clips are kept (the limit); an operator can delete some or "
                "raise SIGNFLOW_FEEDBACK__MAX_CLIPS"
            )
            raise LimitReachedError(msg)
        if await self._clips.count(giver_hash=giver_hash) >= self._limits.max_clips_per_giver:
            msg = f"this session has given {self._limits.max_clips_per_giver} clips, the limit for one giver"
            raise LimitReachedError(msg)


def hash_giver_token(token: str) -> str:
    """What is stored instead of a giver's token; tokens are long and random, so a plain hash hides them."""
    return hashlib.sha256(token.encode()).hexdigest()


def _hash_or_none(token: str | None) -> str | None:
    return None if token is None else hash_giver_token(token)


def _no_clip(clip_id: str) -> NotFoundError:
    return NotFoundError(f"there is no feedback clip {clip_id!r} of yours")


def _to_npz(clip: Clip) -> bytes:
    with tempfile.TemporaryDirectory(prefix="signflow-") as folder:
        path = Path(folder) / "clip.npz"
        save_clip(path, clip)
        return path.read_bytes()
