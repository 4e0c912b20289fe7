"""Which video becomes which clip file, decided before anything is extracted, so that no clip overwrites another.

IN/LABEL/x.mp4 -> OUT/LABEL/x.npz      x.mp4 beside x.mov -> x.mp4.npz, x.mov.npz
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

from app.ml.errors import DatasetError
from app.ml.recordings.importers.videos import find_videos
from app.ml.recordings.names import Spellings, clean, spell
from app.ml.recordings.source_files import place_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPlan:
    """A video, where its clip goes, and what it is called."""

    video: Path
    clip: Path
    label: str | None
    signer: str | None


def plan_clips(
    sources: Sequence[Path], output: Path, *, label: str | None, signer: str | None, label_from_folder: bool
) -> list[ClipPlan]:
    """The clips of all videos, each with a file of its own; a video that is given twice is taken once.

    Args:
        sources: videos, or folders of them.
        output: folder for the clips, which lie there as the videos lie below their source.
        label: of every video.
        signer: of every video whose folders name nobody.
        label_from_folder: folders are `LABEL/...` or `LABEL/SIGNER/...`, as the importers read them; what lies directly
            in a source has the label of the folder that it lies in, when no other folder of the source holds a video.

    Raises:
        DatasetError: two videos would have the same clip file, or a name cannot be kept.
    """
    names = Spellings("label", option="import_dataset --labels")
    found: dict[Path, tuple[Path, ClipPlan]] = {}
    for source in sources:
        videos = find_videos(source)
        root = source.parent if source.is_file() else source
        is_flat = all(video.parent == root for video in videos)
        for video in videos:
            place = place_of(video, root=root)
            theirs, who = label, signer
            if label_from_folder:
                theirs = place.label or (video.resolve().parent.name if is_flat else None)
                who = place.signer or signer
            ours = None if theirs is None else spell(theirs)
            if theirs is not None and ours is not None:
                names.take(theirs, ours)
            plan = ClipPlan(
                video=video,
                clip=video.relative_to(root).with_suffix(".npz"),
                label=ours,
                signer=None if who is None else clean(who),
            )
            found.setdefault(video.resolve(), (video.relative_to(root), plan))
    shared = Counter(_same(plan.clip) for _, plan in found.values())
    plans: dict[str, ClipPlan] = {}
    for relative, plan in found.values():
        clip = plan.clip
        if shared[_same(clip)] > 1:
            clip = relative.with_name(f"{relative.name}.npz")
        other = plans.get(_same(clip))
        if other is not None:
            msg = (
                f"{other.video} and {plan.video} would both become {output / clip}; rename one, or extract them into "
                "different folders"
            )
            raise DatasetError(msg)
        plans[_same(clip)] = ClipPlan(video=plan.video, clip=output / clip, label=plan.label, signer=plan.signer)
    return list(plans.values())


def _same(path: Path) -> str:
    """Equal for names that are one file on some system: Windows and macOS tell no case apart, and macOS no forms."""
    return normalize("NFC", normalize("NFC", str(path)).casefold())
