"""Checkpoints of a training run: written whole or not at all, read without pickle's code path."""

import os
import pickle
from pathlib import Path
from zipfile import BadZipFile

import torch

from app.ml.errors import ArtifactError


def save_checkpoint(path: Path, *, state: dict[str, object], identity: str) -> None:
    """Write a checkpoint beside its name and move it into place, so that a kill leaves the old one or the new one.

    Args:
        path: the checkpoint's file; its folder is made.
        state: plain values and tensors.
        identity: what the run is (model, data, configuration); a resume with another identity is refused.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        torch.save({"identity": identity, "state": state}, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def load_checkpoint(path: Path, *, identity: str) -> dict[str, object]:
    """Read a checkpoint.

    Raises:
        ArtifactError: the file is damaged, or it belongs to another run.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        found, state = saved["identity"], saved["state"]
    except (RuntimeError, EOFError, KeyError, TypeError, BadZipFile, pickle.UnpicklingError) as error:
        # PyTorch's own text advises loading without `weights_only`, which would run whatever the file says.
        msg = f"{path} is not a readable checkpoint ({type(error).__name__}); delete it to start again"
        raise ArtifactError(msg) from error
    if found != identity:
        msg = f"{path} belongs to another run (model, data or configuration differ); delete it or choose another file"
        raise ArtifactError(msg)
    return state
