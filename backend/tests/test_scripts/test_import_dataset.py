import os
from pathlib import Path

import numpy as np
import orjson
from typer.testing import CliRunner

from app.ml.recordings.clips import load_dataset
from scripts.import_dataset import app
from tests.parametric_signer import make_person, perform_sign
from tests.recordings_of_others import write_mp_data


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_folder_becomes_a_data_set_and_the_result_is_told(tmp_path: Path) -> None:
    takes = [perform_sign(make_person(1), "sun", seed=seed) for seed in range(2)]
    write_mp_data(tmp_path / "in", {"Sun": [*takes, takes[0]], "A": takes[:1]}, num_values=1662)
    (tmp_path / "in" / "Sun" / "9").mkdir()
    (tmp_path / "in" / "Sun" / "9" / "0.npy").write_bytes(b"broken")

    code, out, errors = run(
        tmp_path / "in", "-o", tmp_path / "new" / "out.npz", "--signer", "anna", "--frame-ms", 40, "--json"
    )

    told = orjson.loads(out)
    assert code == 1  # one recording could not be read
    assert told["labels"] == {"letter_a": 1, "sun": 3}
    assert told["conflicts"] == [["letter_a/A/0", "sun/Sun/0", "sun/Sun/2"]]
    assert [Path(skipped["path"]).name for skipped in told["skipped"]] == ["9"]
    assert "same recording, different labels" in errors
    clips = load_dataset(tmp_path / "new" / "out.npz")
    assert {clip.signer for clip in clips} == {"anna"}
    np.testing.assert_allclose(np.diff(clips[0].times_ms), 40.0)


def test_mistakes_are_one_line_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.npz").write_text("no zip")
    for source, message in (
        (tmp_path / "absent", "no such file or folder"),
        (tmp_path / "empty", "no known layout"),
        (tmp_path / "bad.npz", "is no .npz file; make one with"),
    ):
        code, out, errors = run(source, "-o", tmp_path / "out.npz")
        assert (code, out) == (2, "")
        assert message in errors
        assert "Traceback" not in errors
    assert run(tmp_path, "-o", tmp_path / "out.csv")[0] == 2
    assert not (tmp_path / "out.npz").exists()


def test_the_help_shows_a_command_to_paste() -> None:
    code, out, _ = run("--help")

    assert code == 0
    assert "python -m scripts.import_dataset" in out


def test_what_was_left_out_is_told_by_kind_and_the_names_of_files_may_be_any_bytes(tmp_path: Path) -> None:
    takes = [perform_sign(make_person(1), "sun", seed=seed) for seed in range(3)]
    write_mp_data(tmp_path / "in", {"안녕": takes[:1], "[b]C++": takes[1:2], "---": takes[2:]}, num_values=225)
    (tmp_path / "in" / "안녕" / "7").mkdir()
    (tmp_path / "in" / os.fsdecode(b"notes\xf6.txt")).touch()

    code, out, errors = run(tmp_path / "in", "-o", tmp_path / "out.npz", "--json")

    told = orjson.loads(out)
    assert code == 1  # one label could not be kept
    assert told["labels"] == {"b_c++": 1, "안녕": 1}
    assert (told["num_left_out"], told["num_empty"], told["num_nameless"]) == (0, 1, 1)
    assert told["not_read"] == [rf"{tmp_path}/in/notes\xf6.txt"]
    assert "no name: ---/0: name '---' has no letter, digit or symbol" in errors
    assert "7: holds no frame" in errors
    assert r"notes\xf6.txt: not part of the layout mp-data" in errors

    code, out, errors = run(tmp_path / "in", "-o", tmp_path / "out.npz")
    assert code == 1
    assert "b_c++" in out


def test_nothing_is_written_when_two_labels_would_become_one(tmp_path: Path) -> None:
    takes = [perform_sign(make_person(1), "sun", seed=seed) for seed in range(2)]
    write_mp_data(tmp_path / "in", {"Thank You": takes[:1], "thank_you": takes[1:]}, num_values=225)

    code, _, errors = run(tmp_path / "in", "-o", tmp_path / "out.npz")

    assert code == 2
    assert "'Thank You' and 'thank_you' would both become 'thank_you'" in errors
    assert not (tmp_path / "out.npz").exists()
    (tmp_path / "map.csv").write_text("Thank You,thank_you\n")
    assert run(tmp_path / "in", "-o", tmp_path / "out.npz", "--labels", tmp_path / "map.csv")[0] == 0


def test_a_map_that_says_two_things_of_one_name_is_refused_with_the_line(tmp_path: Path) -> None:
    write_mp_data(tmp_path / "in", {"sun": [perform_sign(make_person(1), "sun")]}, num_values=225)
    (tmp_path / "map.csv").write_text("nin\u0303o,a\nniño,b\n", encoding="utf-8")

    code, _, errors = run(tmp_path / "in", "-o", tmp_path / "out.npz", "--labels", tmp_path / "map.csv")

    assert code == 2
    assert "line 2: 'niño' was 'a' above and is 'b' here" in errors


def test_names_of_any_bytes_are_told_wherever_they_stand(tmp_path: Path) -> None:
    takes = [perform_sign(make_person(1), "sun", seed=seed) for seed in range(2)]
    odd = os.fsdecode(b"\xf6")
    write_mp_data(tmp_path / "in", {"sun": takes[:1], "rain": [takes[1], takes[0]], odd: takes[:1]}, num_values=225)
    (tmp_path / "in" / "sun" / "0").rename(tmp_path / "in" / "sun" / odd)
    (tmp_path / "in" / "rain" / "2").mkdir()
    (tmp_path / "in" / "rain" / "2" / f"{odd}.npy").write_bytes(b"no array")

    for form in ([], ["--json"]):
        code, out, errors = run(tmp_path / "in", "-o", tmp_path / "out.npz", *form)
        assert code == 1
        assert r"\udcf6.npy is no readable array" in errors
        assert r"no name: \xf6/0: name '\udcf6' has the character U+DCF6" in errors
        assert "sun" in out
    assert {clip.clip_id for clip in load_dataset(tmp_path / "out.npz")} == {"rain/0", "rain/1", r"sun/\udcf6"}
