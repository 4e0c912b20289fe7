"""Settings, logging and background tasks."""

import asyncio
import json
import logging
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import inspect, text

from app.bootstrap.app import check_exposure
from app.core.config import Settings, TlsSettings, describe_mistakes, find_misspelt
from app.core.errors import ConfigurationError
from app.core.logging import JsonFormatter, configure_logging
from app.core.tasks import TaskSet
from app.db.database import Database
from app.db.models import Base
from app.main import main


def test_settings_are_read_by_group_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNFLOW_PORT", "9123")
    monkeypatch.setenv("SIGNFLOW_STREAM__MAX_SESSIONS", "3")

    settings = Settings()

    assert (settings.port, settings.stream.max_sessions) == (9123, 3)


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "70000"), ("OPERATOR_TOKEN", "short"), ("STREAM__MAX_SESSIONS", "0"), ("LOG_FORMAT", "xml")],
)
def test_a_setting_out_of_bounds_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"SIGNFLOW_{name}", value)

    with pytest.raises(ValidationError):
        Settings()


def test_tls_needs_certificate_and_key() -> None:
    with pytest.raises(ValidationError, match="SIGNFLOW_TLS__KEY"):
        TlsSettings(certificate=Path("cert.pem"))


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "signflow.example"])
def test_listening_to_the_world_needs_a_token(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNFLOW_HOST", host)
    with pytest.raises(ConfigurationError, match="SIGNFLOW_OPERATOR_TOKEN"):
        check_exposure(Settings())

    monkeypatch.setenv("SIGNFLOW_OPERATOR_TOKEN", "a-long-enough-token")
    check_exposure(Settings())


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_listening_to_this_machine_needs_none(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNFLOW_HOST", host)
    monkeypatch.delenv("SIGNFLOW_OPERATOR_TOKEN", raising=False)

    check_exposure(Settings())


def test_a_json_log_line_holds_message_and_traceback() -> None:
    error = ZeroDivisionError("division by zero")
    record = logging.LogRecord("app.x", logging.ERROR, __file__, 1, "lost %d", (3,), (type(error), error, None))

    entry = json.loads(JsonFormatter().format(record))

    assert (entry["level"], entry["logger"], entry["message"]) == ("error", "app.x", "lost 3")
    assert "ZeroDivisionError" in entry["traceback"]


@pytest.mark.parametrize("log_format", ["readable", "json"])
def test_both_log_formats_write_to_stderr(log_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger().handlers[:]
    try:
        configure_logging(log_format="json" if log_format == "json" else "readable", level="info")
        logging.getLogger("app.test").info("good morning")
    finally:
        logging.basicConfig(handlers=before, force=True)

    captured = capsys.readouterr()
    assert "good morning" in captured.err
    assert captured.out == ""


async def test_a_failing_task_is_logged_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        msg = "broken pipe organ"
        raise OSError(msg)

    failures: list[BaseException] = []
    tasks = TaskSet("test")
    tasks.start(fail(), name="fail", on_failure=failures.append)
    await asyncio.sleep(0.01)

    assert "broken pipe organ" in caplog.text
    assert len(failures) == 1
    assert len(tasks) == 0


async def test_closing_cancels_what_runs_and_refuses_more() -> None:
    tasks = TaskSet("test")
    running = tasks.start(asyncio.sleep(60), name="sleep")
    await tasks.close()

    assert running.cancelled()
    with pytest.raises(RuntimeError, match="closed"):
        tasks.start(asyncio.sleep(0), name="late")


async def test_migrations_make_exactly_the_tables_of_the_models(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'new.db'}")
    await database.migrate()
    await database.migrate()  # a second start changes nothing
    async with database.sessions() as session:
        connection = await session.connection()
        columns = await connection.run_sync(
            lambda sync: {
                table: {column["name"]: column["nullable"] for column in inspect(sync).get_columns(table)}
                for table in inspect(sync).get_table_names()
            }
        )
        pragma = await session.scalar(text("PRAGMA secure_delete"))
    await database.close()

    assert columns.keys() == {*Base.metadata.tables, "alembic_version"}
    for name, table in Base.metadata.tables.items():
        assert columns[name] == {column.name: column.nullable for column in table.columns}
    assert pragma == 1


def test_a_refused_token_is_not_repeated_in_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNFLOW_OPERATOR_TOKEN", "hunter2")

    with pytest.raises(ValidationError) as caught:
        Settings()

    assert "hunter2" not in str(caught.value)
    assert describe_mistakes(caught.value) == "SIGNFLOW_OPERATOR_TOKEN: needs at least 16 characters"


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("SIGNFLOW_PORT", "abc", "SIGNFLOW_PORT: input should be a valid integer"),
        (
            "SIGNFLOW_STREAM__MAX_SESSIONS",
            "0",
            "SIGNFLOW_STREAM__MAX_SESSIONS: input should be greater than or equal to 1",
        ),
        ("SIGNFLOW_TRAINING__RUNNER", "celery", "SIGNFLOW_TRAINING__RUNNER=celery needs SIGNFLOW_REDIS_URL"),
        ("SIGNFLOW_ALLOWED_ORIGINS", "me", "SIGNFLOW_ALLOWED_ORIGINS: is read as JSON"),
        ("SIGNFLOW_DATABASE_URL", "mysql://me", "SIGNFLOW_DATABASE_URL: does not have the expected form"),
    ],
)
def test_a_wrong_setting_is_named_as_it_was_written(
    name: str, value: str, complaint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)

    assert main([]) == 2

    told = " ".join(capsys.readouterr().out.split())
    assert complaint in told
    assert "pydantic" not in told


def test_a_misspelt_setting_is_found_and_others_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROT", "STREAM__MAX_SESSION", "DOMAIN", "PORT", "BACKEND_PORT"):
        monkeypatch.setenv(f"SIGNFLOW_{name}", "1")

    assert find_misspelt() == {
        "SIGNFLOW_PROT": "SIGNFLOW_PORT",
        "SIGNFLOW_STREAM__MAX_SESSION": "SIGNFLOW_STREAM__MAX_SESSIONS",
    }
