"""Pictures of a training run: its curves, and which signs are taken for which. No window system is needed."""

import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from app.ml.evaluation.fonts import choose_lettering

_LETTERS_AN_INCH: Final = 10
"""Of a title."""
_TICKS_MS: Final = (2, 5, 10, 20, 50, 100, 200, 500, 1000)
_MAX_NAMED: Final = 80
"""Rows of a confusion matrix beyond which names could not be read any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """Training at one step; `val_accuracy` only where an evaluation was made."""

    step: int
    loss: float
    val_accuracy: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthPoint:
    """What so many streams cost a server, in cores and MB, and after how many ms their finished signs were answered."""

    num_streams: int
    cores: float
    answered_p50_ms: float | None
    answered_p95_ms: float | None
    frames_dropped: int
    memory_mb: float


def draw_growth(points: Mapping[int, Sequence[GrowthPoint]], admitted: Mapping[int, int], *, title: str) -> Figure:
    """Cores and 95 % of the answers over the number of streams.

    Args:
        points: for each number of worker processes.
        admitted: how many of a crowd each number of workers lets in: a dotted line.
        title: what was measured.
    """
    figure = Figure(figsize=(9, 4), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, (workers, line) in enumerate(points.items()):
        colour = f"C{number}"  # matplotlib's own colours, again from the first after the last
        label = f"{workers} process{'' if workers == 1 else 'es'}"
        sizes = [point.num_streams for point in line]
        left.plot(sizes, [point.cores for point in line], color=colour, marker="o", label=label)
        slow = [np.nan if point.answered_p95_ms is None else point.answered_p95_ms for point in line]
        right.plot(sizes, slow, color=colour, marker="o", label=label)
        for axes in (left, right):
            axes.axvline(admitted[workers], color=colour, linestyle=":", linewidth=1.2)
    left.set_ylabel("cores")
    left.set_ylim(0)
    right.set_ylabel("ms from the last frame to the answer, p95")
    right.set_yscale("log")
    right.set_yticks(_TICKS_MS, [str(tick) for tick in _TICKS_MS])
    right.minorticks_off()
    for axes in (left, right):
        axes.set_xlabel("streams (dotted: let in by default)")
        axes.legend()
    figure.suptitle(_in_lines(title, figure))
    return figure


def draw_curves(points: Sequence[CurvePoint], *, title: str) -> Figure:
    """Loss over steps, and the accuracy on held-out people where it was measured."""
    figure = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.plot([point.step for point in points], [point.loss for point in points], color="tab:blue", linewidth=1.2)
    axes.set_xlabel("step")
    axes.set_ylabel("loss", color="tab:blue")
    lettering = choose_lettering([title])
    axes.set_title(_in_lines(lettering.show(title), figure))
    judged = [(point.step, point.val_accuracy) for point in points if point.val_accuracy is not None]
    if judged:
        right = axes.twinx()
        right.plot([step for step, _ in judged], [accuracy for _, accuracy in judged], color="tab:orange", marker="o")
        right.set_ylabel("accuracy on held-out people", color="tab:orange")
        right.set_ylim(0, 1)
    lettering.apply(figure)
    return figure


def draw_confusion_matrix(truth: Sequence[str], predicted: Sequence[str], *, title: str) -> Figure:
    """How often clips of a sign (row) were taken for each sign (column), as a fraction of the row.

    Args:
        truth: N labels.
        predicted: N labels.
        title: what was judged, on whom.
    """
    labels = sorted({*truth, *predicted})
    index = {label: number for number, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)))
    np.add.at(counts, ([index[label] for label in truth], [index[label] for label in predicted]), 1)
    fractions = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    shown = labels if len(labels) <= _MAX_NAMED else []
    lettering = choose_lettering([title, *shown])
    names = [lettering.show(label) for label in shown]
    longest = max(map(len, names), default=0)
    side = min(4 + 0.16 * len(labels) + 0.06 * max(0, longest - 20), 18)
    figure = Figure(figsize=(side, side), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(fractions, vmin=0, vmax=1, cmap="magma_r", interpolation="nearest")
    axes.set_xlabel("predicted")
    axes.set_ylabel("signed")
    figure.suptitle(_in_lines(lettering.show(title), figure))
    if names:
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        axes.set_yticks(range(len(names)), names, fontsize=7)
    figure.colorbar(image, ax=axes, shrink=0.6, label="fraction of the row")
    lettering.apply(figure)
    return figure


def draw_reliability(sides: Mapping[str, Sequence[tuple[float, float, int]]], *, title: str) -> Figure:
    """Accuracy over confidence, one curve a side: on the diagonal, probabilities can be taken at their word.

    Args:
        sides: for each name, bins of (mean confidence, accuracy, answers); a point's size tells how many answers.
        title: what was judged.
    """
    figure = Figure(figsize=(5, 4.5), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.7", linestyle="--", linewidth=1)
    lettering = choose_lettering([title, *sides])
    for name, bins in sides.items():
        confidence, accuracy, counts = zip(*bins, strict=True) if bins else ((), (), ())
        line = axes.plot(confidence, accuracy, linewidth=1.2, label=lettering.show(name))[0]
        sizes = [10 + 90 * count / max(counts) for count in counts]
        axes.scatter(confidence, accuracy, s=sizes, color=line.get_color())
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("confidence")
    axes.set_ylabel("right")
    axes.set_title(_in_lines(lettering.show(title), figure))
    axes.legend()
    lettering.apply(figure)
    return figure


def draw_differences(groups: Mapping[str, tuple[float, float]], *, title: str) -> Figure:
    """Each group's accuracy on both sides, as (baseline, candidate), sorted by the difference."""
    order = sorted(groups, key=lambda name: groups[name][1] - groups[name][0])
    figure = Figure(figsize=(7, 1.4 + 0.24 * len(order)), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    for row, name in enumerate(order):
        baseline, candidate = groups[name]
        colour = "tab:green" if candidate > baseline else "tab:red" if candidate < baseline else "0.6"
        axes.plot([baseline, candidate], [row, row], color=colour, linewidth=2, zorder=1)
    axes.scatter([groups[name][0] for name in order], range(len(order)), color="0.4", label="baseline", zorder=2)
    axes.scatter([groups[name][1] for name in order], range(len(order)), color="tab:blue", label="candidate", zorder=3)
    lettering = choose_lettering([title, *order])
    axes.set_yticks(range(len(order)), [lettering.show(name) for name in order], fontsize=8)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("accuracy")
    axes.set_title(_in_lines(lettering.show(title), figure))
    figure.legend(loc="outside upper right", fontsize=8, ncols=2)
    lettering.apply(figure)
    return figure


def _in_lines(title: str, figure: Figure) -> str:
    """A title that fits the picture's width, cut after three lines; matplotlib's own wrapping would read formulas."""
    return textwrap.fill(title, int(figure.get_figwidth() * _LETTERS_AN_INCH), max_lines=3, placeholder=" ...")


def to_png(figure: Figure) -> bytes:
    """The picture as a PNG file's content."""
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()
