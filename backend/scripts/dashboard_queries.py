"""Panels of the Grafana dashboard as plain values, and the PromQL that they are made of.

In a query, SERVER stands for the chosen servers (`job` and `instance`) and MODEL for the chosen model versions.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["curves", "stacked", "heatmap", "number", "table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One PromQL query; `legend` names its series with Grafana's templates."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelPlan:
    """One panel.

    Attributes:
        unit: Grafana's name of the unit.
        warn_at: from this value on the number is orange.
        alarm_at: from this value on it is red.
        width: of 24 columns.
    """

    title: str
    help: str
    queries: tuple[Query, ...]
    kind: Kind = "curves"
    unit: str = "short"
    warn_at: float | None = None
    alarm_at: float | None = None
    width: int = 8


def one(expr: str, legend: str = "") -> tuple[Query, ...]:
    """The only query of a panel."""
    return (Query(expr=expr, legend=legend),)


def rate(metric: str, *, by: str = "", where: str = "") -> str:
    """Events a second, summed over servers."""
    selector = f"{{{where + ', ' if where else ''}SERVER}}"
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{selector}[$__rate_interval]))"


def quantile(share: float, histogram: str, *, by: str = "") -> str:
    """A quantile of a histogram over the servers."""
    return f"histogram_quantile({share}, {rate(f'{histogram}_bucket', by=f'le, {by}' if by else 'le')})"


def mean(histogram: str, *, by: str = "", where: str = "") -> str:
    """The mean of a histogram's observations; nothing where there were none."""
    return f"{rate(f'{histogram}_sum', by=by, where=where)} / ({rate(f'{histogram}_count', by=by, where=where)} > 0)"


def quantiles(histogram: str) -> tuple[Query, ...]:
    """Median, p95 and p99."""
    return tuple(Query(expr=quantile(share, histogram), legend=f"p{share * 100:g}") for share in (0.5, 0.95, 0.99))
