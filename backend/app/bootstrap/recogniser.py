"""Loads what answers windows: the model, and the queue, inference server and views that the settings ask for."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.core.config import Settings
from app.core.metrics import ServerMetrics
from app.ml.batch_processor import REMOTE_PARALLEL, BatchedInferenceQueue
from app.ml.errors import MlError
from app.ml.inference.batch_policy import BatchLimits
from app.ml.metrics import InferenceMetrics
from app.ml.pipeline import SignFlowInferencePipeline
from app.ml.tta import TtaPredictor
from app.ml.types import Predictor
from app.services.model_service import ActiveModel

if TYPE_CHECKING:
    from app.ml.inference.remote import RemotePredictor

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedRecogniser:
    """A predictor that is ready to answer, what is known of its model, and how to let go of it.

    Attributes:
        queue: where windows wait for the model; it has to be run in the background.
        remote: the part that asks an inference server, to be watched in the background; None where none is asked.
    """

    predictor: Predictor
    active: ActiveModel
    close: Callable[[], None]
    queue: BatchedInferenceQueue | None = None
    remote: "RemotePredictor | None" = None


Loader = Callable[[Settings, InferenceMetrics], LoadedRecogniser]
"""Loads the recogniser, in a thread of its own. Raises MlError with the reason when it cannot."""


def load_recogniser(settings: Settings, metrics: InferenceMetrics) -> LoadedRecogniser:
    """Load the model that the settings choose.

    Raises:
        MlError: there is no model, or it cannot be used.
    """
    pipeline = SignFlowInferencePipeline.load(
        settings.model_dir,
        backend=settings.inference.backend,
        num_threads=settings.inference.num_threads,
        device=settings.inference.device,
        metrics=metrics,
    )
    info = pipeline.backend_info
    tta = settings.inference.tta
    batch = settings.batch
    limits = BatchLimits(
        batch_size=batch.batch_size,
        max_latency_ms=batch.max_latency_ms,
        capacity=batch.capacity,
        stall_s=batch.stall_s,
    )
    remote = _open_remote(settings, pipeline, metrics)
    num_parallel = 1 if remote is None else min(settings.remote.max_connections, REMOTE_PARALLEL)
    queue = BatchedInferenceQueue(remote or pipeline, limits=limits, num_parallel=num_parallel, metrics=metrics)
    predictor = TtaPredictor(queue, manifest=pipeline.manifest) if tta else queue
    active = ActiveModel(
        manifest=pipeline.manifest,
        backend=info.name if info.device == "cpu" else f"{info.name} on {info.device}",
        file_name=info.path.name,
        sha256=info.sha256,
        fallback_reason=info.fallback_reason,
        tta=tta,
        batch=limits,
    )
    return LoadedRecogniser(predictor=predictor, active=active, close=pipeline.close, queue=queue, remote=remote)


def _open_remote(
    settings: Settings, pipeline: SignFlowInferencePipeline, metrics: InferenceMetrics
) -> "RemotePredictor | None":
    remote = settings.remote
    if remote.url is None:
        return None
    from app.ml.inference.remote import RemoteOptions, RemotePredictor  # its HTTP client takes 7 MB

    options = RemoteOptions(
        url=remote.url,
        protocol=remote.protocol,
        model=remote.model,
        timeout_s=remote.timeout_s,
        max_connections=remote.max_connections,
        token=None if remote.token is None else remote.token.get_secret_value(),
        certificate=remote.certificate,
    )
    return RemotePredictor.open(options, pipeline, metrics=metrics)


def try_loading(loader: Loader, settings: Settings, metrics: ServerMetrics) -> tuple[LoadedRecogniser | None, str]:
    """The recogniser, or why there is none."""
    try:
        return loader(settings, metrics.inference), ""
    except MlError as error:
        logger.error("signs cannot be translated: %s", error)  # noqa: TRY400 - the reason is the whole story
        return None, str(error)
