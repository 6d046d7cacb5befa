"""A real server, and clients that are slow, silent, many or greedy. The server answers ``/ping`` throughout."""

import contextlib
import http.client
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pandas as pd
import psutil
import pytest

from vae_anomaly import VAEDetector
from vae_anomaly.integrations.mlflow.serving import MOST_CONNECTIONS, _SeldomHandler

SECONDS = 2.0  # that clients have
SCRIPT = """
import sys
from vae_anomaly import load
from vae_anomaly.integrations.mlflow import Limits, serve
serve(load(sys.argv[1]), port=int(sys.argv[2]), limits=Limits(seconds=float(sys.argv[3])))
"""
CSV = {"Content-Type": "text/csv"}
ROW = b"a,b,c\n100,200,300\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3)) + [100, 200, 300]
    path = tmp_path_factory.mktemp("models") / "three.vae"
    VAEDetector(max_iter=20, random_state=0).fit(pd.DataFrame(x, columns=["a", "b", "c"])).save(path)
    return path


class Server:
    """A process that serves, its port and its log."""

    def __init__(self, model, folder, seconds: float) -> None:
        with socket.create_server(("127.0.0.1", 0)) as held:
            self.port = held.getsockname()[1]
        self.log = folder / "server.log"
        with self.log.open("wb") as log:
            command = [sys.executable, "-c", SCRIPT, str(model), str(self.port), str(seconds)]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        for _ in range(240):
            assert self.process.poll() is None, self.log.read_text()
            with contextlib.suppress(OSError):
                assert self.ask("GET", "/ping")[0] == 200
                break
            time.sleep(0.5)

    def ask(self, method: str, path: str, body: bytes | None = None, timeout: float = 120, **headers: str):
        """Status and answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def connect(self, sent: bytes = b"") -> socket.socket:
        """A connection of a client that has sent something."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        connection.sendall(sent)
        return connection

    @contextlib.contextmanager
    def answering(self):
        """Ping all the time; every ping is answered within half a second."""
        ended, delays = threading.Event(), []

        def ping() -> None:
            while not ended.wait(0.02):
                begin = time.monotonic()
                self.ask("GET", "/ping")
                delays.append(time.monotonic() - begin)

        thread = threading.Thread(target=ping)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
        assert max(delays) < 0.5


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    """A server whose clients have two seconds."""
    started = Server(model, tmp_path_factory.mktemp("impatient"), SECONDS)
    yield started
    started.process.terminate()
    assert started.process.wait(30) == -15


@pytest.fixture(scope="module")
def patient(model, tmp_path_factory):
    """A server with the limits that are usual."""
    started = Server(model, tmp_path_factory.mktemp("patient"), 30)
    yield started
    started.process.terminate()
    started.process.wait(30)


def seconds_until_closed(connection: socket.socket) -> tuple[float, bytes]:
    """When the server closes a connection, and what it sent before."""
    begin, received = time.monotonic(), b""
    with connection, contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            received += piece
    return time.monotonic() - begin, received


PING = b"GET /ping HTTP/1.1\r\nHost: here\r\n\r\n"
HEAD = b"POST /invocations HTTP/1.1\r\nHost: here\r\nContent-Type: text/csv\r\nContent-Length: 100\r\n"


@pytest.mark.slow
@pytest.mark.stress
@pytest.mark.parametrize(
    "sent, answer",
    [
        (b"", b""),
        (b"POST /invoc", b""),
        (HEAD, b""),
        (HEAD + b"\r\na,b,c\n", b"HTTP/1.1 408"),
        (PING + b"GET /pi", b"HTTP/1.1 200"),
    ],
    ids=["nothing", "half a line", "half the lines", "half a body", "half a second request"],
)
def test_a_client_that_falls_silent_is_dropped(server, sent, answer):
    seconds, received = seconds_until_closed(server.connect(sent))
    assert 0.5 * SECONDS < seconds < SECONDS + 5  # uvicorn itself gives a client five seconds for its next request
    assert received.startswith(answer)
    assert bool(received) == bool(answer)


@pytest.mark.slow
@pytest.mark.stress
@pytest.mark.parametrize("sent", [b"", HEAD + b"\r\n"], ids=["lines", "body"])
def test_a_client_that_sends_a_byte_now_and_then_is_dropped(server, sent):
    begin = time.monotonic()
    with server.connect(sent) as connection, contextlib.suppress(OSError):
        while time.monotonic() - begin < 30:
            connection.sendall(b"a")
            time.sleep(0.2)
    assert time.monotonic() - begin < SECONDS + 3


@pytest.mark.slow
@pytest.mark.stress
def test_a_client_that_does_not_read_its_answer_is_dropped(server):
    body = b"a,b,c\n" + b"100,200,300\n" * 90_000
    lines = HEAD.replace(b"Length: 100", b"Length: %d" % len(body)) + b"\r\n"
    with server.connect(lines + body) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        begin, process = time.monotonic(), psutil.Process(server.process.pid)
        ours = connection.getsockname()[1]
        time.sleep(SECONDS)
        while any(found.raddr and found.raddr.port == ours for found in process.net_connections()):
            assert time.monotonic() - begin < 60
            time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.stress
@pytest.mark.parametrize(
    "request_line, answer",
    [(b"POST /invocations", b"HTTP/1.1 411"), (b"GET /ping", b"HTTP/1.1 200")],
    ids=["invocations", "ping"],
)
def test_a_body_of_tiny_chunks_holds_nobody_up(patient, request_line, answer):
    lines = HEAD.replace(b"POST /invocations", request_line).replace(
        b"Content-Length: 100", b"Transfer-Encoding: chunked"
    )

    def send() -> None:
        with contextlib.suppress(OSError), patient.connect(lines + b"\r\n") as connection:
            for _ in range(20):
                connection.sendall(b"1\r\na\r\n" * 50_000)

    with patient.answering():
        threads = [threading.Thread(target=send) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    _, received = seconds_until_closed(patient.connect(lines + b"\r\n1\r\na\r\n"))
    assert received.startswith(answer)


@pytest.mark.slow
@pytest.mark.stress
def test_answers_that_nobody_reads_take_the_place_of_requests(patient):
    body = b"a,b,c\n" + b"100,200,300\n" * 99_000  # 11 MB of answer
    lines = HEAD.replace(b"Length: 100", b"Length: %d" % len(body)) + b"\r\n"
    statuses: list[int] = []
    with contextlib.ExitStack() as stack, patient.answering():
        while 503 not in statuses and len(statuses) < 30:
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            connection.settimeout(60)
            connection.connect(("127.0.0.1", patient.port))
            connection.sendall(lines + body)
            statuses.append(int(connection.recv(12)[9:]))  # nothing more is read
    assert 8 < len(statuses) < 30
    assert set(statuses) == {200, 503}
    assert patient.ask("POST", "/invocations", ROW, **CSV)[0] == 200


@pytest.mark.slow
@pytest.mark.stress
def test_many_connections_keep_nobody_out(server):
    with server.answering():
        held = [server.connect(b"POST") for _ in range(2 * MOST_CONNECTIONS)]
        for _ in range(20):
            assert server.ask("POST", "/invocations", ROW, **CSV)[0] == 200
    for connection in held:
        connection.close()


@pytest.mark.slow
@pytest.mark.stress
def test_a_body_that_is_too_long_gets_its_answer(patient):
    status, answer = patient.ask("POST", "/invocations", b"a" * 20_000_000, **CSV)
    assert (status, json.loads(answer)["error_code"]) == (413, "REQUEST_LIMIT_EXCEEDED")


@pytest.mark.slow
@pytest.mark.stress
@pytest.mark.parametrize("path, status", [("/invocations", 413), ("/nothing", 404)])
def test_a_client_that_closes_after_its_request_gets_its_answer(patient, path, status):
    """A connection that is closed while a body arrives is reset, and takes the answer with it."""
    assert patient.ask("POST", path, b"a" * 20_000_000, **CSV, Connection="close")[0] == status


@pytest.mark.slow
@pytest.mark.stress
def test_a_server_that_ends_in_the_middle_of_a_request_logs_no_traceback(model, tmp_path):
    server = Server(model, tmp_path, 30)
    with server.connect(HEAD + b"\r\na,b,c\n"):
        server.process.terminate()
        assert server.process.wait(30) == -15
    assert "Traceback" not in server.log.read_text()


@pytest.mark.slow
@pytest.mark.stress
def test_the_log_does_not_grow_by_what_clients_send(server):
    for _ in range(100):
        with server.connect(b"\x00 nonsense " * 100 + b"\r\n\r\n") as connection:
            connection.recv(1_000)
        with server.connect(
            b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
        ) as connection:
            connection.recv(1_000)
        assert server.ask("POST", "/invocations", b"a,b\n1,2", **CSV)[0] == 400
        assert server.ask("GET", "/" + "x" * 1_000)[0] == 404
    assert server.log.stat().st_size < 2_000, server.log.read_text()


def large_bodies() -> dict[str, tuple[bytes, str]]:
    """Bodies of nearly 16 MB: rows, and what is hard to parse."""
    row = b"100,200,300,%s\n" % (b"x" * 500)
    return {
        "rows": (b"a,b,c,note\n" + row * 30_000, "text/csv"),
        "objects": (b'{"instances": [' + b",".join([b'{"a": 1, "b": 2, "c": 3}'] * 99_000) + b"]}", "application/json"),
        "numbers": (b'{"instances": [[' + b"1," * 7_900_000 + b"1]]}", "application/json"),
        "texts": (b'{"instances": ["' + b'","' * 5_000_000 + b'"]}', "application/json"),
        "names": (b'{"inputs": {' + b",".join(b'"%d":1' % n for n in range(1_300_000)) + b"}}", "application/json"),
        "digits": (b"a,b,c\n1,2," + b"9" * 15_000_000, "text/csv"),
        "commas": (b"a,b,c\n" + b"," * 15_000_000, "text/csv"),
        "lines": (b"a,b,c\n" + b"\n" * 15_000_000, "text/csv"),
        "short rows": (b"a,b,c\n" + b"1\n" * 190_000, "text/csv"),
        "brackets": (b'{"inputs": ' + b"[" * 15_000_000, "application/json"),
        "quote": (b'a,b,c\n"' + b"1,2,3\n" * 60_000, "text/csv"),
        "escapes": (b'{"inputs": {"a": "' + b"\\u00e9" * 2_500_000 + b'"}}', "application/json"),
    }


@pytest.mark.slow
@pytest.mark.stress
def test_six_large_bodies_at_a_time_take_neither_the_memory_nor_the_server(patient):
    process, peak, ended = psutil.Process(patient.process.pid), [0], threading.Event()
    before = process.memory_info().rss

    def watch() -> None:
        while not ended.wait(0.02):
            peak[0] = max(peak[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    found: dict[str, list[int]] = {}
    with patient.answering():
        for name, (body, kind) in large_bodies().items():
            found[name] = statuses = []
            headers = {"Content-Type": kind}

            def send(body=body, headers=headers, statuses=statuses) -> None:
                statuses.append(patient.ask("POST", "/invocations", body, **headers)[0])

            threads = [threading.Thread(target=send) for _ in range(6 if name == "rows" else 2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    ended.set()
    watcher.join()
    assert {name: {*statuses} for name, statuses in found.items() if {*statuses} - {400, 413}} == {
        "rows": {200},
        "objects": {200},
    }
    assert peak[0] - before < 1_200_000_000


def test_a_message_is_logged_once_a_minute_and_its_end_only(capsys, monkeypatch):
    handler, now = _SeldomHandler(), [1_000.0]
    monkeypatch.setattr("vae_anomaly.integrations.mlflow.serving.time.monotonic", lambda: now[0])
    logger = logging.Logger("server")
    logger.addHandler(handler)
    for number in range(100):
        logger.error("x" * 10_000 + " request %d", number)
        now[0] += 1
    lines = capsys.readouterr().err.splitlines()
    assert [line[-12:].strip("x ") for line in lines] == ["request 0", "request 60"]
    assert max(map(len, lines)) == _SeldomHandler.most
