"""Writes the Grafana dashboard from the panels in `dashboard_panels`; `make generate` runs it.

Reads nothing; writes one JSON file, which Grafana loads by itself (grafana/provisioning).

    python -m scripts.write_dashboard --output ../grafana/dashboards/signflow.json
"""

from itertools import count
from pathlib import Path
from typing import Annotated, Final

import typer

from app.core.config import REPOSITORY_DIR
from app.ml.artifacts.whole_files import write_text_whole
from scripts.console import needs_packages, user_errors
from scripts.dashboard_panels import ROWS
from scripts.dashboard_queries import PanelPlan, Query

with needs_packages("make dev"):
    from grafana_foundation_sdk.builders import common, dashboard, heatmap, prometheus, stat, table, timeseries
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models import common as common_models
    from grafana_foundation_sdk.models import dashboard as models
    from grafana_foundation_sdk.models import prometheus as prometheus_models

SERVER: Final = 'job="signflow", instance=~"$instance"'
MODEL: Final = 'model_version=~"$model"'
DATASOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
PANEL_HEIGHT: Final = 8
NUMBER_HEIGHT: Final = 4
AnyPanel = timeseries.Panel | heatmap.Panel | stat.Panel | table.Panel


def target(query: Query, plan: PanelPlan, letter: str) -> prometheus.Dataquery:
    """A query as Grafana sends it."""
    builder = (
        prometheus.Dataquery()
        .expr(query.expr.replace("SERVER", SERVER).replace("MODEL", MODEL))
        .legend_format(query.legend or "__auto")
        .ref_id(letter)
    )
    if plan.kind == "heatmap":
        return builder.range().format(prometheus_models.PromQueryFormat.HEATMAP)
    if plan.kind == "table":
        return builder.instant().format(prometheus_models.PromQueryFormat.TABLE)
    return builder.range()


def thresholds(plan: PanelPlan) -> dashboard.ThresholdsConfig:
    """Green, and from the panel's limits on orange and red."""
    steps = [models.Threshold(value=None, color="green")]
    steps += [
        models.Threshold(value=value, color=color)
        for value, color in ((plan.warn_at, "orange"), (plan.alarm_at, "red"))
        if value is not None
    ]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def draw(plan: PanelPlan) -> AnyPanel:
    """One panel."""
    panel: AnyPanel
    if plan.kind == "number":
        panel = stat.Panel().thresholds(thresholds(plan)).height(NUMBER_HEIGHT)
        panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    elif plan.kind == "heatmap":
        axis = heatmap.YAxisConfig().unit(plan.unit).axis_placement(common_models.AxisPlacement.LEFT)
        panel = heatmap.Panel().y_axis(axis).calculate(False).height(PANEL_HEIGHT)
    elif plan.kind == "table":
        panel = table.Panel().height(PANEL_HEIGHT)
    else:
        panel = timeseries.Panel().min(0).fill_opacity(10).height(PANEL_HEIGHT)
        panel = panel.legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(common_models.LegendDisplayMode.LIST)
            .placement(common_models.LegendPlacement.BOTTOM)
        )
        if plan.kind == "stacked":
            panel = panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL)).fill_opacity(40)
    panel = panel.title(plan.title).description(plan.help).unit(plan.unit).span(plan.width).datasource(DATASOURCE)
    for letter, query in zip("ABCDEFGH", plan.queries, strict=False):
        panel = panel.with_target(target(query, plan, letter))
    return panel


def variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    """A choice above the panels; everything is chosen at first."""
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .query(query)
        .datasource(DATASOURCE)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(text="All", value="$__all"))
    )


def dashboard_json() -> str:
    """The whole dashboard."""
    builder = (
        dashboard.Dashboard("SignFlow")
        .uid("signflow")
        .tags(["signflow"])
        .description("Live sign translation: load, speed, confidence, trouble. Written by 'make generate'.")
        .readonly()
        .refresh("15s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(variable("instance", "Server", 'label_values(signflow_build_info{job="signflow"}, instance)'))
        .with_variable(variable("model", "Model", 'label_values(signflow_model_info{job="signflow"}, model_version)'))
    )
    ids = count(1)
    for title, plans in ROWS:
        builder = builder.with_row(dashboard.Row(title).id(next(ids)))
        for plan in plans:
            builder = builder.with_panel(draw(plan).id(next(ids)))
    return JSONEncoder(sort_keys=True, indent=2).encode(builder.build()) + "\n"


def main(
    output: Annotated[Path, typer.Option(help="File to write.")] = REPOSITORY_DIR / "grafana/dashboards/signflow.json",
) -> None:
    """Write the dashboard."""
    with user_errors():
        write_text_whole(output, dashboard_json())


if __name__ == "__main__":
    typer.run(main)
