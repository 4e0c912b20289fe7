"""The recordings that a tool reads: those that it is told, or else those in the data folder, of unseen people."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from app.core.config import load_settings
from app.core.errors import ConfigurationError
from app.ml.artifacts.files import read_manifest
from app.ml.errors import DatasetError
from app.ml.evaluation.model_comparison import Rules, unseen_clips
from app.ml.recordings.clips import Clip
from app.ml.recordings.importers.npz_files import load_usable
from app.ml.recordings.source_files import find_data_files
from scripts.console import fail, tell_skipped

DATA_HELP: Final = (
    "Data set, clip or folder of .npz; may be repeated. Without it: what lies in the data folder (data/landmarks and "
    "data/clips, of the repository or of backend), of the people whom no given model has seen."
)


def load_usable_recordings(paths: Sequence[Path], *, tell: bool = True) -> list[Clip]:
    """The clips of files and folders that can be used; what cannot is named on stderr, unless `tell` is off.

    Raises:
        ClipFileError: a path does not exist, or is a folder without a recording.
        DatasetError: nothing can be used.
    """
    clips, left_out = load_usable(paths)
    if tell:
        tell_skipped("left out", left_out)
    return clips


def load_unseen(models: Sequence[Path], *, console: Console, assume_unseen: bool = False) -> list[Clip]:
    """Read the data folder and keep the people whom none of the models has seen; says on `console` who they are.

    Args:
        models: model files, of any kind.
        console: where the people are named.
        assume_unseen: believe that a model which doesn't say whom it was trained on has seen nobody here.

    Raises:
        DatasetError: there is no recording, none says who signs, a model does not say whom it has seen, or it has seen
            everybody.
        ArtifactError: a model file cannot be used.
    """
    manifests = [(path.name, read_manifest(path)) for path in dict.fromkeys(models)]
    clips = load_usable_recordings(_find_folders())
    named = [clip for clip in clips if clip.signer is not None]
    if not named:
        msg = f"none of the {len(clips)} recordings in the data folder says who signs; name recordings with --data"
        raise DatasetError(msg)
    left = unseen_clips(manifests, named, Rules(skip_seen=True, assume_unseen=assume_unseen))
    people = sorted({clip.signer or "" for clip in left})
    seen = sorted({clip.signer or "" for clip in named} - set(people))
    console.print(
        f"People whom no given model has seen: {', '.join(people)} ({len(left)} recordings)"
        + (f"; left out, because a model has seen them: {', '.join(seen)}" if seen else "")
        + (f"; left out, because they do not say who signs: {len(clips) - len(named)}" if clips[len(named) :] else ""),
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return left


def _find_folders() -> list[Path]:
    try:
        settings = load_settings()
    except ConfigurationError as error:
        raise fail(str(error)) from error
    shared = settings.datasets_dir
    # The data folder as the page lists it, and what the tools wrote into a folder of that name when run from `backend`.
    places = [shared, settings.data_dir / "landmarks", settings.data_dir / "clips"]
    found = [one for one in places if find_data_files(one, {".npz"})]
    if not found:
        msg = (
            f"no --data was given, and no recording lies in {shared / 'landmarks'} or {shared / 'clips'}; put "
            "recordings of new people there (docs/data.md says how to make them), or name them with --data"
        )
        raise DatasetError(msg)
    return [one for one in found if one is shared or not one.resolve().is_relative_to(shared.resolve())]
