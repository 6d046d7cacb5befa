"""MLflow's model server around a detector, in this process: what stops the process stops all of it.

``mlflow models serve`` starts a child that may outlive it, takes requests of any size, and tells whoever asks wrongly a
stack trace and the rows that it was sent.
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
GRACE = 5  # seconds for requests under way when the server is told to stop
DRAINED = 4  # times the limit: so much of a body that is refused is read, for a client that reads only afterwards

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
        Where to listen. Nobody is asked for a password.
    max_bytes : int
        Of the body of a request; a longer one is refused with status 413.
    """
    config = uvicorn.Config(application(detector, max_bytes), log_level="warning", timeout_graceful_shutdown=GRACE)
    with _listen(host, port) as listening:
        uvicorn.Server(config).run(sockets=[listening])


def application(detector: VAEDetector, max_bytes: int = MOST_BYTES) -> "Door":
    """Give MLflow's own application for the detector, behind a door."""
    model = PyFuncModel(Model(signature=signature_of(detector)), Predictor(detector))
    return Door(scoring_server.init(model), max_bytes)


class Door:
    """Refuses what is too long or of no type, and has errors say one thing: what is wrong with the request."""

    def __init__(self, inner: Application, max_bytes: int) -> None:
        self.inner, self.max_bytes = inner, max_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it here."""
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        body = await self._body(receive)
        if body is None:
            message = f"The request is longer than {self.max_bytes:,} bytes. Send fewer rows at a time."
            await _answer(send, 413, "REQUEST_LIMIT_EXCEEDED", message)
        elif scope["method"] == "POST" and not any(name == b"content-type" for name, _ in scope["headers"]):
            message = "The request has no Content-Type. Say text/csv or application/json."
            await _answer(send, 415, "BAD_REQUEST", message)
        else:
            await self.inner(scope, _once(body, receive), Shortener(send))

    async def _body(self, receive: Receive) -> bytes | None:
        """The body of a request, None where it is too long."""
        chunks, length, more = [], 0, True
        while more and length <= DRAINED * self.max_bytes:
            message = await receive()
            chunk, more = message.get("body", b""), message.get("more_body", False)
            length += len(chunk)
            if length <= self.max_bytes:
                chunks.append(chunk)
        return b"".join(chunks) if length <= self.max_bytes else None


class Shortener:
    """Passes answers on; of errors only their code and what is wrong."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.status, self.body = 200, b""

    async def __call__(self, message: Message) -> None:
        """Send a message, or keep it where it is of an error."""
        if message["type"] == "http.response.start" and message["status"] >= 400:
            self.status = message["status"]
        elif self.status < 400:
            await self.send(message)
        else:
            self.body += message.get("body", b"")
            if not message.get("more_body", False):
                await _answer(self.send, self.status, *_told(self.body))


def _told(body: bytes) -> tuple[str, str]:
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


def _once(body: bytes, receive: Receive) -> Receive:
    """The body that was read already, then whatever comes."""
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
