"""Errors of the application.

SignFlowError
├── ConfigurationError      settings that cannot work; the server refuses to start
├── NotFoundError           the thing asked for does not exist, or is not the asker's
├── NotAllowedError         the asker has no valid credentials for this
├── LimitReachedError       a bounded store or queue is full
├── InvalidInputError       input that fits its schema but cannot be used
├── StoreUnavailableError   the place where several processes share sessions does not answer
├── WrongStateError         the thing is in a state in which this cannot be done to it
├── TrainingUnavailableError  this installation cannot train; the message says what installs it
├── NoModelError            no recogniser is loaded; the message says why
├── InferenceFailedError    the recogniser could not answer a window
└── ServerBusyError         no room for another session; try again later
"""


class SignFlowError(Exception):
    """Base of every error that the application raises on purpose; messages hold value, limit and way out."""


class ConfigurationError(SignFlowError):
    """Settings that cannot work; the server refuses to start."""


class NotFoundError(SignFlowError):
    """The thing asked for does not exist, or is not the asker's."""


class NotAllowedError(SignFlowError):
    """The asker has no valid credentials for this."""


class LimitReachedError(SignFlowError):
    """A bounded store or queue is full."""


class InvalidInputError(SignFlowError):
    """Input that fits its schema but cannot be used."""


class StoreUnavailableError(SignFlowError):
    """The place where several processes share sessions does not answer; each goes on by itself."""


class WrongStateError(SignFlowError):
    """The thing is in a state in which this cannot be done to it."""


class TrainingUnavailableError(SignFlowError):
    """This installation cannot train; the message says what installs it."""


class NoModelError(SignFlowError):
    """No recogniser is loaded; the message says why."""


class InferenceFailedError(SignFlowError):
    """The recogniser could not answer a window."""


class ServerBusyError(SignFlowError):
    """No room for another session.

    Attributes:
        retry_after_s: an honest wait in seconds before trying again.
    """

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
