"""The HTTP interface: health, readiness, metrics, vocabulary, model, status, errors."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from app.api.schema import openapi_schema, ws_messages_schema
from tests.fakes import FAKE_LABELS, StreamWriter
from tests.test_api.live import (
    OPERATOR_TOKEN,
    client,
    close_code,
    collect_until,
    hello,
    http_client,
    receive_until,
    send,
    send_all,
    serve,
    serve_without_model,
)


async def test_a_server_with_a_model_is_healthy_and_ready(tmp_path: Path) -> None:
    async with serve(tmp_path) as live, http_client(live) as http:
        health, ready, model = [await http.get(path) for path in ("/health", "/ready", "/api/v1/models/active")]

    assert health.json()["model"] == {
        "version": "v7",
        "backend": "fake",
        "fallback_reason": None,
        "tta": False,
        "batch": None,
    }
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
    assert (model.json()["num_signs"], model.json()["languages"]) == (len(FAKE_LABELS), ["ase"])


async def test_without_a_model_the_server_lives_and_says_why_it_cannot_translate(tmp_path: Path) -> None:
    async with serve_without_model(tmp_path) as live, http_client(live) as http:
        health, ready, model = [await http.get(path) for path in ("/health", "/ready", "/api/v1/models/active")]
        signs = (await http.get("/api/v1/signs")).json()
        async with client(live) as socket:
            await send(socket, type="hello", width=640, height=480, mirrored=False, client="test")
            error = await receive_until(socket, "error")
            code = await close_code(socket)

    assert (health.status_code, health.json()["model"]) == (200, None)
    assert (ready.status_code, ready.json()["reasons"]) == (503, ["no model here"])
    assert (model.status_code, model.json()) == (503, {"code": "no_model", "message": "no model here"})
    assert signs["model_version"] is None
    assert not any(sign["recognised"] for sign in signs["signs"])
    assert (error["code"], error["message"], code) == ("no_model", "no model here", 4004)


async def test_the_vocabulary_has_texts_in_both_languages_and_people_per_sign(tmp_path: Path) -> None:
    async with serve(tmp_path) as live, http_client(live) as http:
        everything = (await http.get("/api/v1/signs", params={"language": "ase"})).json()["signs"]
        recognised = (await http.get("/api/v1/signs", params={"recognised": "true"})).json()["signs"]

    assert {sign["label"] for sign in recognised} == set(FAKE_LABELS)
    hello_sign = next(sign for sign in recognised if sign["label"] == "hello")
    assert hello_sign["texts"] == {"en": "hello", "fr": "bonjour"}
    assert (hello_sign["kind"], hello_sign["num_people"]) == ("word", 1)
    assert len(everything) > len(recognised)
    assert all({"en", "fr"} <= sign["texts"].keys() for sign in everything)


async def test_metrics_count_what_happened(tmp_path: Path) -> None:
    async with serve(tmp_path) as live, client(live) as socket, http_client(live) as http:
        await hello(socket)
        writer = StreamWriter()
        await send_all(socket, [b"rubbish", *writer.sign("yes")])
        await send(socket, type="end")
        await collect_until(socket, "ended")
        answer = await http.get("/metrics", follow_redirects=False)
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }

    assert answer.status_code == 200
    assert values["signflow_frame_seconds_count",] == writer.sequence
    assert values["signflow_signs_total", "recognised"] == 1
    assert values["signflow_errors_total", "stream", "bad_magic"] == 1
    assert values["signflow_inference_latency_seconds_count", "v7"] > 0
    assert values["signflow_sessions_open",] == 1
    assert values["signflow_model_loaded",] == 1
    assert values["process_resident_memory_bytes",] > 0


async def test_the_status_is_for_operators_only(tmp_path: Path) -> None:
    async with serve(tmp_path) as live, http_client(live) as http:
        anonymous = await http.get("/api/v1/status")
        wrong = await http.get("/api/v1/status", headers={"Authorization": "Bearer nope"})
        status = await http.get("/api/v1/status", headers={"Authorization": f"Bearer {OPERATOR_TOKEN}"})

    assert (anonymous.status_code, wrong.status_code) == (401, 401)
    assert anonymous.headers["WWW-Authenticate"] == "Bearer"
    assert status.json()["model"]["sha256"] == "0" * 64
    assert status.json()["models_loaded"][0]["version"] == "v7"


async def test_errors_are_json_with_a_code(tmp_path: Path) -> None:
    async with serve(tmp_path) as live, http_client(live) as http:
        missing = await http.get("/api/v1/nothing")
        invalid = await http.get("/api/v1/signs", params={"language": "English"})

    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    assert (invalid.status_code, invalid.json()["code"]) == (422, "invalid_input")


async def test_the_documentation_comes_from_this_machine_only(tmp_path: Path) -> None:
    async with serve(tmp_path) as live, http_client(live) as http:
        page = await http.get("/docs")
        parts = [await http.get(f"/docs/{name}") for name in ("swagger-ui-bundle.js", "swagger-ui.css", "start.js")]
        schema = await http.get("/openapi.json")

    assert "http://" not in page.text
    assert "https://" not in page.text
    assert all(part.status_code == 200 for part in parts)
    assert "/api/v1/signs" in schema.json()["paths"]


def test_schemas_name_every_message_and_path() -> None:
    schema = ws_messages_schema()
    assert isinstance(schema["$defs"], dict)

    assert {"Hello", "Ready", "SignMessage", "ErrorCode", "CloseCode", "ServerMessage"} <= schema["$defs"].keys()
    assert schema["$defs"]["SignMessage"]["additionalProperties"] is False
    assert "paths" in openapi_schema()
