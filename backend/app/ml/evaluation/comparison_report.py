"""Writes a comparison down: as one HTML file with everything inside, or as Markdown with its pictures beside it."""

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.ml.artifacts.whole_files import write_whole
from app.ml.evaluation.comparison import PairedScore
from app.ml.evaluation.figures import draw_differences, draw_reliability, to_png
from app.ml.evaluation.model_comparison import Comparison, SideReport
from app.ml.evaluation.reliability import ReliabilityBin

_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .25rem .8rem; border-bottom: 1px solid #ddd; }
td { text-align: right; } td:first-child, th:first-child { text-align: left; } img { max-width: 100%; }
.verdict { font-size: 1.15rem; padding: 1rem; border-left: .4rem solid #888; background: #f4f4f4; }
.better { border-color: #2a8a3e; } .worse { border-color: #b3261e; }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    name: str
    title: str
    png: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    title: str
    paragraphs: Sequence[str] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    picture: _Picture | None = None


def write_report(path: Path, comparison: Comparison, *, machine: str) -> list[Path]:
    """Write the report; the ending of its name decides the form.

    Args:
        path: `.html`, or `.md`, whose pictures are written beside it.
        comparison: what to report.
        machine: a sentence about where the latencies were taken.

    Returns:
        The files written, the report first.

    Raises:
        ValueError: another ending.
        OSError: a file cannot be written.
    """
    sections = _sections(comparison, machine)
    if path.suffix == ".html":
        write_whole(path, _to_html(comparison, sections).encode())
        return [path]
    if path.suffix != ".md":
        msg = f"{path.name}: a report is an .html or .md file"
        raise ValueError(msg)
    pictures = [section.picture for section in sections if section.picture is not None]
    files = [path.with_name(f"{path.stem}-{picture.name}.png") for picture in pictures]
    for file, picture in zip(files, pictures, strict=True):
        write_whole(file, picture.png)
    write_whole(path, _to_markdown(comparison, sections, stem=path.stem).encode())
    return [path, *files]


def _sections(comparison: Comparison, machine: str) -> list[_Section]:
    sides = (comparison.baseline, comparison.candidate)
    interval, people = comparison.difference, comparison.over_people
    copies = (
        "No test recording is among the training recordings that were given."
        if comparison.were_training_clips_given
        else "Copies of training recordings were not looked for, because the training recordings were not given."
    )
    return [
        _Section(
            title="Whom and what",
            paragraphs=[
                f"People, seen by no model: {', '.join(comparison.signers)}. {comparison.num_clips} clips of signs "
                f"that both sides know; {comparison.num_copies} repeated clips were left out. {copies}",
                f"Difference over cells of signer and sign: {_points(interval.mean)} ({_points(interval.low)} to "
                f"{_points(interval.high)}); drawing whole people: {_points(people.mean)} ({_points(people.low)} to "
                f"{_points(people.high)}). Every person counts the same.",
            ],
        ),
        _Section(
            title="Both sides",
            header=("", *(side.name for side in sides)),
            rows=_side_rows(sides),
            paragraphs=[f"Latency: one window at a time, one thread. {machine}"],
        ),
        _Section(
            title="By person", header=_COLUMNS, rows=_score_rows(comparison.per_signer),
            picture=_picture_of("people", comparison.per_signer, "Accuracy by person"),
        ),
        _Section(
            title="By sign", header=_COLUMNS, rows=_score_rows(comparison.per_sign),
            picture=_picture_of("signs", comparison.per_sign, "Accuracy by sign"),
        ),
        _Section(
            title="Can the confidence be believed?",
            paragraphs=[f"{side.name}: calibration error {side.ece:.3f}." for side in sides],
            picture=_Picture(
                name="reliability",
                title="Accuracy over confidence",
                png=to_png(
                    draw_reliability(
                        {side.name: _as_tuples(side.reliability) for side in sides}, title="Accuracy over confidence"
                    )
                ),
            ),
        ),
        _Section(
            title="Controls",
            header=("control", "passed", "what it found"),
            rows=[(one.name, "yes" if one.passed else "NO", one.sentence) for one in comparison.controls],
        ),
    ]  # fmt: skip


_COLUMNS: Final = ("", "answers", "baseline", "candidate", "difference")


def _side_rows(sides: Sequence[SideReport]) -> list[Sequence[str]]:
    return [
        ("files", *("; ".join(side.files) for side in sides)),
        ("network", *(side.config for side in sides)),
        ("accuracy, mean over people", *(f"{side.accuracy:.1%}" for side in sides)),
        ("signs answered", *(f"{side.accepted:.1%}" for side in sides)),
        ("idle refused", *("-" if side.idle_refused is None else f"{side.idle_refused:.1%}" for side in sides)),
        ("calibration error", *(f"{side.ece:.3f}" for side in sides)),
        ("latency p50, ms", *(f"{side.latency.p50_ms:.2f}" for side in sides)),
        ("latency p95, ms", *(f"{side.latency.p95_ms:.2f}" for side in sides)),
        ("size, MB", *(f"{side.size_bytes / 1e6:.2f}" for side in sides)),
    ]


def _score_rows(scores: Mapping[str, PairedScore]) -> list[Sequence[str]]:
    return [
        (name, str(one.num_answers), f"{one.baseline:.1%}", f"{one.candidate:.1%}", _points(one.difference))
        for name, one in sorted(scores.items(), key=lambda item: item[1].difference)
    ]


def _picture_of(name: str, scores: Mapping[str, PairedScore], title: str) -> _Picture:
    pairs = {group: (score.baseline, score.candidate) for group, score in scores.items()}
    return _Picture(name=name, title=title, png=to_png(draw_differences(pairs, title=title)))


def _as_tuples(bins: Sequence[ReliabilityBin]) -> list[tuple[float, float, int]]:
    return [(one.confidence, one.accuracy, one.num_answers) for one in bins]


def _points(fraction: float) -> str:
    return f"{100 * fraction:+.1f}"


def _to_html(comparison: Comparison, sections: Sequence[_Section]) -> str:
    title = html.escape(f"{comparison.candidate.name} against {comparison.baseline.name}")
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f"<title>{title}</title><style>{_STYLE}</style></head>",
        f"<body><h1>{title}</h1>",
        f'<p class="verdict {comparison.verdict.outcome}">{html.escape(comparison.verdict.sentence)}</p>',
    ]
    for section in sections:
        parts.append(f"<h2>{html.escape(section.title)}</h2>")
        parts += [f"<p>{html.escape(text)}</p>" for text in section.paragraphs]
        if section.rows:
            parts.append(f"<table><tr>{''.join(f'<th>{html.escape(cell)}</th>' for cell in section.header)}</tr>")
            parts += [f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in section.rows]
            parts.append("</table>")
        if section.picture is not None:
            content = base64.b64encode(section.picture.png).decode()
            parts.append(f'<img alt="{html.escape(section.picture.title)}" src="data:image/png;base64,{content}">')
    return "\n".join([*parts, "</body></html>\n"])


def _to_markdown(comparison: Comparison, sections: Sequence[_Section], *, stem: str) -> str:
    parts = [
        f"# {comparison.candidate.name} against {comparison.baseline.name}",
        f"**{comparison.verdict.sentence}**",
    ]
    for section in sections:
        parts.append(f"## {section.title}")
        parts += section.paragraphs
        if section.rows:
            lines = [section.header, ["---", *["---:"] * (len(section.header) - 1)], *section.rows]
            parts.append("\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines))
        if section.picture is not None:
            parts.append(f"![{section.picture.title}]({stem}-{section.picture.name}.png)")
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|") or " "
