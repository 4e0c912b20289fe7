"""Writes the model card from the model itself and from the reports of its evaluations, so that no number is typed by
hand.

    python -m scripts.write_model_card --model data/models/model_v1.onnx --unseen data/models/unseen_v1.json \
        --live data/models/live_v1.json --output data/models/MODEL_CARD.md
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer

from app.ml.artifacts.files import read_manifest
from app.ml.artifacts.manifest import Calibration, ModelManifest
from app.ml.artifacts.whole_files import write_text_whole
from app.ml.errors import DatasetError
from scripts.console import user_errors

Report = dict[str, Any]

_LIMITS: Final = """\
- It reads single signs, one after the other. It knows no grammar, no facial expression, no use of space: it is no
  interpreter, and nobody should rely on it where a misunderstanding does harm.
- The people in the recordings are hearing learners at webcams. Native signers, children, people with other bodies
  and lighting have not been measured.
- Signs that were learned from one person carry that person's variant; on others they are often missed.
- Frame rates and sizes of the recordings are unknown (50 ms a frame and 640x480 are assumed).
- Moving the hands without signing is still taken for a sign now and then; the tables say how often.
"""

_SOURCES: Final = """\
Trained on landmark recordings that their authors published under permissive licences; the recordings themselves are
not part of SignFlow. Signs of other languages served as examples of unknown movement.

| recordings | licence |
|---|---|
| traduttore/traduttore-model | MIT |
| kelhuynh/CapstoneProject | MIT |
| tamtridung/ASL_SignWish | MIT |
| electronicaddict/Jupyter | MIT |
| Chrille91/Sign-Language-Detector | MIT |
| Parsa-Baniamerian/Sign_Language_Detection | MIT |
| surtecha/SignLangNET | MIT |
| jtgpz/KawayApp | MIT |
| girish8767/Sign-Language-Detection-Using-Machine-Learning | MIT |
| IlkerDEMIR-s/SignLanguageDetectionFromWebcam | MIT |
| akashcodes23/Realtime-Sign-LanguageDetection | MIT |
| FowlDeadPool/sign-sentence-net | MIT |
| yunlisa96/hand-sign-recognition (Korean SL, unknown movement) | Apache-2.0 |
| me-abhinav-1001/Sign-Language-Detection (Indian SL, unknown movement) | MIT |
| dhanush-alla/lstm-gesture-learner (unknown movement) | MIT |
| argav304/AI-Gaming-Controller (gestures, unknown movement) | MIT |
"""


def main(
    model: Annotated[Path, typer.Option(help="The model, .onnx or .pt.")],
    unseen: Annotated[Path, typer.Option(help="Report of evaluate_unseen.")],
    live: Annotated[Path, typer.Option(help="Report of evaluate_live.")],
    output: Annotated[Path, typer.Option(help="The Markdown file to write.")],
) -> None:
    """Write a model card."""
    with user_errors():
        manifest = read_manifest(model)
        sections = (
            _header(manifest, model),
            _from_report(_people, unseen, "evaluate_unseen"),
            _from_report(_live, live, "evaluate_live"),
            _from_report(partial(_signs, manifest), unseen, "evaluate_unseen"),
            "## What it cannot do\n\n" + _LIMITS,
            "## Where it comes from\n\n" + _SOURCES,
        )
        write_text_whole(output, "\n".join(sections))
    typer.echo(str(output))


def _from_report(write: Callable[[Report], str], path: Path, tool: str) -> str:
    try:
        return write(orjson.loads(path.read_bytes()))
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError, ValueError) as error:
        msg = f"{path} is no report of {tool} ({error}); write one with its --output"
        raise DatasetError(msg) from error


def _header(manifest: ModelManifest, model: Path) -> str:
    words = [label for label in manifest.labels if label.label not in manifest.background]
    letters = sum(label.label.startswith("letter_") for label in words)
    facts = manifest.provenance
    signers = facts.get("signers")
    num_signers = len(signers) if isinstance(signers, list) else 0
    calibration = manifest.calibration
    return f"""# Model card: SignFlow starter {manifest.version}

American Sign Language (`ase`): {len(words) - letters} words and {letters} letters, with two background classes
({", ".join(manifest.background)}) that are never reported. {model.stat().st_size / 1e6:.1f} MB as ONNX.

| | |
|---|---|
| recipe, seed | {facts.get("recipe")}, {facts.get("seed")} |
| code | {facts.get("revision")}, {facts.get("date")} |
| data | sha256 {str(facts.get("data"))[:16]}, {num_signers} people or sets of recordings |
| weights | sha256 {manifest.weights_sha256[:16]} |
| features | `{manifest.feature_spec}` |
| confidence | {_describe_gate(calibration)} |
| answers | from a confidence of {calibration.threshold:.0%}; under it "not sure" |

Made again from the recordings with `make starter`; same machine, same seed, same numbers.
"""


def _describe_gate(calibration: Calibration) -> str:
    """The formula of the number that is shown."""
    probability = f"probability at temperature {calibration.temperature:.3f}"
    gate = calibration.gate
    return (
        probability
        if gate is None
        else f"{probability}, times a logistic of {gate.bias:.2f} + {gate.slope:.2f} familiarity"
    )


def _people(report: Report) -> str:
    columns = ("person", "clips", "accuracy", "over seeds", "accepted, then right, refused", "the same, accepting 90 %")
    rows = [
        (
            person,
            str(row["num_clips"]),
            f"{row['accuracy']:.3f}",
            f"{row['accuracy_lowest']:.3f}-{row['accuracy_highest']:.3f}",
            _at_threshold(row, ""),
            _at_threshold(row, "_at_90"),
        )
        for person, row in report["people"].items()
    ]
    mean = report["accuracy"]
    return f"""## People it was not trained on

For each row a model of the same recipe was trained without that person (seeds {", ".join(map(str, report["seeds"]))})
and tested on the person's clips of signs that somebody else has; the answer is the likeliest of all signs of the fold.
The last two columns are at the shipped threshold and at one that accepts 90 % of signs, each chosen on the other
people: the part of the signs that get an answer, how many of these answers are right, and the part of idle and
non-sign clips with a hand in view that get none (how many clips).

{_table(columns, rows)}

Mean over people {mean["mean"]:.3f}, 95 % interval over people {mean["low"]:.3f}-{mean["high"]:.3f}.

### What a percentage means

Of the answers shown with a percentage in the first column, so many were right, about these people's signs and
strangers' moving hands together; the numbers behind the percentages were fitted on the other people each time. Off by
{report["reliability"]["with_strangers"]["ece"]:.3f} on average.

{_reliability(report["reliability"]["with_strangers"])}
"""


def _reliability(measured: Report) -> str:
    rows = [(f"{one['confidence']:.0%}", f"{one['accuracy']:.0%}", str(one["num_answers"])) for one in measured["bins"]]
    return _table(("shown", "right", "answers"), rows)


def _at_threshold(row: Report, suffix: str) -> str:
    refused = row["refused" + suffix]
    text = f"{row['accepted' + suffix]:.2f}, {row['right_when_accepted' + suffix]:.2f}"
    return text if refused is None else f"{text}, {refused:.2f} ({row['num_refuse']})"


def _live(report: Report) -> str:
    columns = (
        "frames a second",
        "mean F1 over people",
        "F1 of all signs",
        "precision",
        "recall",
        "delay from the sign's end, p50 / p95 ms",
        "from the hands' rest",
        "false signs per idle minute",
    )
    rows = [
        (
            rate,
            f"{result['mean_f1']:.3f}",
            f"{result['all']['f1']:.3f}",
            f"{result['all']['precision']:.3f}",
            f"{result['all']['recall']:.3f}",
            f"{result['all']['delay_p50_ms']:.0f} / {result['all']['delay_p95_ms']:.0f}",
            f"{result['all']['rest_delay_p50_ms']:.0f} / {result['all']['rest_delay_p95_ms']:.0f}",
            f"{result['all']['false_per_idle_minute']:.2f}",
        )
        for rate, result in report["rates"].items()
    ]
    first = next(iter(report["rates"].values()))
    people = [
        (person, f"{row['f1']:.2f}", f"{row['precision']:.2f}", f"{row['recall']:.2f}", str(row["unsure"]))
        for person, row in first["people"].items()
    ]
    return f"""## Live, on people it was not trained on

Streams of {first["all"]["signs"]} signs ({first["all"]["minutes"]:.1f} minutes) with 0.3-0.6 s of hand transit, and
{first["all"]["idle_minutes"]:.1f} minutes of strangers who move their hands in view without signing. Not counted:
{", ".join(report["tuned_on"])}, whose streams were used to choose the limits. How often the model is asked was chosen
on all of these streams.

{_table(columns, rows)}

What was shown and how much of it was right, on these streams and on the strangers' hands, at
{next(iter(report["rates"]))} frames a second:

{_reliability(first["reliability"]["with_idle"])}

{_table(("person", "F1", "precision", "recall", "not sure"), people)}
"""


def _signs(manifest: ModelManifest, report: Report) -> str:
    measured: Report = report["per_sign"]
    rows: list[tuple[str, ...]] = []
    for label in manifest.labels:
        if label.label in manifest.background:
            continue
        row = measured.get(label.label)
        accuracy = f"{row['accuracy']:.2f}" if row else "cannot be measured: one person"
        taken = f"{row['taken_for']} ({row['taken_for_fraction']:.2f})" if row and row["taken_for"] else ""
        rows.append((label.label, str(label.num_people), accuracy, taken))
    over_signs = f"{report['accuracy_over_signs']:.3f}" if "accuracy_over_signs" in report else "not measured"
    return f"""## Signs

People: how many different people the sign was learned from. Accuracy: on people not trained on, all seeds and people
together. Mean over signs, every sign and every person who showed it counting the same: {over_signs}.

{_table(("sign", "people", "accuracy on unseen people", "most often taken for"), rows)}
"""


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    typer.run(main)
