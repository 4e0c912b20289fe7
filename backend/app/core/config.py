"""Settings: one class, prefix `SIGNFLOW_`, groups separated by `__` (`SIGNFLOW_STREAM__MAX_SESSIONS`).

Only `app.bootstrap` reads them; everything below gets plain values. Each is documented in `.env.example`.
"""

import ipaddress
import os
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel, Field, FilePath, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from app.core.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

BACKEND_DIR: Final = Path(__file__).resolve().parents[2]
REPOSITORY_DIR: Final = BACKEND_DIR.parent
_PREFIX: Final = "SIGNFLOW_"
_UNPARSED: Final = re.compile('field "(\\w+)"')
_MULTIPROCESS_DIR: Final = "PROMETHEUS_MULTIPROC_DIR"


class StreamSettings(BaseModel):
    """Limits of the live translation streams."""

    max_sessions: int = Field(default=256, ge=1, le=100_000, description="Open streams; one more is answered `busy`.")
    max_message_bytes: int = Field(
        default=65_536, ge=4_096, le=16_777_216, description="A larger message closes with 1009."
    )
    idle_timeout_s: float = Field(default=60.0, gt=0, le=3_600, description="Silence after which a stream is closed.")
    backlog_frames: int = Field(default=300, ge=8, le=10_000, description="Frames that may wait for the recogniser.")
    outbox_messages: int = Field(default=256, ge=16, le=10_000, description="Messages that may wait for a slow reader.")
    send_timeout_s: float = Field(
        default=30.0, gt=0, le=600, description="A reader that takes nothing for so long is closed."
    )
    resume_s: float = Field(default=120.0, ge=0, le=3_600, description="How long a lost session can be resumed.")
    max_kept_sessions: int = Field(
        default=512, ge=0, le=100_000, description="Lost sessions kept; the oldest goes first."
    )
    refuse_under_load: bool = Field(
        default=True, description="Answer newcomers `busy` when this process cannot carry another stream."
    )
    max_cores: float = Field(
        default=0.95, gt=0, le=64, description="Processor time of one process above which it is full, in cores."
    )
    retry_after_s: float = Field(default=10.0, gt=0, le=600, description="The wait that `busy` asks for.")
    max_violations: int = Field(
        default=60, ge=1, le=10_000, description="Malformed messages in a burst before closing."
    )
    violations_per_s: float = Field(
        default=1.0, gt=0, le=1_000, description="How fast malformed messages are forgiven."
    )
    drain_timeout_s: float = Field(default=5.0, ge=0, le=120, description="Time for open signs to finish at shutdown.")


class CaptionSettings(BaseModel):
    """How signs become text; times are on the capture clock."""

    letter_join_ms: float = Field(
        default=2_500.0, gt=0, le=60_000, description="Spelled letters closer than this join a word."
    )
    repeat_gap_ms: float = Field(
        default=150.0, ge=0, le=10_000, description="The same sign again after less is one sign."
    )
    history_signs: int = Field(
        default=200, ge=10, le=10_000, description="Signs of a session kept for caption and resume."
    )


class InferenceSettings(BaseModel):
    """The recogniser in this process."""

    backend: Literal["auto", "onnx", "onnx-int8", "torch", "openvino"] = Field(
        default="auto", description="Which backend runs the model."
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="Where: `cpu`, `cuda`, `cuda:N`, `mps` (torch only), or `auto`: a GPU if there is one.",
    )
    num_threads: int = Field(default=1, ge=1, le=64, description="Threads inside one model call.")
    timeout_s: float = Field(default=5.0, gt=0, le=120, description="An answer that takes longer counts as not sure.")
    tta: bool = Field(default=False, description="Ask about five views of every window: five times the work.")


class BatchSettings(BaseModel):
    """The queue in which windows of all streams wait for the recogniser, and share calls of the model."""

    batch_size: int = Field(default=32, ge=1, le=1_024, description="Windows in one call, at most.")
    max_latency_ms: float = Field(
        default=50.0, ge=0, le=10_000, description="A window is held back at most so long, and only where that gains."
    )
    capacity: int = Field(default=256, ge=1, le=100_000, description="Windows that may wait; one more is refused.")
    stall_s: float = Field(default=10.0, gt=0, le=600, description="A call that runs longer counts as hanging.")


class RemoteSettings(BaseModel):
    """An inference server that is asked first; the model in this process answers whenever it does not."""

    url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/\s]",
        description="Address of the server, http://HOST:8080; unset asks none.",
    )
    protocol: Literal["torchserve", "oip"] = Field(
        default="torchserve", description="`oip` is the Open Inference Protocol v2, as Triton and KServe speak it."
    )
    model: str = Field(default="signflow", pattern=r"^[\w.-]+$", description="Name of the model on the server.")
    timeout_s: float = Field(
        default=0.5, gt=0, le=60, description="After this long the model in this process answers; a retry included."
    )
    max_connections: int = Field(default=16, ge=1, le=1_000, description="Requests to the server at the same time.")
    token: SecretStr | None = Field(default=None, description="Bearer token that the server wants.")
    certificate: FilePath | None = Field(default=None, description="PEM certificate to trust, for https.")


class FeedbackSettings(BaseModel):
    """Corrections given with consent, kept in quarantine."""

    max_clips: int = Field(default=10_000, ge=0, le=10_000_000, description="Clips kept in all; 0 stores none.")
    max_clips_per_giver: int = Field(default=200, ge=1, le=100_000, description="Clips kept of one giver.")
    clips_in_memory: int = Field(
        default=12, ge=0, le=200, description="Last signs of a session that can still be corrected."
    )


class MetricsSettings(BaseModel):
    """Numbers for Prometheus at /metrics."""

    max_signs: int = Field(
        default=100, ge=0, le=1_000, description="Signs with series of their own; the rest share `_other`."
    )


class TrainingSettings(BaseModel):
    """Training from the page."""

    runner: Literal["process", "celery"] = Field(
        default="process", description="A process on this machine, or Celery workers on `redis_url`."
    )
    heartbeat_timeout_s: float = Field(
        default=30.0, ge=5, le=3_600, description="A training that is silent for so long counts as lost."
    )
    tracking: bool = Field(default=True, description="Record runs with MLflow.")
    tracking_uri: str | None = Field(
        default=None, pattern=r"^(https?|sqlite|postgresql)", description="MLflow server; unset is in `model_dir`."
    )


class TlsSettings(BaseModel):
    """Serve HTTPS directly, which a phone's camera needs; both files or neither."""

    certificate: Path | None = Field(default=None, description="PEM certificate chain.")
    key: Path | None = Field(default=None, description="PEM private key.")

    @model_validator(mode="after")
    def _both_or_neither(self) -> "TlsSettings":
        if (self.certificate is None) != (self.key is None):
            msg = "set both SIGNFLOW_TLS__CERTIFICATE and SIGNFLOW_TLS__KEY, or neither"
            raise ValueError(msg)
        return self


class Settings(BaseSettings):
    """Everything that can be set from outside; the defaults need nothing installed or configured."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        env_file=(REPOSITORY_DIR / ".env", BACKEND_DIR / ".env"),
        extra="ignore",
        hide_input_in_errors=True,
    )

    host: str = Field(
        default="127.0.0.1", description="Address to listen on; any other than this machine needs a token set."
    )
    port: int = Field(default=8000, ge=0, le=65_535, description="Port to listen on; 0 picks a free one.")
    workers: int = Field(
        default=1, ge=1, le=64, description="Server processes on this port; set `redis_url` with several."
    )
    redis_url: SecretStr | None = Field(
        default=None, description="Redis that several processes share sessions in, e.g. redis://localhost:6379/0."
    )
    operator_token: SecretStr | None = Field(
        default=None, min_length=16, description="Operator's token; unset makes one."
    )
    allowed_origins: list[str] = Field(default=[], description="Web origins besides our own that may open streams.")
    log_format: Literal["readable", "json"] = Field(default="readable", description="`json` for a log collector.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is logged."
    )
    database_url: str | None = Field(
        default=None,
        pattern=r"^(sqlite\+aiosqlite|postgresql\+asyncpg)://",
        description="SQLAlchemy async URL; unset is SQLite in `data_dir`.",
    )
    data_dir: Path = Field(default=BACKEND_DIR / "data", description="Database and secrets.")
    model_dir: Path = Field(default=BACKEND_DIR / "data" / "models", description="Where model_vN files are found.")
    datasets_dir: Path = Field(default=REPOSITORY_DIR / "data", description="Data sets that the page can train on.")
    signs_dir: Path = Field(
        default=BACKEND_DIR / "data" / "signs", description="Display texts, one JSON file a language."
    )
    frontend_dir: Path = Field(default=REPOSITORY_DIR / "frontend" / "dist", description="The built page.")
    stream: StreamSettings = Field(default_factory=StreamSettings)
    caption: CaptionSettings = Field(default_factory=CaptionSettings)
    inference: InferenceSettings = Field(default_factory=InferenceSettings)
    batch: BatchSettings = Field(default_factory=BatchSettings)
    remote: RemoteSettings = Field(default_factory=RemoteSettings)
    feedback: FeedbackSettings = Field(default_factory=FeedbackSettings)
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    tls: TlsSettings = Field(default_factory=TlsSettings)

    @model_validator(mode="after")
    def _celery_needs_redis(self) -> "Settings":
        if self.training.runner == "celery" and self.redis_url is None:
            msg = "SIGNFLOW_TRAINING__RUNNER=celery needs SIGNFLOW_REDIS_URL, e.g. redis://127.0.0.1:6379/0"
            raise ValueError(msg)
        return self

    @property
    def resolved_database_url(self) -> str:
        """The database's URL; SQLite inside `data_dir` unless one is set."""
        return self.database_url or f"sqlite+aiosqlite:///{self.data_dir / 'signflow.db'}"

    @property
    def is_loopback(self) -> bool:
        """True when only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def load_settings() -> Settings:
    """The settings of this process's environment and `.env`.

    Raises:
        ConfigurationError: one of them cannot be used; names the variable as its owner wrote it.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise ConfigurationError(describe_mistakes(error)) from error
    except SettingsError as error:  # a list or a map that is no JSON
        field = _UNPARSED.search(str(error))
        name = f"{_PREFIX}{field[1].upper()}" if field else str(error)
        msg = f'{name}: is read as JSON, for example ["https://signs.example.org"] for a list'
        raise ConfigurationError(msg) from error


def describe_mistakes(error: ValidationError) -> str:
    """What is wrong with which variable, one line each; values are left out, because some are secrets."""
    return "\n".join(
        f"{_variable(found['loc'])}: {_explain(found)}" if found["loc"] else found["msg"].removeprefix("Value error, ")
        for found in error.errors(include_url=False, include_input=False)
    )


def find_misspelt() -> dict[str, str]:
    """Variables of the environment that look like a setting and are none, each with what was probably meant."""
    known = list(_variables(Settings, _PREFIX))
    found: dict[str, str] = {}
    for name in sorted(os.environ):
        is_unknown = name.startswith(_PREFIX) and name not in known
        meant = get_close_matches(name, known, n=1, cutoff=0.88) if is_unknown else []
        if meant:
            found[name] = meant[0]
    return found


def _variable(location: Sequence[str | int]) -> str:
    return _PREFIX + "__".join(str(part) for part in location).upper()


def _variables(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _variables(field.annotation, f"{prefix}{name.upper()}__")
        else:
            yield f"{prefix}{name.upper()}"


def _explain(found: "ErrorDetails") -> str:
    if found["type"] == "too_short":
        return f"needs at least {found['ctx']['min_length']} characters" if "ctx" in found else found["msg"]
    if found["type"] == "string_pattern_mismatch" and "ctx" in found:
        return f"does not have the expected form, {found['ctx']['pattern']}; .env.example says what is meant"
    text = found["msg"].removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


def get_multiprocess_dir() -> Path | None:
    """Where the workers of one server count together; None when this process is the only one.

    The variable is prometheus_client's own, because that library reads it when it is imported: it has to be set before
    a worker starts.
    """
    directory = os.environ.get(_MULTIPROCESS_DIR)
    return Path(directory) if directory else None


def set_multiprocess_dir(directory: Path) -> None:
    """Let processes that start from here on count together in a folder."""
    os.environ[_MULTIPROCESS_DIR] = str(directory)


def worker_environment(settings: Settings) -> dict[str, str]:
    """This process's environment, with what a training worker must see as this server does."""
    values = {
        "DATABASE_URL": settings.resolved_database_url,
        "DATA_DIR": str(settings.data_dir),
        "MODEL_DIR": str(settings.model_dir),
        "DATASETS_DIR": str(settings.datasets_dir),
        "LOG_FORMAT": settings.log_format,
        "LOG_LEVEL": settings.log_level,
        "TRAINING__TRACKING": str(settings.training.tracking),
    }
    if settings.training.tracking_uri is not None:
        values["TRAINING__TRACKING_URI"] = settings.training.tracking_uri
    inherited = {name: value for name, value in os.environ.items() if name != _MULTIPROCESS_DIR}
    return inherited | {f"SIGNFLOW_{name}": value for name, value in values.items()}
