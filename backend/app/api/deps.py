"""What endpoints depend on: the services of this process, and who is asking."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from app.api.hub import StreamHub
from app.core.errors import NotAllowedError
from app.core.metrics import ServerMetrics
from app.services.feedback_service import FeedbackService
from app.services.model_service import ModelService
from app.services.operator_service import OperatorService
from app.services.session_service import SessionService
from app.services.sign_catalog import SignCatalog
from app.services.training_service import TrainingService


@dataclass(frozen=True, slots=True, kw_only=True)
class AppServices:
    """Everything the endpoints use; made by `app.bootstrap`. `worker` is which of the server's processes this is."""

    hub: StreamHub
    sessions: SessionService
    feedback: FeedbackService
    models: ModelService
    training: TrainingService
    catalog: SignCatalog
    operator: OperatorService
    metrics: ServerMetrics
    worker: int
    num_workers: int
    started_s: float


_bearer = HTTPBearer(auto_error=False, scheme_name="operator", description="The operator's token.")
_giver = APIKeyHeader(
    name="X-Giver-Token",
    auto_error=False,
    scheme_name="giver",
    description="The `resume_token` of the session in which the feedback was given.",
)


def get_services(connection: HTTPConnection) -> AppServices:
    """The services of this process."""
    services = connection.app.state.services
    assert isinstance(services, AppServices)
    return services


Services = Annotated[AppServices, Depends(get_services)]
BearerToken = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def require_operator(services: Services, bearer: BearerToken) -> None:
    """Let only the operator pass."""
    services.operator.require(None if bearer is None else bearer.credentials)


OperatorOnly = Depends(require_operator)


@dataclass(frozen=True, slots=True)
class FeedbackAccess:
    """Whose feedback the asker may see and delete: `giver_token`'s, or everybody's when it is None (an operator)."""

    giver_token: str | None


def require_feedback_access(
    services: Services, bearer: BearerToken, giver_token: Annotated[str | None, Depends(_giver)]
) -> FeedbackAccess:
    """Let the operator and givers pass."""
    if bearer is not None:
        services.operator.require(bearer.credentials)
        return FeedbackAccess(None)
    if not giver_token:
        msg = "say who you are: X-Giver-Token with your session's resume token, or the operator's Authorization header"
        raise NotAllowedError(msg)
    return FeedbackAccess(giver_token)


FeedbackAsker = Annotated[FeedbackAccess, Depends(require_feedback_access)]
