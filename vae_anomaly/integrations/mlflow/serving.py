"""MLflow's model server for a detector, in this process, so that it ends with the process.

``mlflow models serve`` starts a child process that may outlive it, accepts requests of any size, and answers a wrong
request with a stack trace and its rows.
"""

import json
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn
from mlflow.models import Model
from mlflow.pyfunc import PyFuncModel, scoring_server

from vae_anomaly.detector import VAEDetector
from vae_anomaly.integrations.mlflow.flavor import Predictor
from vae_anomaly.integrations.mlflow.signatures import signature_of

MOST_BYTES = 16_000_000
DRAINED = 4  # times the limit: a longer body is read up to here, for clients that read the answer only after sending

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


def serve(detector: VAEDetector, *, host: str = "127.0.0.1", port: int = 5001, max_bytes: int = MOST_BYTES) -> None:
    """
    Answer requests with a detector's scores, until SIGINT or SIGTERM.

    Parameters
    ----------
    detector : VAEDetector
        Fitted.
    host, port : str, int
        Where to listen. There is no authentication.
    max_bytes : int
        Largest body of a request; a longer one is answered with status 413.
    """
    seconds = 5  # for running requests when the server is stopped
    config = uvicorn.Config(application(detector, max_bytes), log_level="warning", timeout_graceful_shutdown=seconds)
    with _listen(host, port) as listening:
        uvicorn.Server(config).run(sockets=[listening])


def application(detector: VAEDetector, max_bytes: int = MOST_BYTES) -> "RequestFilter":
    """MLflow's application for the detector, behind a filter of requests and errors."""
    model = PyFuncModel(Model(signature=signature_of(detector)), Predictor(detector))
    return RequestFilter(scoring_server.init(model), max_bytes)


class RequestFilter:
    """Rejects requests that are too long or have no type, and shortens errors to what is wrong with the request."""

    def __init__(self, inner: Application, max_bytes: int) -> None:
        self.inner, self.max_bytes = inner, max_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with an error."""
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        body = await self._body(receive)
        if body is None:
            message = f"The request is longer than {self.max_bytes:,} bytes. Send fewer rows at a time."
            await _answer(send, 413, "REQUEST_LIMIT_EXCEEDED", message)
        elif scope["method"] == "POST" and not any(name == b"content-type" for name, _ in scope["headers"]):
            message = "The request has no Content-Type. Use text/csv or application/json."
            await _answer(send, 415, "BAD_REQUEST", message)
        else:
            await self.inner(scope, _replay(body, receive), ErrorFilter(send))

    async def _body(self, receive: Receive) -> bytes | None:
        """Body of a request; None if it is too long."""
        chunks, length, more = [], 0, True
        while more and length <= DRAINED * self.max_bytes:
            message = await receive()
            chunk, more = message.get("body", b""), message.get("more_body", False)
            length += len(chunk)
            if length <= self.max_bytes:
                chunks.append(chunk)
        return b"".join(chunks) if length <= self.max_bytes else None


class ErrorFilter:
    """Passes answers on; errors are reduced to their code and message."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.status, self.body = 200, b""

    async def __call__(self, message: Message) -> None:
        """Send a message, or collect it if it is part of an error."""
        if message["type"] == "http.response.start" and message["status"] >= 400:
            self.status = message["status"]
        elif self.status < 400:
            await self.send(message)
        else:
            self.body += message.get("body", b"")
            if not message.get("more_body", False):
                await _answer(self.send, self.status, *_error_of(self.body))


def _error_of(body: bytes) -> tuple[str, str]:
    """Code and message of an error, without the rows and the advice that MLflow puts around it."""
    try:
        error = json.loads(body)
        code, message = error.get("error_code", "ERROR"), str(error.get("message", error.get("detail", "")))
    except (ValueError, AttributeError):
        return "ERROR", body.decode(errors="replace").strip()
    if message.startswith("Failed to predict data"):
        message = message.rpartition("Error: ")[2]
    return code, message.partition("\nInput:")[0].partition(" IMPORTANT:")[0].strip()


async def _answer(send: Send, status: int, code: str, message: str) -> None:
    body = json.dumps({"error_code": code, "message": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _replay(body: bytes, receive: Receive) -> Receive:
    """Receive the body, which has been read already, and then further messages."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return waiting.pop() if waiting else await receive()

    return next_message


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen at {host}:{port}, {error.strerror}") from error
