"""The application that serves a detector, called as a server calls it."""

import asyncio
import json

import pandas as pd
import pytest
from numpy.testing import assert_allclose

from vae_anomaly.integrations.mlflow import as_request
from vae_anomaly.integrations.mlflow.serving import DRAINED, application

LIMIT = 20_000


@pytest.fixture(scope="module")
def served(detector):
    return application(detector, LIMIT)


def ask(served, body: bytes, kind: str | None = "application/json", path: str = "/invocations", method: str = "POST"):
    """Status and parsed answer of one request, its body in pieces of 1,000 bytes."""
    pieces = [body[i : i + 1000] for i in range(0, len(body), 1000)] or [b""]
    waiting = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    waiting[-1]["more_body"] = False
    sent, ask.left = [], waiting

    async def receive():
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    headers = [] if kind is None else [(b"content-type", kind.encode())]
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "headers": headers,
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "server": ("127.0.0.1", 5001),
        "client": ("127.0.0.1", 50000),
    }
    asyncio.run(served(scope, receive, send))
    text = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], json.loads(text) if text.strip() else None


@pytest.mark.parametrize("path", ["/health", "/ping"])
def test_the_health_check_succeeds(served, path):
    assert ask(served, b"", None, path, "GET") == (200, None)


def test_rows_are_scored(served, detector, table):
    status, answer = ask(served, table.to_csv(index=False).encode(), "text/csv")
    assert status == 200
    found = pd.DataFrame(answer["predictions"])
    assert_allclose(found["anomaly_score"], detector.anomaly_score(table), rtol=1e-9)
    assert found.columns.tolist() == ["anomaly_score", "p_value", "severity", "is_anomaly"]


def test_a_request_of_the_largest_size_is_accepted_and_one_byte_more_is_not(served, table):
    body = table.to_csv(index=False).encode()
    assert ask(served, body.ljust(LIMIT, b"\n"), "text/csv")[0] == 200
    status, answer = ask(served, body.ljust(LIMIT + 1, b"\n"), "text/csv")
    assert (status, answer["message"]) == (413, "The request is longer than 20,000 bytes. Send fewer rows at a time.")


def test_a_very_long_request_is_not_read_to_its_end(served):
    assert ask(served, b"1" * (2 * DRAINED * LIMIT), "text/csv")[0] == 413
    assert len(ask.left) > DRAINED * LIMIT / 2000


@pytest.mark.parametrize(
    "body, kind, status, message",
    [
        (b'{"dataframe_records": [{"number": 1}]}', "application/json", 400, "Model is missing inputs ['whole'"),
        (b"number,whole\n1,2", "text/csv", 400, "Model is missing inputs ['flag'"),
        (b"number\nmuch", "text/csv", 400, "could not convert string to float: 'much'"),
        (b'{"rows": []}', "application/json", 400, "exactly one of the input fields"),
        (b"no json", "application/json", 400, "valid JSON"),
        (b"", "text/csv", 400, "No columns to parse"),
        (b"a", "text/plain", 415, "only supports the following content types"),
        (b"a", None, 415, "The request has no Content-Type"),
    ],
)
def test_the_error_of_a_bad_request_is_one_message(served, body, kind, status, message):
    found, answer = ask(served, body, kind)
    assert found == status
    assert answer.keys() == {"error_code", "message"}  # no stack trace
    assert message in answer["message"]
    assert len(answer["message"]) < 400


def test_an_error_does_not_repeat_the_rows(served, detector, table):
    request = as_request(detector, table).assign(day="tomorrow", text="confidential")
    status, answer = ask(served, request.to_csv(index=False).encode(), "text/csv")
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert answer["message"].startswith("Column 'day' held dates in fit; found text 'tomorrow' in row 1")
    assert "confidential" not in answer["message"]


def test_another_path_is_not_found(served):
    assert ask(served, b"", None, "/models", "GET") == (404, {"error_code": "ERROR", "message": "Not Found"})
