"""Which model is active, or why none is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from app.core.errors import NoModelError
from app.ml.artifacts.manifest import ModelManifest
from app.ml.inference.batch_policy import BatchLimits
from app.repositories.model_versions import LoadedModel, ModelVersionRepository

if TYPE_CHECKING:
    from app.ml.inference.remote import RemotePredictor


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveModel:
    """The model in use.

    Attributes:
        backend: what runs it, e.g. `onnx`.
        fallback_reason: why the preferred file is not in use; None when it is.
        tta: whether every window is asked about in several views (test-time augmentation).
        batch: limits of the queue in front of it; None without a queue.
    """

    manifest: ModelManifest
    backend: str
    file_name: str
    sha256: str
    fallback_reason: str | None = None
    tta: bool = False
    batch: BatchLimits | None = None

    @property
    def sign_labels(self) -> frozenset[str]:
        """Every sign that it can answer, without background classes."""
        return frozenset(item.label for item in self.manifest.labels) - frozenset(self.manifest.background)


class ModelService:
    """Knows the active model; `active` None means that none could be loaded, for `no_model_reason`.

    `get_problem` says why the model does not answer at present; None when it does.
    `remote` is the inference server that is asked first; None means that the model runs in this process only.
    """

    def __init__(
        self,
        active: ActiveModel | None,
        *,
        no_model_reason: str,
        versions: ModelVersionRepository,
        get_problem: Callable[[], str | None] = lambda: None,
        remote: "RemotePredictor | None" = None,
    ) -> None:
        self.active = active
        self.get_problem = get_problem
        self.remote = remote
        self.no_model_reason = no_model_reason
        self._versions = versions

    def require_active(self) -> ActiveModel:
        """The active model.

        Raises:
            NoModelError: there is none; says why.
        """
        if self.active is None:
            raise NoModelError(self.no_model_reason)
        return self.active

    async def record(self) -> None:
        """Remember in the database that the active model was loaded."""
        if self.active is not None:
            await self._versions.record(
                LoadedModel(
                    version=self.active.manifest.version,
                    sha256=self.active.sha256,
                    backend=self.active.backend,
                    file_name=self.active.file_name,
                    num_labels=len(self.active.manifest.labels),
                    loaded_at=datetime.now(UTC),
                )
            )

    async def list_loaded(self) -> Sequence[LoadedModel]:
        """The models that this server has loaded, newest first."""
        return await self._versions.list()
