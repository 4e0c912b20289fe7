"""Captions: letters join, stutters vanish, real repeats stay, undo and corrections work."""

from pathlib import Path

import pytest

from app.core.config import BACKEND_DIR
from app.core.errors import ConfigurationError
from app.services.captions import CaptionBuilder, CaptionRules
from app.services.sign_catalog import SignCatalog

CATALOG = SignCatalog.load(BACKEND_DIR / "data" / "signs")
RULES = CaptionRules(letter_join_ms=2_000, repeat_gap_ms=150, history_signs=20)


def build(*signs: tuple[str | None, float, float], locale: str = "en") -> CaptionBuilder:
    """A caption of (label, start, end) signs, numbered from 1."""
    caption = CaptionBuilder(RULES, CATALOG, locale=locale)
    for number, (label, start_ms, end_ms) in enumerate(signs, start=1):
        caption.add(number, label, start_ms=start_ms, end_ms=end_ms)
    return caption


def spell(word: str, *, start_ms: float = 0.0, gap_ms: float = 500.0) -> list[tuple[str | None, float, float]]:
    """The letters of a word, 400 ms each."""
    step_ms = 400.0 + gap_ms
    return [
        (f"letter_{letter.lower()}", start_ms + i * step_ms, start_ms + i * step_ms + 400)
        for i, letter in enumerate(word)
    ]


def test_spelled_letters_read_as_one_word() -> None:
    assert build(*spell("CAT")).text == "CAT"


def test_letters_join_up_to_the_limit_and_not_beyond() -> None:
    assert build(*spell("CA", gap_ms=2_000)).text == "CA"
    assert build(*spell("CA", gap_ms=2_001)).text == "C A"


def test_a_word_between_letters_ends_the_spelled_word() -> None:
    assert build(*spell("C"), ("hello", 500, 900), *spell("A", start_ms=1_000)).text == "C hello A"


def test_a_doubled_letter_is_kept() -> None:
    assert build(*spell("LL")).text == "LL"


def test_a_sign_made_twice_is_kept_and_one_cut_in_two_is_not() -> None:
    assert build(("yes", 0, 500), ("yes", 650, 900)).text == "yes yes"
    assert build(("yes", 0, 500), ("yes", 649, 900)).text == "yes"
    assert build(("yes", 0, 500), ("no", 550, 900), ("yes", 950, 1_400)).text == "yes no yes"


def test_not_sure_shows_nothing_until_it_is_corrected() -> None:
    caption = build(("hello", 0, 500), (None, 1_000, 1_500), ("yes", 2_000, 2_500))

    assert caption.text == "hello yes"
    assert caption.correct(2, "thank_you")
    assert caption.text == "hello thank you yes"


def test_undo_takes_out_what_was_seen_last() -> None:
    caption = build(("hello", 0, 500), ("yes", 1_000, 1_500), ("yes", 1_550, 1_700), (None, 2_000, 2_400))

    assert caption.text == "hello yes"
    assert caption.undo()
    assert caption.text == "hello"
    assert caption.undo()
    assert not caption.undo()
    assert caption.text == ""


def test_the_second_half_of_a_cut_sign_is_told() -> None:
    caption = build(("hello", 0, 500))

    assert not caption.add(2, "yes", start_ms=1_000, end_ms=1_500)
    assert caption.add(3, "yes", start_ms=1_550, end_ms=1_700)
    assert not caption.add(4, None, start_ms=1_750, end_ms=1_900)
    assert caption.text == "hello yes"


def test_a_correction_to_nothing_takes_the_sign_out_and_an_old_one_is_unknown() -> None:
    caption = build(("hello", 0, 500), ("yes", 1_000, 1_500))

    assert caption.correct(1, None)
    assert caption.text == "yes"
    assert not caption.correct(99, "hello")


def test_the_history_is_bounded_and_forgets_the_oldest() -> None:
    caption = build(*((label, i * 1_000.0, i * 1_000.0 + 500) for i in range(30) for label in ("yes",)))

    assert caption.text == " ".join(["yes"] * 20)


def test_reset_forgets_everything() -> None:
    caption = build(("hello", 0, 500))
    caption.reset()

    assert caption.text == ""


def test_texts_follow_the_locale_and_fall_back_to_english_and_to_the_label() -> None:
    signs = (("thank_you", 0.0, 500.0), ("made_up_sign", 1_000.0, 1_500.0))

    assert build(*signs, locale="fr-CA").text == "merci made up sign"
    assert build(*signs, locale="de").text == "thank you made up sign"


def test_every_sign_of_the_shipped_list_has_english_and_french() -> None:
    assert len(CATALOG.signs) == 65
    assert {sign.kind for sign in CATALOG.signs} == {"word", "letter", "idle"}
    for sign in CATALOG.signs:
        assert sign.texts["en"]
        assert sign.texts["fr"]


def test_a_broken_signs_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "ase.json").write_text('{"hello": {"kind": "song", "en": "hello"}}')

    with pytest.raises(ConfigurationError, match=r"ase\.json"):
        SignCatalog.load(tmp_path)


@pytest.mark.parametrize(
    ("label", "text"),
    [("letter_ñ", "Ñ"), ("letter_ß", "ß"), ("letter_ı", "ı"), ("letter_i", "I"), ("안녕", "안녕"), ("c++", "c++")],
)
def test_labels_of_every_script_are_read_as_they_are_written(label: str, text: str) -> None:
    assert CATALOG.text(label, "en") == text
