import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

from app.ml.evaluation.figures import (
    CurvePoint,
    draw_confusion_matrix,
    draw_curves,
    draw_differences,
    draw_reliability,
    to_png,
)
from app.ml.evaluation.fonts import choose_lettering


def write_font(path: Path, *, name: str, letters: str) -> None:
    """A font that has a square for each of a few letters."""
    pen = TTGlyphPen(None)
    for number, point in enumerate(((0, 0), (0, 700), (500, 700), (500, 0))):
        (pen.lineTo if number else pen.moveTo)(point)
    pen.closePath()
    glyphs = [".notdef", *(f"letter{ord(letter):x}" for letter in letters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(glyphs)
    builder.setupCharacterMap({ord(letter): f"letter{ord(letter):x}" for letter in letters})
    builder.setupGlyf(dict.fromkeys(glyphs, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (600, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": name, "styleName": "Regular", "psName": name})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The fonts of this machine: matplotlib's own and what a test adds."""
    paths: list[str] = []
    manager = font_manager.fontManager
    own = [entry for entry in manager.ttflist if entry.name.startswith("DejaVu")]
    monkeypatch.setattr(manager, "ttflist", own)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: paths)
    return paths


def texts_of(figure: Figure) -> set[str]:
    return {text.get_text() for text in figure.findobj(Text)}


def draw_matrix(name: str) -> Figure:
    return draw_confusion_matrix([name, "sun"], ["sun", name], title=f"Clips of {name}")


def draw_bars(name: str) -> Figure:
    return draw_differences({name: (0.1, 0.2), "sun": (0.3, 0.2)}, title=name)


def draw_lines(name: str) -> Figure:
    return draw_reliability({name: [(0.1, 0.2, 3)], "sun": []}, title=name)


def draw_titled(name: str) -> Figure:
    return draw_curves([CurvePoint(step=1, loss=1.0), CurvePoint(step=2, loss=0.5, val_accuracy=0.5)], title=name)


every_picture = pytest.mark.parametrize("draw", [draw_matrix, draw_bars, draw_lines, draw_titled])


@every_picture
def test_a_picture_finds_the_fonts_that_have_its_letters(
    draw: Callable[[str], Figure], installed: list[str], tmp_path: Path
) -> None:
    for name, letters in (("Few", "민"), ("Korean", "민준"), ("Desert", "ꦲ")):
        write_font(tmp_path / f"{name}.ttf", name=name, letters=letters)
        installed.append(str(tmp_path / f"{name}.ttf"))

    assert list(choose_lettering(["민준 niño ꦲ"]).families) == ["DejaVu Sans", "Korean", "Desert"]
    figure = draw("민준 ꦲ")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert to_png(figure).startswith(b"\x89PNG")
    assert any("민준 ꦲ" in text for text in texts_of(figure))
    assert not any("U+" in text for text in texts_of(figure))


@every_picture
def test_a_picture_without_a_font_shows_code_points_and_says_so(
    draw: Callable[[str], Figure], installed: list[str], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    installed.append(str(broken))

    figure = draw("a\U000e0b01민")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        to_png(figure)
    texts = " ".join(texts_of(figure))
    assert "a[U+E0B01][U+BBFC]" in texts
    assert "no installed font has U+BBFC U+E0B01: shown as code points" in texts
    assert "민" not in texts


@every_picture
def test_signs_between_dollars_are_no_formula(draw: Callable[[str], Figure]) -> None:
    to_png(draw("$a_{$"))  # as a formula this would be an error


def test_a_long_title_is_broken_into_a_few_lines_that_fit() -> None:
    figure = draw_confusion_matrix(["sun"], ["x" * 120], title="anna, " * 40)

    to_png(figure)

    (title,) = (text for text in figure.findobj(Text) if text.get_text().startswith("anna"))
    left, right = title.get_window_extent().intervalx
    assert left >= 0
    assert right <= figure.bbox.width
