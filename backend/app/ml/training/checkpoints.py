"""Checkpoints of a training run: written whole or not at all, the one before kept, read without pickle's code path."""

import io
import logging
from collections.abc import Mapping
from pathlib import Path

import torch

from app.ml.artifacts.files import UNREADABLE
from app.ml.artifacts.whole_files import sync_folder, write_whole
from app.ml.errors import ArtifactError, TrainingError

logger = logging.getLogger(__name__)


def previous_of(path: Path) -> Path:
    """Where the checkpoint before the newest is kept: `run.ckpt` beside `run.previous.ckpt`."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def save_checkpoint(path: Path, *, state: dict[str, object], identity: Mapping[str, str]) -> None:
    """Write a checkpoint and move it into place; at every moment this one or the one before can be read.

    Args:
        path: the checkpoint's file; its folder is made.
        state: plain values and tensors.
        identity: what the run is (model, data, configuration ...); a resume with another identity is refused.

    Raises:
        TrainingError: it cannot be written, as on a full disk; the last one is as it was.
    """
    content = io.BytesIO()
    torch.save({"identity": dict(identity), "state": state}, content)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.new")
        write_whole(fresh, content.getvalue())
        if path.exists():
            path.replace(previous_of(path))
        fresh.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        msg = (
            f"checkpoint {path} cannot be written ({error.strerror}); the last one is whole: make room, then start the "
            "same command again"
        )
        raise TrainingError(msg) from error


def load_checkpoint(path: Path, *, identity: Mapping[str, str]) -> dict[str, object] | None:
    """Read the newest checkpoint; when that is damaged, the one before, with a warning.

    Returns:
        The state, None when there is no checkpoint.

    Raises:
        ArtifactError: no checkpoint can be read, or it belongs to another run; the message says what differs.
    """
    newest, previous = path, previous_of(path)
    if not newest.exists():  # killed between the two names
        newest = previous
    if not newest.exists():
        return None
    try:
        return _read(newest, identity)
    except _DamagedError as error:
        if newest == previous or not previous.exists():
            raise
        logger.warning("%s; going on from %s", error, previous.name)
        return _read(previous, identity)


class _DamagedError(ArtifactError):
    """The file is no checkpoint that can be read."""


def _read(path: Path, identity: Mapping[str, str]) -> dict[str, object]:
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        found, state = saved["identity"], saved["state"]
        differing = sorted(key for key in {*identity, *found} if identity.get(key) != found.get(key))
    except UNREADABLE as error:
        # PyTorch's own text advises loading without `weights_only`, which would run whatever the file says.
        msg = f"{path} is not a readable checkpoint ({type(error).__name__}); delete it to start again"
        raise _DamagedError(msg) from error
    if differing:
        what = "; ".join(f"{key} was {_short(found.get(key))}, is {_short(identity.get(key))}" for key in differing)
        msg = f"{path} belongs to another run ({what}); delete it or choose another file"
        raise ArtifactError(msg)
    return state


def _short(text: str | None, limit: int = 60) -> str:
    text = "not stated" if text is None else text
    return text if len(text) <= limit else f"{text[:limit]}..."
