import random
import unicodedata

import pytest

from app.ml.errors import DatasetError
from app.ml.recordings.names import Spellings, clean, metric_name, show_codes, spell

SIX = ("niño", "şimdi", "안녕", "C++", "C#", "Ä")
POOL = "abcXYZ019 _-+#./:@é안민ñİı\u0301\u093f\u3000-u2bu2d😀"


def random_names(count: int) -> list[str]:
    draw = random.Random(7)
    return ["".join(draw.choices(POOL, k=draw.randint(1, 9))) for _ in range(count)]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("Thank You", "thank_you"), ("A", "letter_a"), ("i_love_you", "i_love_you"),
        ("see-you  later!", "see_you_later"), ("yes/no", "yes_no"), (" idle\n", "idle"), ("1", "1"),
        ("niño", "niño"), ("nin\u0303o", "niño"), ("şimdi", "şimdi"), ("안녕", "안녕"), ("네", "네"), ("C++", "c++"),
        ("C#", "c#"), ("Ä", "letter_ä"), ("Ñ", "letter_ñ"), ("ß", "letter_ß"), ("Я", "letter_я"), ("ı", "letter_ı"),
        ("हिन्दी", "हिन्दी"), ("می\u200cخواهم", "می\u200cخواهم"), ("👩\u200d🚀", "👩\u200d🚀"),
    ],
)  # fmt: skip
def test_labels_of_every_script_keep_their_letters_in_one_spelling(theirs: str, ours: str) -> None:
    assert spell(theirs) == ours
    assert spell(ours) == ours


def test_labels_outside_ascii_stay_apart() -> None:
    assert len({spell(label) for label in SIX}) == len(SIX)
    assert spell("ışık") != spell("işik")
    assert spell("İl") != spell("il")


def test_spelling_twice_changes_nothing_whatever_the_name() -> None:
    for name in random_names(2000):
        try:
            once = spell(name)
        except DatasetError:
            continue
        assert spell(once) == once
        assert unicodedata.is_normalized("NFC", once)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("---", "no letter, digit or symbol"), ("..", "no letter, digit or symbol"), ("  ", "no letter"),
        ("\u0301", "no letter, digit or symbol"), ("he\u200bllo", r"U\+200B, an invisible one"),
        ("he\u200dllo", r"U\+200D"), ("\u202eabc", r"U\+202E"), ("a\x00b", r"U\+0000"), ("\u3164", r"U\+3164"),
        ("h\udcf6ren", r"U\+DCF6, a byte that is no UTF-8 text"), ("x" * 121, "121 characters, the limit is 120"),
    ],
)  # fmt: skip
def test_names_that_cannot_be_kept_are_refused_by_name(name: str, reason: str) -> None:
    with pytest.raises(DatasetError, match=reason) as caught:
        spell(name)
    assert repr(name[:40])[:-1] in str(caught.value)


def test_people_keep_their_names_but_for_white_space_and_composition() -> None:
    assert clean(" Zoe\u0308 O'Brien-Şahin ") == "Zoë O'Brien-Şahin"


def test_two_names_never_become_one() -> None:
    seen = Spellings("label", option="--labels")
    seen.take("Thank You", "thank_you")
    seen.take("Thank You", "thank_you")
    seen.take("nin\u0303o", "niño")
    seen.take("niño", "niño")  # the same name, typed on another system

    with pytest.raises(DatasetError, match=r"'Thank You' and 'thank-you' would both become 'thank_you'.*--labels"):
        seen.take("thank-you", "thank_you")


def test_metric_names_are_readable_where_mlflow_allows_it() -> None:
    assert metric_name("signer/민준") == "signer/민준"
    assert metric_name("signer/J. Smith-Ağa") == "signer/J. Smith-Ağa"
    assert metric_name("signer/C++") == "signer/C-u2b--u2b-"


def test_metric_names_are_taken_by_mlflow_and_never_the_same_for_two_names() -> None:
    validate = pytest.importorskip("mlflow.utils.validation", reason="installed by: make lab")._validate_metric_name
    odd = [
        "",
        "/",
        ".",
        "..",
        "a/../b",
        "a//b",
        "a/b",
        "-u2b-",
        "+",
        "-u2b+",
        "+u2b-",
        "\0",
        "é" * 300,
        "é" * 299 + "e",
    ]
    names = {unicodedata.normalize("NFC", name) for name in (*odd, *SIX, *random_names(4000))}

    told = {name: metric_name(name) for name in names}

    assert len(set(told.values())) == len(names)
    for name in told.values():
        validate(name)
        assert len(name) <= 250
        assert ":" not in name  # which MLflow on Windows refuses


def test_what_cannot_be_drawn_is_written_as_code_points() -> None:
    assert show_codes("민a", missing={"민"}) == "[U+BBFC]a"
