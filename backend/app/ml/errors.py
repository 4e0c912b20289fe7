"""Errors of the ML library.

MlError
├── InvalidLandmarksError   landmarks, times or lengths that cannot be used
├── ClipFileError           a clip or dataset file that cannot be read
├── ArtifactError           a model file that cannot be used
│   ├── ModelNotFoundError  no model file where one is expected
│   └── ManifestMismatchError  feature spec, labels or hash differ from what is expected
├── ExportError             an exported model that does not answer as its source does
├── DatasetError            data that cannot be trained or evaluated on
├── NotAnsweredError        a window that was not answered, though nothing is wrong with it
│   ├── OverloadedError     too much waits already; says when to try again
│   ├── DeadlinePassedError its time was up before its turn came
│   └── RecogniserDownError the recogniser hangs, broke or was closed
├── TrainingError           a training run that cannot start or go on: no such device, a full disk, a lost process
├── MissingExtraError       an optional package is not installed
└── RemoteModelError        an inference server that cannot be asked
    ├── RemoteUnavailableError  it does not answer, or not in time, or with an error
    └── RemoteMismatchError     it serves another model than the one expected
"""


class MlError(Exception):
    """Base of every error that the ML library raises on purpose."""


class InvalidLandmarksError(MlError):
    """Landmarks, times or lengths that cannot be used."""


class ClipFileError(MlError):
    """A clip or dataset file that cannot be read; the message names the file and the key."""


class ArtifactError(MlError):
    """A model file that cannot be used."""


class ModelNotFoundError(ArtifactError):
    """No model file where one is expected."""


class ManifestMismatchError(ArtifactError):
    """A model whose feature spec, labels or hash differ from what is expected."""


class ExportError(MlError):
    """An exported model that does not answer as its source does."""


class DatasetError(MlError):
    """Data that cannot be trained or evaluated on."""


class NotAnsweredError(MlError):
    """A window that was not answered, though nothing is wrong with it."""


class OverloadedError(NotAnsweredError):
    """Too much waits already.

    Attributes:
        retry_after_s: when an answer in time is to be expected, as far as the measured cost of windows tells.
    """

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlinePassedError(NotAnsweredError):
    """A window's time was up before its turn came."""


class RecogniserDownError(NotAnsweredError):
    """The recogniser hangs, broke or was closed."""


class TrainingError(MlError):
    """A training run that cannot start or go on; the message says how to go on."""


class MissingExtraError(MlError):
    """An optional package is not installed; the message says which command installs it."""


class RemoteModelError(MlError):
    """An inference server that cannot be asked."""


class RemoteUnavailableError(RemoteModelError):
    """An inference server that does not answer, or not in time, or with an error."""

    def __init__(self, message: str, *, is_retryable: bool = False) -> None:
        """`is_retryable`: the same question may be answered if asked again at once."""
        super().__init__(message)
        self.is_retryable = is_retryable


class RemoteMismatchError(RemoteModelError):
    """An inference server that serves another model than the one expected, or speaks another language."""
