"""The data sets that lie on the server: looked up by name, never by a path that a client sends."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from app.core.errors import InvalidInputError
from app.ml.errors import ClipFileError
from app.ml.recordings.source_files import find_data_files
from app.ml.recordings.summary import DataSummary, merge, summarise

MAX_FILES: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """One data set: a file of many recordings, or a folder of single clips.

    Attributes:
        name: path below the data folder, with slashes.
        problem: why it cannot be used; "" when it can.
    """

    name: str
    files: Sequence[Path]
    summary: DataSummary = field(default_factory=DataSummary)
    problem: str = ""


class DatasetCatalog:
    """Lists the data sets in one folder; a file is read again only when it changed. Blocking: call it in a thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[Path, tuple[tuple[int, int], DataSummary | str]] = {}

    def list(self) -> Sequence[DataSet]:
        """Every data set, by name. A folder below the data folder whose files are single clips is one data set."""
        if not self.folder.is_dir():
            return []
        sets: list[DataSet] = []
        clips: dict[str, list[tuple[Path, DataSummary]]] = defaultdict(list)
        for path in find_data_files(self.folder, {".npz"})[:MAX_FILES]:
            name = path.relative_to(self.folder).as_posix()
            found = self._summarise(path)
            if isinstance(found, str):
                sets.append(DataSet(name=name, files=[path], problem=found))
            elif found.is_data_set or "/" not in name:
                sets.append(DataSet(name=name, files=[path], summary=found))
            else:
                clips[name.split("/")[0]].append((path, found))
        for name, members in clips.items():
            files = [path for path, _ in members]
            sets.append(DataSet(name=name, files=files, summary=merge(summary for _, summary in members)))
        return sorted(sets, key=lambda one: one.name)

    def require(self, names: Sequence[str]) -> Sequence[DataSet]:
        """The data sets of these names.

        Raises:
            InvalidInputError: there is no such data set, or one cannot be used.
        """
        known = {one.name: one for one in self.list()}
        missing = [name for name in names if name not in known]
        if missing:
            msg = f"no data set {', '.join(missing)} in the server's data folder; known: {', '.join(known) or 'none'}"
            raise InvalidInputError(msg)
        broken = [known[name] for name in names if known[name].problem]
        if broken:
            raise InvalidInputError("; ".join(one.problem for one in broken))
        return [known[name] for name in names]

    def _summarise(self, path: Path) -> DataSummary | str:
        """What is in a file, or why it cannot be used."""
        try:
            stat = path.stat()
        except OSError as error:  # removed since the folder was listed
            return f"{path.name} cannot be read: {error.strerror}"
        stamp = (stat.st_mtime_ns, stat.st_size)
        known = self._known.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        try:
            found: DataSummary | str = summarise(path)
        except ClipFileError as error:
            found = str(error)
        self._known[path] = (stamp, found)
        return found
