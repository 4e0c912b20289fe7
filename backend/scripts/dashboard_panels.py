"""What the Grafana dashboard shows: its rows, from the top. `write_dashboard` draws them."""

from typing import Final

from scripts.dashboard_queries import PanelPlan, Query, mean, one, quantile, quantiles, rate

_DROPPED = rate("signflow_frames_dropped_total", where='reason="backlog"')
_NOT_SURE = rate("signflow_signs_total", where='outcome="not_sure"')
_ANSWERS_NOT_SURE = rate("signflow_inference_total", where='sign="_not_sure"')
_NOT_SURE_BY_MODEL = rate("signflow_inference_total", by="model_version", where='sign="_not_sure", MODEL')
_FRAME_STAGES = rate("signflow_stage_seconds_sum", by="stage", where='stage=~"decode|segment"')
_QUESTIONS = rate("signflow_stage_seconds_count", where='stage="answer"')
_FREQUENT = rate("signflow_inference_total", by="sign", where='sign!~"_.*"')

OVERVIEW: Final = (
    PanelPlan(
        title="Can translate",
        help="1 when every worker of every server has its model.",
        queries=one("min(signflow_model_loaded{SERVER})"),
        kind="number",
        width=3,
    ),
    PanelPlan(
        title="Sessions",
        help="People who are connected now.",
        queries=one("sum(signflow_sessions_open{SERVER})"),
        kind="number",
        width=3,
    ),
    PanelPlan(
        title="Sessions in use",
        help="Share of the sessions that may be open, of all servers.",
        queries=one("signflow:sessions:usage"),
        kind="number",
        unit="percentunit",
        warn_at=0.75,
        alarm_at=0.9,
        width=3,
    ),
    PanelPlan(
        title="Frames a second",
        help="Well-formed frames that came in.",
        queries=one(rate("signflow_frames_received_total")),
        kind="number",
        width=3,
    ),
    PanelPlan(
        title="Frames dropped",
        help="Share of the received frames that the backlog dropped: overload.",
        queries=one(f"{_DROPPED} / ({rate('signflow_frames_received_total')} > 0)"),
        kind="number",
        unit="percentunit",
        warn_at=0.001,
        alarm_at=0.01,
        width=3,
    ),
    PanelPlan(
        title="Answer, p95",
        help="From a question to the recogniser to its answer.",
        queries=one(quantile(0.95, "signflow_inference_latency_seconds")),
        kind="number",
        unit="s",
        warn_at=0.1,
        alarm_at=0.25,
        width=3,
    ),
    PanelPlan(
        title="Not sure",
        help="Share of the finished signs that are answered 'not sure'.",
        queries=one(f"{_NOT_SURE} / ({rate('signflow_signs_total')} > 0)"),
        kind="number",
        unit="percentunit",
        width=3,
    ),
    PanelPlan(
        title="Alerts",
        help="Alerts that fire now.",
        queries=one('count(ALERTS{alertstate="firing", alertname=~"SignFlow.*|TorchServe.*"}) or vector(0)'),
        kind="number",
        warn_at=1,
        width=3,
    ),
)

THROUGHPUT: Final = (
    PanelPlan(
        title="Frames",
        help="In, handled, dropped; the difference waits in the backlogs or was sent twice by resuming clients.",
        queries=(
            Query(expr=rate("signflow_frames_received_total"), legend="received"),
            Query(expr=rate("signflow_frame_seconds_count"), legend="handled"),
            Query(expr=rate("signflow_frames_dropped_total", by="reason"), legend="dropped: {{reason}}"),
        ),
    ),
    PanelPlan(
        title="Answers",
        help="Answers of the recogniser a second, partial ones included.",
        queries=one(rate("signflow_inference_total", by="model_version"), "{{model_version}}"),
    ),
    PanelPlan(
        title="Finished signs",
        help="Signs a second.",
        queries=one(rate("signflow_signs_total", by="outcome"), "{{outcome}}"),
        kind="stacked",
    ),
    PanelPlan(
        title="Wishes to translate",
        help="New and resumed sessions a second, and those that were refused.",
        queries=one(rate("signflow_sessions_total", by="outcome"), "{{outcome}}"),
        kind="stacked",
        width=12,
    ),
    PanelPlan(
        title="Sessions",
        help="Connections, sessions with one, and lost sessions that can be resumed.",
        queries=(
            Query(expr="sum(signflow_connections{SERVER})", legend="connections"),
            Query(expr="sum(signflow_sessions_open{SERVER})", legend="sessions open"),
            Query(expr="sum(signflow_sessions_kept{SERVER})", legend="sessions kept"),
            Query(expr="signflow:sessions:limit", legend="limit of all servers"),
        ),
        width=12,
    ),
)

LATENCY: Final = (
    PanelPlan(
        title="Answers by latency",
        help="How many answers took how long.",
        queries=one(
            "sum by (le) (increase(signflow_inference_latency_seconds_bucket{SERVER}[$__rate_interval]))", "{{le}}"
        ),
        kind="heatmap",
        unit="s",
        width=12,
    ),
    PanelPlan(
        title="Answer",
        help="From a question to its answer, waiting included.",
        queries=quantiles("signflow_inference_latency_seconds"),
        unit="s",
        width=6,
    ),
    PanelPlan(
        title="Frame handled",
        help="From a frame's arrival to the end of its step.",
        queries=quantiles("signflow_frame_seconds"),
        unit="s",
        width=6,
    ),
    PanelPlan(
        title="Time of a stage, mean",
        help="decode, segment: a frame; features, model, remote: a call; answer: a question; send: a message.",
        queries=one(mean("signflow_stage_seconds", by="stage"), "{{stage}}"),
        unit="s",
    ),
    PanelPlan(
        title="Time of a stage, p95",
        help="The same stages.",
        queries=one(quantile(0.95, "signflow_stage_seconds", by="stage"), "{{stage}}"),
        unit="s",
    ),
    PanelPlan(
        title="Where the time goes",
        help="Busy seconds a second; decode and segment are timed on every eighth frame, and multiplied here.",
        queries=(
            Query(expr=f"8 * {_FRAME_STAGES}", legend="{{stage}}"),
            Query(
                expr=rate("signflow_stage_seconds_sum", by="stage", where='stage=~"features|model|remote|send"'),
                legend="{{stage}}",
            ),
        ),
        kind="stacked",
        unit="s",
    ),
)

CONFIDENCE: Final = (
    PanelPlan(
        title="Confidence",
        help="Mean of all answers' likeliest sign, and of finished signs.",
        queries=(
            Query(expr=mean("signflow_prediction_confidence"), legend="answers"),
            Query(expr=mean("signflow_sign_confidence"), legend="finished signs"),
            Query(expr="signflow:sign_confidence:mean1h", legend="finished signs, an hour's mean"),
        ),
        unit="percentunit",
    ),
    PanelPlan(
        title="Least sure signs",
        help="Mean confidence of the ten signs whose answers are least sure.",
        queries=one(f"bottomk(10, {mean('signflow_prediction_confidence', by='sign')})", "{{sign}}"),
        unit="percentunit",
    ),
    PanelPlan(
        title="Finished signs by confidence",
        help="How sure finished signs are.",
        queries=one("sum by (le) (increase(signflow_sign_confidence_bucket{SERVER}[$__rate_interval]))", "{{le}}"),
        kind="heatmap",
        unit="percentunit",
    ),
    PanelPlan(
        title="Most frequent signs",
        help="Answers a second of the ten most frequent signs; _not_sure and _other left out.",
        queries=one(f"topk(10, {_FREQUENT})", "{{sign}}"),
        width=12,
    ),
    PanelPlan(
        title="Not sure",
        help="Share of answers and of finished signs that are under the model's threshold.",
        queries=(
            Query(expr=f"{_ANSWERS_NOT_SURE} / ({rate('signflow_inference_total')} > 0)", legend="answers"),
            Query(expr=f"{_NOT_SURE} / ({rate('signflow_signs_total')} > 0)", legend="finished signs"),
            Query(expr="signflow:signs_not_sure:ratio_rate1h", legend="finished signs, an hour's mean"),
        ),
        unit="percentunit",
        width=12,
    ),
)

SATURATION: Final = (
    PanelPlan(
        title="Queue",
        help="Windows that wait for the recogniser now.",
        queries=one("sum by (instance) (signflow_queue_depth{SERVER})", "{{instance}}"),
    ),
    PanelPlan(
        title="Waiting in the queue",
        help="From a window's arrival to the start of its batch.",
        queries=quantiles("signflow_queue_wait_seconds"),
        unit="s",
    ),
    PanelPlan(
        title="Windows in one call",
        help="Size of a batch: what waited when the recogniser was free.",
        queries=(
            Query(expr=mean("signflow_batch_size"), legend="mean"),
            Query(expr=quantile(0.95, "signflow_batch_size"), legend="p95"),
        ),
    ),
    PanelPlan(
        title="Event loop late",
        help="How late the event loop runs what is due: the first sign of too much work.",
        queries=quantiles("signflow_loop_lag_seconds"),
        unit="s",
    ),
    PanelPlan(
        title="Processor",
        help="Cores in use.",
        queries=one("sum by (instance) (rate(process_cpu_seconds_total{SERVER}[$__rate_interval]))", "{{instance}}"),
    ),
    PanelPlan(
        title="Memory",
        help="Resident memory; what several workers share counts for each.",
        queries=one("sum by (instance) (process_resident_memory_bytes{SERVER})", "{{instance}}"),
        unit="bytes",
    ),
)

TROUBLE: Final = (
    PanelPlan(
        title="Frames dropped",
        help="By reason: backlog is overload, stray a camera's clock that went back.",
        queries=one(rate("signflow_frames_dropped_total", by="reason"), "{{reason}}"),
        width=6,
    ),
    PanelPlan(
        title="Errors told to clients",
        help="By channel and code; docs/protocol.md lists the codes.",
        queries=one(rate("signflow_errors_total", by="channel, code"), "{{channel}}: {{code}}"),
        width=6,
    ),
    PanelPlan(
        title="Questions without an answer",
        help="Answers that failed or came too late.",
        queries=one(f"{_QUESTIONS} - {rate('signflow_inference_latency_seconds_count')}", "failed"),
        width=6,
    ),
    PanelPlan(
        title="Windows not run, fallbacks",
        help="What the queue refused or gave up, and how often another than the preferred model answered.",
        queries=(
            Query(expr=rate("signflow_windows_skipped_total", by="reason"), legend="{{reason}}"),
            Query(expr=rate("signflow_fallbacks_total", by="to"), legend="fallback: {{to}}"),
        ),
        width=6,
    ),
    PanelPlan(
        title="Streams closed",
        help="By close code; by_client is the ordinary end.",
        queries=one(rate("signflow_streams_closed_total", by="code"), "{{code}}"),
        kind="stacked",
        width=12,
    ),
    PanelPlan(
        title="Messages that slow readers did not get",
        help="Droppable ones only: states, partial answers, statistics, errors.",
        queries=one(rate("signflow_messages_dropped_total"), "dropped"),
        width=12,
    ),
)

MODELS: Final = (
    PanelPlan(
        title="Models in use",
        help="Version, backend and the beginning of the file's hash.",
        queries=one("sum by (model_version, backend, sha256) (signflow_model_info{SERVER, MODEL}) > 0"),
        kind="table",
        width=6,
    ),
    PanelPlan(
        title="Answers",
        help="Answers a second of each version.",
        queries=one(rate("signflow_inference_total", by="model_version", where="MODEL"), "{{model_version}}"),
        kind="stacked",
        width=6,
    ),
    PanelPlan(
        title="Answer, p95",
        help="From a question to its answer.",
        queries=one(
            "histogram_quantile(0.95, "
            + rate("signflow_inference_latency_seconds_bucket", by="le, model_version", where="MODEL")
            + ")",
            "{{model_version}}",
        ),
        unit="s",
        width=6,
    ),
    PanelPlan(
        title="Not sure",
        help="Share of a version's answers under its threshold.",
        queries=one(
            f"{_NOT_SURE_BY_MODEL} / ({rate('signflow_inference_total', by='model_version', where='MODEL')} > 0)",
            "{{model_version}}",
        ),
        unit="percentunit",
        width=6,
    ),
)

SERVICE_LEVELS: Final = (
    PanelPlan(
        title="Burn rate, one hour",
        help="How many times too fast the error budget goes; 1 lasts exactly 28 days, 14.4 pages somebody.",
        queries=one("signflow:slo_errors:ratio_rate1h / on (slo) signflow:slo_budget:ratio", "{{slo}}"),
        width=12,
    ),
    PanelPlan(
        title="Burn rate, three days",
        help="The same over three days; 1 makes a ticket.",
        queries=one("signflow:slo_errors:ratio_rate3d / on (slo) signflow:slo_budget:ratio", "{{slo}}"),
        width=12,
    ),
)

ROWS: Final = (
    ("Now", OVERVIEW),
    ("Throughput", THROUGHPUT),
    ("Latency", LATENCY),
    ("Confidence", CONFIDENCE),
    ("Saturation", SATURATION),
    ("Drops and errors", TROUBLE),
    ("Models", MODELS),
    ("Service levels", SERVICE_LEVELS),
)
"""Rows of the dashboard, from the top."""
