"""An HTTP server for a detector in this process, so that it ends with the process.

Clients that are silent, do not read, or only open connections take nothing from others, and their faults fill no log.
"""

import asyncio
import gc
import logging
import math
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from vae_anomaly.detector import VAEDetector
from vae_anomaly.errors import DataWarning
from vae_anomaly.integrations.mlflow.application import Limits, application

MOST_CONNECTIONS = 256
LINES_AT_ONCE = 512  # bytes


def serve(
    detector: VAEDetector,
    *,
    host: str = "127.0.0.1",
    port: int = 5001,
    limits: Limits | None = None,
    token: str | None = None,
) -> None:
    """
    Answer requests with a detector's scores, until SIGINT or SIGTERM.

    Parameters
    ----------
    detector : VAEDetector
        Fitted.
    host, port : str, int
        Where to listen.
    limits : Limits, optional
        What clients may ask.
    token : str, optional
        What a client must send as ``Authorization: Bearer TOKEN``; by default there is no authentication.
    """
    allowed = limits or Limits()
    app = application(detector, allowed, token)

    class TimedConnection(Connection):
        seconds = allowed.seconds

    config = uvicorn.Config(
        app,
        http=TimedConnection,
        ws="none",
        lifespan="off",
        proxy_headers=False,
        log_config=None,
        log_level="error",
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    app.state.connections = server.server_state.connections
    with _listen(host, port) as listening, warnings.catch_warnings(), _seldom_logged(), _frozen():
        warnings.simplefilter("ignore", DataWarning)  # of a client's rows
        server.run(sockets=[listening])


class Connection(H11Protocol):
    """
    A connection that ends if its client is silent within a request, or does not read its answer.

    Of more than ``MOST_CONNECTIONS``, the one that has waited for a request the longest ends.
    """

    seconds: ClassVar[float]
    _is_chunked = False
    _silence: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """No request has been received that is not answered yet."""
        cycle: Any = self.cycle  # None before the first request
        return cycle is None or bool(cycle.response_complete)

    @property
    def unread(self) -> int:
        """Bytes of answers that the client has not read."""
        return self.transport.get_write_buffer_size()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._watch()
        if len(self.connections) > MOST_CONNECTIONS:
            others = (connection for connection in self.connections if isinstance(connection, Connection))
            idle = [connection for connection in others if connection.is_idle]
            min(idle, key=Connection.waits_until, default=self).transport.abort()

    def waits_until(self) -> float:
        """When the client must have sent a request; at the latest where it has not begun to."""
        return math.inf if self._silence is None else self._silence.when()

    def data_received(self, data: bytes) -> None:
        """
        Handle data; a request that has begun must go on.

        The body of a request without a length is left unread: every byte of it may be a chunk, and thousands of these
        would be parsed before anybody else gets a turn.
        """
        while data and not (self._is_chunked or self.transport.is_closing()):
            size = LINES_AT_ONCE if self.is_idle else len(data)  # the lines of a request end somewhere here
            super().data_received(data[:size])
            data = data[size:]
            self._is_chunked = not self.is_idle and any(name == b"transfer-encoding" for name, _ in self.headers)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the clocks."""
        super().connection_lost(exc)
        for clock in (self._silence, self._reading):
            if clock is not None:
                clock.cancel()

    def pause_writing(self) -> None:
        """Give the client time to read."""
        super().pause_writing()
        self._must_read(self.unread)

    def resume_writing(self) -> None:
        """Go on, since the client has read."""
        super().resume_writing()
        if self._reading is not None:
            self._reading.cancel()

    def _watch(self) -> None:
        if self.is_idle and self._silence is None:
            self._silence = self.loop.call_later(self.seconds, self.transport.abort)
        elif not self.is_idle and self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _must_read(self, before: int) -> None:
        """End the connection if nothing is read for a time."""

        def check() -> None:
            if self.unread >= before:
                self.transport.abort()
            else:
                self._must_read(self.unread)

        self._reading = self.loop.call_later(self.seconds, check)


class _SeldomHandler(logging.StreamHandler[Any]):
    """Writes each message of the program at most once a minute, and its beginning only: what clients send is no log."""

    seconds, most = 60, 4_000  # characters

    def __init__(self) -> None:
        super().__init__()
        self._again: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the message was not written of late, and is not of a request that the server's end cut off."""
        if record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError):
            return False
        now, place = time.monotonic(), (record.pathname, record.lineno)
        if now < self._again.get(place, -math.inf):
            return False
        self._again[place] = now + self.seconds
        return True

    def format(self, record: logging.LogRecord) -> str:
        """The end of a message, where a traceback has its error."""
        return super().format(record)[-self.most :]


@contextmanager
def _seldom_logged() -> Iterator[None]:
    handler, root = _SeldomHandler(), logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


@contextmanager
def _frozen() -> Iterator[None]:
    """Keep the garbage collector from looking through all that is loaded, which would hold up other threads."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen at {host}:{port}, {error.strerror}") from error
