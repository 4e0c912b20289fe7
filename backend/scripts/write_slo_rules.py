"""Writes the service levels as Prometheus rules: error ratios and burn-rate alerts; `make generate` runs it.

Reads nothing; writes one file. The four levels are the table `LEVELS` below. Alerts follow the multi-window,
multi-burn-rate scheme of Google's SRE workbook, chapter 5: a page when 2 % of a 28-day budget went in an hour or 5 % in
six, a ticket when 10 % went in a day or three. Each condition also needs enough events: one refused session at night is
no outage.

    python -m scripts.write_slo_rules --output ../prometheus/rules/slo.yml
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import yaml

from app.core.config import REPOSITORY_DIR
from app.ml.artifacts.whole_files import write_text_whole
from scripts.console import user_errors

WINDOWS: Final = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
MIN_EVENTS: Final = {"1h": 20, "6h": 50, "1d": 100, "3d": 100}
"""Fewer events in a window say nothing about a service level."""
RUNBOOK: Final = "docs/runbooks.md#signflowerrorbudgetburnsfast-and-signflowerrorbudgetburnsslowly"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLevel:
    """What share of events has to be good; `events` and `errors` are rates, `WINDOW` stands for their window."""

    name: str
    objective: float
    events: str
    errors: str


_ANSWERED = 'signflow_stage_seconds_count{stage="answer"}[WINDOW]'
_LATENCY = "signflow_inference_latency_seconds"
LEVELS: Final = (
    ServiceLevel(
        name="admission",
        objective=0.995,
        events="sum(rate(signflow_sessions_total[WINDOW]))",
        errors='sum(rate(signflow_sessions_total{outcome=~"busy|no_model"}[WINDOW]))',
    ),
    ServiceLevel(
        name="answers",
        objective=0.999,
        events=f"sum(rate({_ANSWERED}))",
        errors=f"(sum(rate({_ANSWERED})) - sum(rate({_LATENCY}_count[WINDOW])))",
    ),
    ServiceLevel(
        name="latency",
        objective=0.99,
        events=f"sum(rate({_LATENCY}_count[WINDOW]))",
        errors=f'(sum(rate({_LATENCY}_count[WINDOW])) - sum(rate({_LATENCY}_bucket{{le="0.1"}}[WINDOW])))',
    ),
    ServiceLevel(
        name="frames",
        objective=0.99,
        events="sum(rate(signflow_frames_received_total[WINDOW]))",
        errors='sum(rate(signflow_frames_dropped_total{reason="backlog"}[WINDOW]))',
    ),
)


def burns(*, long: str, short: str, factor: float) -> str:
    """The budget goes `factor` times too fast, over a long window and still over a short one, with enough events."""
    limit = f"{factor:g} * signflow:slo_budget:ratio"
    return (
        f"(signflow:slo_errors:ratio_rate{long} > on (slo) ({limit})"
        f" and on (slo) signflow:slo_errors:ratio_rate{short} > on (slo) ({limit})"
        f" and on (slo) signflow:slo_events:increase{long} >= {MIN_EVENTS[long]})"
    )


def alert(name: str, severity: str, expr: str, description: str) -> dict[str, Any]:
    """One alerting rule for all service levels; the label `slo` says which."""
    return {
        "alert": name,
        "expr": expr,
        "labels": {"severity": severity},
        "annotations": {
            "summary": "{{ $labels.slo }}: {{ $value | humanizePercentage }} of the events are bad",
            "description": description,
            "runbook_url": RUNBOOK,
        },
    }


def slo_rules() -> str:
    """The whole rule file."""
    recording: list[dict[str, Any]] = []
    for level in LEVELS:
        labels = {"slo": level.name}
        budget = f"vector({1 - level.objective:.4g})"
        recording.append({"record": "signflow:slo_budget:ratio", "expr": budget, "labels": dict(labels)})
        for window in WINDOWS:
            errors, events = level.errors.replace("WINDOW", window), level.events.replace("WINDOW", window)
            expr = f"{errors} / ({events} > 0)"
            recording.append(
                {"record": f"signflow:slo_errors:ratio_rate{window}", "expr": expr, "labels": dict(labels)}
            )
        for window in MIN_EVENTS:
            expr = level.events.replace("WINDOW", window).replace("rate(", "increase(")
            recording.append({"record": f"signflow:slo_events:increase{window}", "expr": expr, "labels": dict(labels)})
    fast = burns(long="1h", short="5m", factor=14.4) + " or " + burns(long="6h", short="30m", factor=6)
    slow = burns(long="1d", short="2h", factor=3) + " or " + burns(long="3d", short="6h", factor=1)
    alerts = [
        alert(
            "SignFlowErrorBudgetBurnsFast", "page", fast, "At this rate the budget of 28 days is gone within five days."
        ),
        alert("SignFlowErrorBudgetBurnsSlowly", "ticket", slow, "The budget of 28 days will not last 28 days."),
    ]
    groups = [{"name": "signflow-slo-recording", "rules": recording}, {"name": "signflow-slo-alerts", "rules": alerts}]
    header = "# Written by 'make generate' (backend/scripts/write_slo_rules.py): do not edit.\n"
    return header + yaml.safe_dump({"groups": groups}, sort_keys=False, width=120)


def main(
    output: Annotated[Path, typer.Option(help="File to write.")] = REPOSITORY_DIR / "prometheus" / "rules" / "slo.yml",
) -> None:
    """Write the service levels as recording rules and alerts."""
    with user_errors():
        write_text_whole(output, slo_rules())


if __name__ == "__main__":
    typer.run(main)
