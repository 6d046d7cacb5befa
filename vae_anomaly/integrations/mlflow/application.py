"""The application of the model server: the addresses and answers of MLflow's, with limits on what clients may ask.

MLflow's own accepts requests of any size and number, shifts the columns of a CSV file that has a field too many, and
answers a wrong request with a stack trace and its rows.
"""

import asyncio
import hmac
import json
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import mlflow
import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vae_anomaly.detector import VAEDetector
from vae_anomaly.errors import DataError
from vae_anomaly.formatting import shorten
from vae_anomaly.integrations.mlflow.flavor import Predictor
from vae_anomaly.integrations.mlflow.requests import READERS, Request, Size, TooManyRowsError, joined, reading_of

TOGETHER_BYTES = 2**16  # of waiting requests that are scored together
MORE_COLUMNS = 1_000  # than the model has, which are not used
ENCODED_AT_ONCE = 1_000  # rows of an answer; json lets no other thread run meanwhile
DISCARDING_SECONDS = 5.0
CODES = {  # MLflow's names
    400: "INVALID_PARAMETER_VALUE",
    401: "UNAUTHENTICATED",
    404: "ENDPOINT_NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    413: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


@dataclass(frozen=True)
class Limits:
    """
    What clients may ask of a server.

    Parameters
    ----------
    body : int
        Bytes of a request.
    rows : int
        Rows of a request; a tenth of them if it asks for reasons.
    requests : int
        Requests that are received or wait at a time; further ones are answered with status 503. The bytes of all of
        them, and of answers that their clients have not read, are limited to eight times ``body``.
    seconds : float
        Time that a client has to send the lines of a request, then for its body; time that a request may wait for its
        scores; and time in which a client must read some of an answer.
    """

    body: int = 16_000_000
    rows: int = 100_000
    requests: int = 64
    seconds: float = 30.0

    @property
    def held(self) -> int:
        """Bytes of all requests and unread answers at a time."""
        return 8 * self.body


def application(detector: VAEDetector, limits: Limits | None = None, token: str | None = None) -> Starlette:
    """The application that `serve` runs."""
    scores = _Scores(detector, limits or Limits(), token)
    routes = [
        Route("/ping", _ping),
        Route("/health", _ping),
        Route("/version", scores.version),
        Route("/invocations", scores.answer, methods=["POST"]),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _refused, Exception: _failed})
    app.router.redirect_slashes = False  # to whatever host a client names
    app.state.connections = ()
    return app


async def _ping(_request: HttpRequest) -> Response:
    return Response("\n", media_type="application/json")


async def _refused(request: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code not in (408, 411) and request.headers.get("connection", "").lower() == "close":
        await _discard_body(request)
    content = {"error_code": CODES.get(error.status_code, "BAD_REQUEST"), "message": error.detail}
    return JSONResponse(content, error.status_code, headers=error.headers)


async def _discard_body(request: HttpRequest) -> None:
    """Receive the rest of a body: a connection that is closed before then is reset, and its client sees no answer."""
    if {"transfer-encoding", "expect"}.isdisjoint(request.headers.keys()):
        with suppress(TimeoutError, ClientDisconnect):
            async with asyncio.timeout(DISCARDING_SECONDS):
                async for _ in request.stream():
                    pass


async def _failed(_request: HttpRequest, _error: Exception) -> Response:
    """Answer for an error of ours, which is logged."""
    return JSONResponse({"error_code": CODES[500], "message": "The server failed at this request."}, 500)


def _busy() -> HTTPException:
    return HTTPException(503, "The server is busy. Try again.", {"Retry-After": "1"})


class _Scores:
    """
    Answers requests for scores.

    One thread reads and scores what waits, small requests together: the memory that rows take beyond their bytes is
    that of one request, and the server goes on to answer ``/ping``.
    """

    def __init__(self, detector: VAEDetector, limits: Limits, token: str | None) -> None:
        self.detector = detector
        self.limits = limits
        self.token = token
        self.size = Size(limits.rows, columns=2 * detector.n_features_in_ + MORE_COLUMNS)
        self.reading = reading_of(detector)
        self._thread = ThreadPoolExecutor(1, "scores")
        self._waiting: deque[tuple[Callable[[], Request], int, asyncio.Future[bytes]]] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._n_requests = self._n_bytes = 0

    async def version(self, request: HttpRequest) -> Response:
        """The version of MLflow."""
        self._authenticate(request)
        return Response(mlflow.__version__, media_type="application/json")

    async def answer(self, request: HttpRequest) -> Response:
        """The scores of the rows in a request."""
        self._authenticate(request)
        read = READERS[_kind_of(request)]
        if "transfer-encoding" in request.headers:  # the server does not read it
            message = "The request has no Content-Length. Send it in one piece, not in chunks."
            raise HTTPException(411, message, {"Connection": "close"})
        if self._n_requests >= self.limits.requests:
            raise _busy()
        self._n_requests += 1
        try:
            body = await self._receive(request)
            try:
                scores = await self._scores(lambda: read(body, self.size, self.reading), len(body))
            finally:
                self._n_bytes -= len(body)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        finally:
            self._n_requests -= 1
        return Response(scores, media_type="application/json")

    def _authenticate(self, request: HttpRequest) -> None:
        if self.token is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        is_right = hmac.compare_digest(given.strip().encode("latin-1"), self.token.encode())
        if scheme.lower() != "bearer" or not is_right:
            message = "The request needs the server's token, in the header Authorization: Bearer TOKEN."
            raise HTTPException(401, message, {"WWW-Authenticate": "Bearer"})

    async def _receive(self, request: HttpRequest) -> bytes:
        """The body of a request, whose bytes count as long as it is held."""
        longest, body = self.limits.body, bytearray()
        too_long = HTTPException(413, f"The request is longer than {longest:,} bytes. Send fewer rows at a time.")
        if int(request.headers.get("content-length", 0)) > longest:
            raise too_long
        unread = sum(connection.unread for connection in request.app.state.connections)
        try:
            async with asyncio.timeout(self.limits.seconds):
                async for chunk in request.stream():
                    if len(body) + len(chunk) > longest:
                        raise too_long
                    if self._n_bytes + unread + len(chunk) > self.limits.held:
                        raise _busy()
                    body += chunk
                    self._n_bytes += len(chunk)
        except BaseException as error:
            self._n_bytes -= len(body)
            if not isinstance(error, TimeoutError):
                raise
            message = f"The request was not complete after {self.limits.seconds:g} seconds. Send it faster."
            raise HTTPException(408, message, {"Connection": "close"}) from error
        return bytes(body)

    async def _scores(self, read: Callable[[], Request], n_bytes: int) -> bytes:
        """The answer to a request of ``n_bytes``, when its turn comes."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append((read, n_bytes, answer))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        try:
            async with asyncio.timeout(self.limits.seconds):
                return await answer
        except TimeoutError as error:
            message = f"The request was not answered within {self.limits.seconds:g} seconds. Send fewer rows at a time."
            raise HTTPException(504, message) from error

    async def _work(self) -> None:
        """Answer all requests that wait."""
        while self._waiting:
            groups: list[list[tuple[Request, asyncio.Future[bytes]]]] = []
            n_bytes = 0
            while self._waiting and (not groups or n_bytes + self._waiting[0][1] <= TOGETHER_BYTES):
                read, length, answer = self._waiting.popleft()
                n_bytes += length
                if answer.done():  # its client waited for too long
                    continue
                request = await self._in_thread(read)
                if not isinstance(request, Request):
                    _set(answer, request)
                    continue
                group = next((group for group in groups if group[0][0].joins(request)), None)
                if group is None:
                    groups.append([(request, answer)])
                else:
                    group.append((request, answer))
            for group in groups:
                await self._answer_together(group)

    async def _answer_together(self, group: Sequence[tuple[Request, asyncio.Future[bytes]]]) -> None:
        """Answer requests that join; one by one if there is an error among them."""
        requests, answers = zip(*group, strict=True)
        found = await self._in_thread(self._encoded_scores, requests)
        if isinstance(found, BaseException) and len(group) > 1:
            for member in group:
                await self._answer_together([member])
            return
        for number, answer in enumerate(answers):
            _set(answer, found if isinstance(found, BaseException) else found[number])

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a function returns or raises."""
        running = asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
        return (await asyncio.gather(running, return_exceptions=True))[0]

    def _encoded_scores(self, requests: Sequence[Request]) -> list[bytes]:
        """Answers to requests that join."""
        rows = joined(requests).rows(self.detector)
        if len(requests) > 1 and np.isposinf(self.detector.model_.encode(rows)).any():
            raise DataError("A cell cannot be read: whether that is an error depends on the request's other rows.")
        scores = Predictor(self.detector).detect(rows, requests[0].options).to_dict("records")
        ends = accumulate((len(request.cells) for request in requests), initial=0)
        return [_encoded(scores[start:end]) for start, end in pairwise(ends)]


def _set(answer: asyncio.Future[bytes], found: Any) -> None:
    """Complete an answer, unless its client has gone."""
    match found:
        case _ if answer.done():
            pass
        case TooManyRowsError():
            answer.set_exception(HTTPException(413, str(found)))
        case DataError():
            answer.set_exception(HTTPException(400, str(found)))
        case MemoryError():
            answer.set_exception(HTTPException(413, "There is not enough memory for these rows. Send fewer at a time."))
        case BaseException():
            answer.set_exception(found)
        case _:
            answer.set_result(found)


def _encoded(scores: Sequence[Any]) -> bytes:
    """An answer in JSON."""
    pieces = (scores[first : first + ENCODED_AT_ONCE] for first in range(0, len(scores), ENCODED_AT_ONCE))
    return f'{{"predictions": [{", ".join(json.dumps(piece)[1:-1] for piece in pieces)}]}}'.encode()


def _kind_of(request: HttpRequest) -> str:
    """The content type of a request, one of those that are read."""
    kind, *parameters = (part.strip().lower() for part in request.headers.get("content-type", "").split(";"))
    known = " or ".join(READERS)
    if not kind:
        raise HTTPException(415, f"The request has no Content-Type. Use {known}.")
    if kind not in READERS:
        raise HTTPException(415, f"The request has Content-Type {shorten(kind)}. Use {known}.")
    if any(part.startswith("charset=") and part not in ("charset=utf-8", 'charset="utf-8"') for part in parameters):
        raise HTTPException(415, "The request has a charset other than UTF-8. Encode it as UTF-8.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HTTPException(415, "The request is compressed. Send it as it is.")
    return kind
