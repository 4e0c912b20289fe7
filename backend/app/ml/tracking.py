"""Tracks training runs: what was trained on what, how it went, what came out. MLflow, or nothing.

By default MLflow keeps runs in SQLite in the model folder and their files in `mlruns` beside it; an `http(s)://` URI
names a server. A run never fails because of its tracking: when the store goes away, one warning says so and the rest
of the run is not recorded.
"""

import logging
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol

from app.ml.artifacts.provenance import describe_environment, git_revision, installed_packages
from app.ml.errors import MissingExtraError, MlError
from app.ml.recordings.names import metric_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

EXPERIMENT: Final = "signflow"
RunStatus = Literal["FINISHED", "FAILED", "KILLED"]
"""MLflow's own words; see `finished`."""
Json = str | int | float | bool | None | Sequence["Json"] | Mapping[str, "Json"]
Param = str | int | float | bool

_DATABASE: Final = "mlflow.db"
_ARTIFACTS: Final = "mlruns"
_SQLITE: Final = "sqlite:///"
_MAX_PARAMS: Final = 100
"""That MLflow takes in one call."""
_MAX_PARAM_LENGTH: Final = 6_000
_BATCH: Final = 500
_ENVIRONMENT: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    # MLflow's own patience (seven attempts of two minutes each) would hold a training run up for a quarter of an hour.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
"""Read by MLflow while it is imported; what the user has set is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDescription:
    """What identifies a run before its first step.

    Attributes:
        name: shown in lists, e.g. `starter seed 0`.
        params: everything that was chosen, flat; see `flatten`.
        data_fingerprint: `dataset.data_fingerprint` of all clips.
        train_signers: who was learned from.
        held_out_signers: who was kept apart to judge the model.
    """

    name: str
    params: Mapping[str, Param]
    data_fingerprint: str
    train_signers: Sequence[str]
    held_out_signers: Sequence[str] = ()


class Tracker(Protocol):
    """Records one run. Only `start` may be called first and `finish` last; none of them ever raises for the store."""

    @property
    def run_id(self) -> str | None:
        """The store's name of this run, with which it can be continued; None when nothing is recorded."""
        ...

    @property
    def problem(self) -> str | None:
        """Why recording stopped; None while it works."""
        ...

    def start(self, run: RunDescription) -> None:
        """Begin a run, or continue it."""
        ...

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Record numbers at a step; numbers that are not finite are left out. Any name will do: see `metric_name`."""
        ...

    def log_document(self, name: str, value: Json) -> None:
        """Record a table or a report as a JSON file."""
        ...

    def log_figure(self, name: str, figure: "Figure") -> None:
        """Record a picture; `name` ends in `.png`."""
        ...

    def log_files(self, files: Sequence[Path]) -> None:
        """Record files, e.g. the model."""
        ...

    def finish(self, status: RunStatus) -> None:
        """End the run."""
        ...


class NullTracker:
    """Records nothing."""

    run_id: str | None = None
    problem: str | None = None

    def start(self, run: RunDescription) -> None:
        """Nothing to begin."""

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Numbers are dropped."""

    def log_document(self, name: str, value: Json) -> None:
        """Documents are dropped."""

    def log_figure(self, name: str, figure: "Figure") -> None:
        """Pictures are dropped."""

    def log_files(self, files: Sequence[Path]) -> None:
        """Files stay where they are."""

    def finish(self, status: RunStatus) -> None:
        """Nothing to end."""


class MLFlowTracker:
    """Records one run with MLflow; when its store goes away the run goes on without."""

    def __init__(
        self, uri: str, *, artifact_location: str | None = None, experiment: str = EXPERIMENT, run_id: str | None = None
    ) -> None:
        """Choose the store; nothing is opened before `start`.

        Args:
            uri: `sqlite:///...` or the `http(s)://` address of an MLflow server.
            artifact_location: where a new experiment keeps files; None lets the server decide.
            experiment: runs are listed under it; made when it is not there.
            run_id: a run to continue instead of beginning one.

        Raises:
            MissingExtraError: MLflow is not installed.
        """
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        try:
            import mlflow
            from mlflow.exceptions import MlflowException
            from sqlalchemy.exc import SQLAlchemyError
        except ImportError as error:
            msg = "tracking needs MLflow; install it with 'make lab', or train with --no-tracking"
            raise MissingExtraError(msg) from error
        self._failures = (MlflowException, OSError, SQLAlchemyError)
        self._make_client: Callable[[], MlflowClient] = lambda: mlflow.MlflowClient(tracking_uri=uri)
        self._client: MlflowClient | None = None
        self._uri = uri
        self._artifact_location = artifact_location
        self._experiment = experiment
        self._run_id = run_id
        self._problem: str | None = None

    @classmethod
    def in_folder(cls, model_dir: Path, *, run_id: str | None = None) -> "MLFlowTracker":
        """Runs in SQLite in the model folder, their files in `mlruns` there."""
        model_dir.mkdir(parents=True, exist_ok=True)
        artifacts = (model_dir / _ARTIFACTS).resolve().as_uri()
        return cls(local_tracking_uri(model_dir), artifact_location=artifacts, run_id=run_id)

    @property
    def run_id(self) -> str | None:
        """MLflow's id of this run; None before it began, or when it could not be begun."""
        return self._run_id

    @property
    def problem(self) -> str | None:
        """Why recording stopped; None while it works."""
        return self._problem

    def start(self, run: RunDescription) -> None:
        """Begin the run, or continue the one named at construction."""
        self._attempt(lambda: self._start(run))

    def _start(self, run: RunDescription) -> None:
        self._client = client = self._make_client()
        if self._run_id is None:
            began = client.create_run(self._require_experiment(client), run_name=run.name)
            self._run_id = began.info.run_id
        else:
            client.update_run(self._run_id, status="RUNNING")
        environment = describe_environment()
        tags = {
            "git_revision": git_revision(),
            "data_fingerprint": run.data_fingerprint,
            "train_signers": ", ".join(run.train_signers),
            "held_out_signers": ", ".join(run.held_out_signers),
            **{f"environment.{name}": value for name, value in environment.items()},
        }
        for name, value in tags.items():
            client.set_tag(self._run_id, name, value[:_MAX_PARAM_LENGTH])
        self._log_params(client, self._run_id, run.params)
        split: Json = {"train": list(run.train_signers), "held_out": list(run.held_out_signers)}
        client.log_dict(self._run_id, dict(split), "signer_split.json")
        client.log_dict(
            self._run_id, {"environment": environment, "packages": installed_packages()}, "environment.json"
        )

    def _require_experiment(self, client: "MlflowClient") -> str:
        found = client.get_experiment_by_name(self._experiment)
        if found is not None:
            return found.experiment_id
        try:
            return client.create_experiment(self._experiment, artifact_location=self._artifact_location)
        except self._failures:
            # Two runs that begin together both find it missing; the second finds it made.
            made = client.get_experiment_by_name(self._experiment)
            if made is None:
                raise
            return made.experiment_id

    def _log_params(self, client: "MlflowClient", run_id: str, params: Mapping[str, Param]) -> None:
        from mlflow.entities import Param as MlflowParam

        known = client.get_run(run_id).data.params  # a continued run has them, and MLflow never changes one
        fresh = [MlflowParam(key, str(value)[:_MAX_PARAM_LENGTH]) for key, value in params.items() if key not in known]
        for first in range(0, len(fresh), _MAX_PARAMS):
            client.log_batch(run_id, params=fresh[first : first + _MAX_PARAMS])

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Record numbers at a step, in one call."""
        from mlflow.entities import Metric
        from mlflow.utils.time import get_current_time_millis

        now_ms = get_current_time_millis()
        found = [
            Metric(metric_name(name), float(value), now_ms, step)
            for name, value in metrics.items()
            if abs(value) < float("inf")
        ]

        def log(client: "MlflowClient", run_id: str) -> None:
            for first in range(0, len(found), _BATCH):
                client.log_batch(run_id, metrics=found[first : first + _BATCH])

        self._record(log)

    def log_document(self, name: str, value: Json) -> None:
        """Record a table or a report as a JSON file."""
        document = {"value": value} if not isinstance(value, Mapping) else dict(value)
        self._record(lambda client, run_id: client.log_dict(run_id, document, name))

    def log_figure(self, name: str, figure: "Figure") -> None:
        """Record a picture."""
        self._record(lambda client, run_id: client.log_figure(run_id, figure, name))

    def log_files(self, files: Sequence[Path]) -> None:
        """Copy files into the run's artifacts."""

        def log(client: "MlflowClient", run_id: str) -> None:
            for file in files:
                client.log_artifact(run_id, str(file))

        self._record(log)

    def finish(self, status: RunStatus) -> None:
        """End the run with MLflow's status word."""
        self._record(lambda client, run_id: client.set_terminated(run_id, status=status))

    def _record(self, action: "Callable[[MlflowClient, str], object]") -> None:
        client, run_id = self._client, self._run_id
        if client is not None and run_id is not None:
            self._attempt(lambda: action(client, run_id))

    def _attempt(self, action: Callable[[], object]) -> None:
        """Do it; the first failure of the store ends the recording, with one warning that cannot be overlooked."""
        if self._problem is not None:
            return
        try:
            action()
        except self._failures as error:
            self._problem = f"{self._uri} cannot be used: {_first_line(error)}"
            logger.warning(
                "TRACKING STOPPED, training goes on: %s. The rest of this run is not recorded; its model files are "
                "written as usual.",
                self._problem,
            )


@contextmanager
def finished(tracker: Tracker) -> Generator[None]:
    """End the run as the block ends: FINISHED, FAILED for what is wrong with data or files, else KILLED.

    A run that was KILLED was stopped from outside and can be resumed.
    """
    status: RunStatus = "KILLED"
    try:
        yield
        status = "FINISHED"
    except MlError:
        status = "FAILED"
        raise
    finally:
        tracker.finish(status)


def local_tracking_uri(model_dir: Path) -> str:
    """Where runs are kept when no server is named: SQLite in the model folder."""
    return f"{_SQLITE}{(model_dir / _DATABASE).resolve()}"


def make_tracker(uri: str | None, *, model_dir: Path, run_id: str | None = None) -> MLFlowTracker:
    """A tracker at a URI, or in the model folder when there is none.

    Raises:
        MissingExtraError: MLflow is not installed.
    """
    if uri is None:
        return MLFlowTracker.in_folder(model_dir, run_id=run_id)
    # MLflow would put the files of a SQLite store into whatever folder this was started in.
    artifacts = Path(uri.removeprefix(_SQLITE)).parent / _ARTIFACTS if uri.startswith(_SQLITE) else None
    return MLFlowTracker(
        uri, artifact_location=None if artifacts is None else artifacts.resolve().as_uri(), run_id=run_id
    )


def flatten(values: Mapping[str, object], *, prefix: str = "") -> dict[str, Param]:
    """Nested settings as one level, `sampling.speed: 0.22`; what is neither number nor text is written out."""
    flat: dict[str, Param] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten({str(key): item for key, item in value.items()}, prefix=f"{prefix}{name}.")
        else:
            flat[prefix + name] = value if isinstance(value, (str, int, float, bool)) else str(value)
    return flat


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
