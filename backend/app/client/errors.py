"""Errors of the client.

ClientError
├── ServerUnreachableError   nobody answers at that address, or the connection was lost for too long
├── ServerBusyError          the server is full for longer than we wait
├── ServerHasNoModelError    the server runs, but has no model to translate with
└── StreamRefusedError       the server closed the stream for good; the message holds its reason
"""


class ClientError(Exception):
    """Base of every error that the client raises on purpose."""


class ServerUnreachableError(ClientError):
    """Nobody answers at that address, or the connection was lost for too long."""


class ServerBusyError(ClientError):
    """The server is full for longer than we wait."""


class ServerHasNoModelError(ClientError):
    """The server runs, but has no model to translate with."""


class StreamRefusedError(ClientError):
    """The server closed the stream for good; the message holds its reason."""
