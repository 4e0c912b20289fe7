"""The signs that SignFlow has display texts for, read from one JSON file a sign language (`data/signs/ase.json`)."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from app.core.errors import ConfigurationError
from app.repositories.signs import Sign, SignKind

DEFAULT_LOCALE: Final = "en"
_LETTER_PREFIX: Final = "letter_"


_FILE: Final = TypeAdapter(dict[str, dict[str, str]])
_KINDS: Final[dict[str, SignKind]] = {"word": "word", "letter": "letter", "idle": "idle"}


class SignCatalog:
    """All known signs; answers what a label reads as. A label without a text shows as itself, with spaces."""

    def __init__(self, signs: Iterable[Sign]) -> None:
        self.signs = tuple(signs)
        self._by_key = {(sign.language, sign.label): sign for sign in self.signs}
        self._by_label = {sign.label: sign for sign in reversed(self.signs)}

    @classmethod
    def load(cls, signs_dir: Path) -> "SignCatalog":
        """Read every `*.json` of a folder; the file's name is the language's ISO 639-3 code.

        Raises:
            ConfigurationError: a file does not have the form `{"label": {"kind": ..., "en": ..., "fr": ...}}`.
        """
        signs: list[Sign] = []
        for path in sorted(signs_dir.glob("*.json")):
            try:
                for label, entry in _FILE.validate_json(path.read_bytes()).items():
                    kind = _KINDS[entry.pop("kind")]
                    signs.append(Sign(language=path.stem, label=label, kind=kind, texts=entry))
            except (ValueError, KeyError) as error:
                msg = f'{path}: not a signs file ({{"label": {{"kind": "word", "en": ..., "fr": ...}}}}): {error}'
                raise ConfigurationError(msg) from error
        return cls(signs)

    def get(self, label: str, *, language: str | None = None) -> Sign | None:
        """The sign of that label, in one sign language or in the first that has it."""
        return self._by_label.get(label) if language is None else self._by_key.get((language, label))

    def text(self, label: str, locale: str) -> str:
        """The display text of a sign in an interface language (`fr`, `fr-CA`), else in English, else its label."""
        sign = self._by_label.get(label)
        if sign is not None:
            for key in (locale.split("-")[0].lower(), DEFAULT_LOCALE):
                if key in sign.texts:
                    return sign.texts[key]
        if label.startswith(_LETTER_PREFIX):
            letter = label.removeprefix(_LETTER_PREFIX)
            capital = letter.upper()
            return capital if capital.lower() == letter else letter  # ß and the dotless ı have none of their own
        return label.replace("_", " ")

    def is_letter(self, label: str) -> bool:
        """True for a fingerspelled letter."""
        sign = self._by_label.get(label)
        return sign.kind == "letter" if sign is not None else label.startswith(_LETTER_PREFIX)

    def is_background(self, label: str) -> bool:
        """True for labels that mean "no sign", which never show in a caption."""
        sign = self._by_label.get(label)
        return sign is not None and sign.kind == "idle"
