"""Live traffic with the largest vocabulary stays within the series that docs/metrics.md allows."""

from dataclasses import dataclass, replace
from pathlib import Path

from app.bootstrap.app import build_app
from app.bootstrap.recogniser import LoadedRecogniser
from app.ml.artifacts.manifest import SignLabel
from app.ml.types import Alternative, LandmarkWindow, Prediction
from app.services.operator_service import load_operator
from tests.fakes import FakePredictor, StreamWriter, fake_active_model
from tests.test_api.live import OPERATOR_TOKEN, client, collect_until, hello, http_client, make_settings, run_app, send
from tests.test_core.test_metrics import VOCABULARY, count_by_metric, documented_budget, series_of


@dataclass(slots=True, kw_only=True)
class EverySign(FakePredictor):
    """Answers with one sign of the vocabulary after the other; `is_sure` and not by turns."""

    async def infer(self, window: LandmarkWindow) -> Prediction:
        """Answer one window."""
        prediction = await FakePredictor.infer(self, window)
        label = VOCABULARY[(self.num_asked * 37) % len(VOCABULARY)]
        return replace(
            prediction,
            label=label if self.num_asked % 2 else None,
            alternatives=(Alternative(label=label, confidence=0.9),),
        )


async def test_a_vocabulary_of_thousands_makes_no_more_series_than_the_budget(tmp_path: Path) -> None:
    active = fake_active_model()
    labels = tuple(SignLabel(label=label, language="ase", num_people=1) for label in VOCABULARY)
    active = replace(active, manifest=replace(active.manifest, labels=labels))
    predictor = EverySign()
    loaded = LoadedRecogniser(predictor=predictor, active=active, close=lambda: None)
    settings = make_settings(tmp_path)
    operator, _ = load_operator(tmp_path, configured=OPERATOR_TOKEN)
    app = build_app(settings, operator=operator, loader=lambda _settings, _metrics: loaded)
    async with run_app(app, settings) as live, client(live) as socket, http_client(live) as http:
        await hello(socket, pace="replay")
        await socket.send(b"rubbish")
        writer = StreamWriter()
        for _ in range(60):
            for frame in writer.sign():
                await socket.send(frame)
        await send(socket, type="end")
        await collect_until(socket, "ended", timeout_s=120)
        await http.get("/nothing")
        page = (await http.get("/metrics")).content
    limits, total = documented_budget()
    numbers, series = count_by_metric(page), series_of(page)
    answers = {key[2]: value for key, value in series.items() if key[0] == "signflow_inference_total"}

    assert predictor.num_asked > 200
    assert sum(answers.values()) == predictor.num_asked
    assert answers["_other"] > 0
    assert answers["_not_sure"] > 0
    assert series["signflow_frames_received_total",] == series["signflow_frame_seconds_count",] == writer.sequence
    assert {name: (num, limits.get(name)) for name, num in numbers.items() if num > limits.get(name, 6)} == {}
    assert sum(numbers.values()) < total
