"""The operator's token: given by settings, or made at the first start, shown once and stored only as a hash."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.core.errors import NotAllowedError
from app.ml.artifacts.whole_files import write_text_whole

_FILE_NAME: Final = "operator_token.sha256"


@dataclass(frozen=True, slots=True)
class OperatorService:
    """Checks the operator's token; only the hash is held (tokens are long and random, so a plain hash hides them)."""

    token_hash: str

    def require(self, token: str | None) -> None:
        """Let the operator pass.

        Raises:
            NotAllowedError: no token, or not the operator's.
        """
        if not self.is_operator(token):
            msg = (
                "this needs the operator's token: Authorization: Bearer <token>, as printed at the server's first start"
            )
            raise NotAllowedError(msg)

    def is_operator(self, token: str | None) -> bool:
        """True for the operator's token; takes the same time for every wrong one."""
        return token is not None and hmac.compare_digest(_hash(token), self.token_hash)


def load_operator(
    secrets_dir: Path, *, configured: str | None, renew: bool = False
) -> tuple[OperatorService, str | None]:
    """Take the configured token, or the stored one, or make one.

    Args:
        secrets_dir: where the hash of a made token is kept, readable by this user only.
        configured: the token from settings.
        renew: make a new token although one is stored.

    Returns:
        The service, and the token when it was made just now: show it, it cannot be read again.
    """
    if configured is not None:
        return OperatorService(_hash(configured)), None
    path = secrets_dir / _FILE_NAME
    if path.exists() and not renew:
        return OperatorService(path.read_text("ascii").strip()), None
    token = secrets.token_urlsafe(32)
    secrets_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)  # kept by what is written over it
    write_text_whole(path, _hash(token) + "\n")
    return OperatorService(_hash(token)), token


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
