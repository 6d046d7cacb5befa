"""The application that serves a detector, called as a server calls it."""

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import Model
from mlflow.pyfunc import PyFuncModel, scoring_server
from mlflow.utils.proto_json_utils import dump_input_data
from numpy.testing import assert_allclose

from vae_anomaly import VAEDetector
from vae_anomaly.integrations.mlflow import Limits, as_request
from vae_anomaly.integrations.mlflow.application import application
from vae_anomaly.integrations.mlflow.flavor import Predictor
from vae_anomaly.integrations.mlflow.signatures import signature_of

LIMIT = 20_000
CSV, JSON = "text/csv", "application/json"
ROW_OF_THREE = b"a,b,c\n1,2,3\n"


@pytest.fixture(scope="module")
def served(detector):
    return application(detector, Limits(body=LIMIT, rows=100))


@pytest.fixture(scope="module")
def three():
    """A detector of columns a, b and c, which are far apart."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3)) + [100, 200, 300]
    return VAEDetector(max_iter=20, random_state=0).fit(pd.DataFrame(x, columns=["a", "b", "c"]))


@pytest.fixture(scope="module")
def coded():
    """A detector of a column of codes that begin with zeros, and one of numbers."""
    rng = np.random.default_rng(0)
    codes = rng.choice(["007", "12", "13"], 80)
    return VAEDetector(max_iter=20, random_state=0).fit(pd.DataFrame({"code": codes, "x": rng.normal(size=80)}))


async def talk(served, body: bytes, headers: dict[str, str], path: str, method: str):
    """Status, headers, parsed answer and what was left of a body in pieces of 1,000 bytes."""
    pieces = [body[i : i + 1000] for i in range(0, len(body), 1000)] or [b""]
    waiting = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    waiting[-1]["more_body"] = False
    sent = []

    async def receive():
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "server": ("127.0.0.1", 5001),
        "client": ("127.0.0.1", 50000),
    }
    await served(scope, receive, send)
    text = b"".join(message.get("body", b"") for message in sent[1:])
    answer = json.loads(text) if text.strip() else None
    return sent[0]["status"], dict(sent[0]["headers"]), answer, waiting


def ask(served, body, kind: str | None = JSON, path: str = "/invocations", method: str = "POST", **headers: str):
    """Status and answer of one request; a dict is sent as JSON."""
    content = json.dumps(body).encode() if isinstance(body, dict) else body
    headers |= {} if kind is None else {"Content-Type": kind}
    return asyncio.run(talk(served, content, headers, path, method))[::2]


async def post(served, body: bytes, kind: str = JSON):
    """Status, headers and answer of a request."""
    return (await talk(served, body, {"Content-Type": kind}, "/invocations", "POST"))[:3]


def scores(served, body, kind: str = JSON) -> list[float]:
    status, answer = ask(served, body, kind)
    assert status == 200, answer
    return [row["anomaly_score"] for row in answer["predictions"]]


@pytest.mark.parametrize("path", ["/health", "/ping"])
def test_the_health_check_succeeds(served, path):
    assert ask(served, b"", None, path, "GET") == (200, None)


def test_the_version_is_that_of_mlflow(detector):
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/version", "headers": [], "query_string": b"", "root_path": ""}
    asyncio.run(application(detector)(scope, None, send))
    assert sent[1]["body"].decode() == mlflow.__version__


def test_rows_are_scored(served, detector, table):
    status, answer = ask(served, table.to_csv(index=False).encode(), CSV)
    assert status == 200
    found = pd.DataFrame(answer["predictions"])
    assert_allclose(found["anomaly_score"], detector.anomaly_score(table), rtol=1e-9)
    assert found.columns.tolist() == ["anomaly_score", "p_value", "severity", "is_anomaly"]


def as_json(frame: pd.DataFrame, **options) -> list[dict]:
    return json.loads(frame.to_json(orient="records"))


def split(rows):
    return {"columns": list(rows[0]), "data": [list(row.values()) for row in rows], "index": [7, *range(1, len(rows))]}


FORMS = {
    "dataframe_split": split,
    "dataframe_records": lambda rows: rows,
    "instances": lambda rows: rows,
    "inputs": lambda rows: {name: [row[name] for row in rows] for name in rows[0]},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_mlflows_clients_gives_the_scores_of_the_rows(served, detector, table, form):
    rows = as_json(as_request(detector, table))
    assert_allclose(scores(served, {form: FORMS[form](rows)}), detector.anomaly_score(table), rtol=1e-9)


@pytest.fixture(scope="module")
def mlflows(detector):
    """MLflow's own application for the same model."""
    return scoring_server.init(PyFuncModel(Model(signature=signature_of(detector)), Predictor(detector)))


@pytest.mark.parametrize("params", [None, {"alerts": 3}, {"explain": True, "false_alarm_rate": 0.2}, {"fdr": 0.3}])
@pytest.mark.parametrize("form", FORMS)
def test_a_good_request_has_the_answer_that_mlflows_server_gives(mlflows, detector, table, form, params):
    request = as_request(detector, table.dropna())  # in some forms MLflow takes a missing cell for the text "nan"
    body = {form: FORMS[form](as_json(request))} | ({} if params is None else {"params": params})
    (status, found), (its_status, expected) = ask(application(detector), body), ask(mlflows, body)
    assert status == its_status == 200, expected
    pd.testing.assert_frame_equal(pd.DataFrame(found["predictions"]), pd.DataFrame(expected["predictions"]))


@pytest.mark.parametrize("path", ["/ping", "/health", "/nothing"])
def test_other_addresses_are_those_of_mlflows_server(served, mlflows, path):
    assert ask(served, b"", None, path, "GET")[0] == ask(mlflows, b"", None, path, "GET")[0]


def test_inputs_may_be_records_or_one_row_of_single_values(served, detector, table):
    rows = as_json(as_request(detector, table[:2]))
    expected = detector.anomaly_score(table[:2])
    assert_allclose(scores(served, {"inputs": rows}), expected, rtol=1e-9)
    assert_allclose(scores(served, {"inputs": rows[0]}), expected[:1], rtol=1e-9)


def test_what_mlflows_client_sends_is_scored(served, detector, table):
    body = dump_input_data(as_request(detector, table), params={"alerts": 2})
    status, answer = ask(served, body.encode())
    assert status == 200
    assert sum(row["is_anomaly"] for row in answer["predictions"]) == 2


@pytest.mark.parametrize("form", ["instances", "inputs"])
def test_a_model_of_an_array_takes_lists(form):
    x = np.random.default_rng(0).normal(size=(60, 3)).round(3)
    fitted = VAEDetector(max_iter=20, random_state=0).fit(x)
    served = application(fitted)
    assert_allclose(scores(served, {form: x[:5].tolist()}), fitted.anomaly_score(x[:5]), rtol=1e-9)
    body = pd.DataFrame(x[:5]).to_csv(index=False).encode()
    assert_allclose(scores(served, body, CSV), fitted.anomaly_score(x[:5]), rtol=1e-9)
    status, answer = ask(served, {form: [[1, 2]]})
    assert (status, "has 2 columns, and the model has 3" in answer["message"]) == (400, True)
    status, answer = ask(served, {form: [[1, 2, 3], [4, "five", 6]]})
    assert (status, "Column '1' held numbers in fit; found text 'five' in row 2" in answer["message"]) == (400, True)


@pytest.mark.parametrize("names", [None, [f"pixel {number}" for number in range(16)]], ids=["array", "frame"])
def test_a_model_of_images_takes_pixels(names):
    pixels = np.random.default_rng(0).uniform(size=(60, 16)).round(3)
    table = pixels if names is None else pd.DataFrame(pixels, columns=names)
    fitted = VAEDetector(image_shape=(1, 4, 4), max_iter=20, random_state=0).fit(table)
    served, expected = application(fitted), fitted.anomaly_score(table[:5])
    columns = names or [*map(str, range(16))]
    body = pd.DataFrame(pixels[:5], columns=columns).to_csv(index=False).encode()
    assert_allclose(scores(served, body, CSV), expected, rtol=1e-9)
    split_rows = {"columns": columns, "data": pixels[:5].tolist()}
    assert_allclose(scores(served, {"dataframe_split": split_rows}), expected, rtol=1e-9)


def test_a_field_too_many_is_an_error_and_shifts_no_column(three):
    served = application(three)
    true = three.anomaly_score(pd.DataFrame([[100, 100.5, 140]], columns=["a", "b", "c"]))
    assert_allclose(scores(served, b"a,b,c\n100,100.5,140\n", CSV), true)
    for body in (b"a,b,c\n100,100.5,140,\n1,2,3,\n", b"a,b,c\n7,100,100.5,140\n", b"a,b,c\n1,2,3\n7,100,100.5,140\n"):
        status, answer = ask(served, body, CSV)
        if status == 200:  # a delimiter at the end of every line adds nothing
            assert_allclose(answer["predictions"][0]["anomaly_score"], true)
        else:
            assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
            assert "The request body has 4 fields in line" in answer["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"a,b,c,a\n1,2,3,4\n",
        {"dataframe_split": {"columns": ["a", "b", "c", "a"], "data": [[1, 2, 3, 4]]}},
        b'{"dataframe_records": [{"a": 1, "b": 2, "c": 3, "a": 4}]}',
        b'{"inputs": {"a": [1], "b": [2], "c": [3], "a": [4]}}',
    ],
    ids=["csv", "split", "records", "inputs"],
)
def test_a_repeated_column_is_an_error(three, body):
    status, answer = ask(application(three), body, CSV if isinstance(body, bytes) and body[:1] == b"a" else JSON)
    assert (status, "more than once" in answer["message"], "'a'" in answer["message"]) == (400, True, True)


def test_a_number_in_a_column_of_codes_is_the_text_that_a_file_has(coded):
    served = application(coded)
    expected = coded.anomaly_score(pd.DataFrame({"code": ["12"], "x": [0.5]}))
    assert_allclose(scores(served, b"code,x\n12,0.5\n", CSV), expected)
    assert_allclose(scores(served, {"dataframe_records": [{"code": 12, "x": 0.5}]}), expected)
    zeros = coded.anomaly_score(pd.DataFrame({"code": ["007"], "x": [0.5]}))
    assert_allclose(scores(served, b"code,x\n007,0.5\n", CSV), zeros)


def test_a_request_of_the_largest_size_is_accepted_and_one_byte_more_is_not(served, table):
    body = table.assign(more="").to_csv(index=False).strip().encode()
    assert ask(served, body.ljust(LIMIT, b"x"), CSV)[0] == 200
    status, answer = ask(served, body.ljust(LIMIT + 1, b"x"), CSV)
    assert (status, answer["message"]) == (413, "The request is longer than 20,000 bytes. Send fewer rows at a time.")


def test_a_very_long_request_is_not_read_to_its_end(served):
    status, _, _, left = asyncio.run(talk(served, b"1" * 3 * LIMIT, {"Content-Type": CSV}, "/invocations", "POST"))
    assert (status, len(left)) == (413, 2 * LIMIT // 1000 - 1)


@pytest.mark.parametrize("rows, status", [(100, 200), (101, 413)])
def test_the_rows_of_a_request_are_limited(three, rows, status):
    served = application(three, Limits(rows=100))
    for body, kind in [
        (b"a,b,c\n" + b"1,2,3\n" * rows, CSV),
        ({"instances": [{"a": 1, "b": 2, "c": 3}] * rows}, JSON),
        ({"inputs": {name: [1] * rows for name in "abc"}}, JSON),
    ]:
        found, answer = ask(served, body, kind)
        assert found == status
        assert status == 200 or answer["message"] == "The request body has more than 100 rows. Send fewer at a time."


@pytest.mark.parametrize("rows, status", [(10, 200), (11, 413)])
def test_a_tenth_of_the_rows_may_ask_for_reasons(three, rows, status):
    body = {"instances": [{"a": 1, "b": 2, "c": 3}] * rows, "params": {"explain": True}}
    assert ask(application(three, Limits(rows=100)), body)[0] == status


@pytest.mark.parametrize(
    "body, kind, status, message",
    [
        (b'{"dataframe_records": [{"number": 1}]}', JSON, 400, "lacks columns of the model: 'whole', 'flag'"),
        (b"number,whole\n1,2", CSV, 400, "lacks columns of the model: 'flag'"),
        (b'{"rows": []}', JSON, 400, "exactly one of dataframe_split, dataframe_records, instances, inputs"),
        (b'{"inputs": [1], "instances": [1]}', JSON, 400, "it has instances and inputs"),
        (b"[1]", JSON, 400, "must be a JSON object"),
        (b"no json", JSON, 400, "not valid JSON: Expecting value in line 1, column 1"),
        (b'{"inputs": "\xff"}', JSON, 400, "not UTF-8"),
        (b'{"inputs": [{"text": "\\ud800"}]}', JSON, 400, "is no character"),
        (b'{"inputs": {"a": ' + b"[" * 990 + b"]" * 990 + b"}}", JSON, 400, "one value"),
        (b'{"inputs": ' + b"[" * 9_000 + b"]" * 9_000 + b"}", JSON, 413, "more than 100 rows"),
        (b'{"inputs": []}', JSON, 400, "no rows"),
        (b'{"inputs": {}}', JSON, 400, "no rows"),
        (b'{"inputs": {"a": [1, 2], "b": [1]}}', JSON, 400, "different lengths: 'a' 2, 'b' 1"),
        (b'{"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3]]}}', JSON, 400, "1 values in row 2"),
        (b'{"dataframe_records": [{"number": [1]}]}', JSON, 400, "in column 'number' in row 1"),
        (b'{"dataframe_records": [1]}', JSON, 400, "has 1 as row 1"),
        (b'{"dataframe_records": {}}', JSON, 400, "needs a list"),
        (b'{"inputs": [1], "params": {"explian": true}}', JSON, 400, "unknown params: 'explian'"),
        (b'{"inputs": [1], "params": {"fdr": "much"}}', JSON, 400, "has much as 'fdr' in 'params'"),
        (b'{"inputs": [1], "params": {"fdr": "1.2.3"}}', JSON, 400, "has 1.2.3 as 'fdr' in 'params'"),
        (b'{"inputs": [1], "params": {"explain": 1}}', JSON, 400, "Give true or false"),
        (b'{"inputs": [1], "params": {"fdr": 2}}', JSON, 400, "fdr must be a number between 0 and 1"),
        (b'{"inputs": [1], "params": {"alerts": ' + b"9" * 5000 + b"}}", JSON, 400, "a whole number from 0 up"),
        (b'{"inputs": [1], "params": {"alerts": 1, "fdr": 0.1}}', JSON, 400, "one rule at a time"),
        (b"", CSV, 400, "The request body is empty"),
        (b"number,whole\n", CSV, 400, "no rows"),
        (b"number\n\xe9", CSV, 400, "not UTF-8 text (line 2)"),
        (b'number\n"1', CSV, 400, "a quote in line 2 that is never closed"),
        (b"BZh91AY&SY\n1", CSV, 400, "compressed"),
        (b"," * 3000 + b"\n1", CSV, 400, "more than 1,020 columns"),
        (b"1\n" * 3000, CSV, 413, "more than 100 rows"),
        (b"a", "text/plain", 415, "Use text/csv or application/json"),
        (b"a", "text/csv; charset=latin-1", 415, "charset"),
        (b"a", None, 415, "The request has no Content-Type"),
    ],
)
def test_the_error_of_a_bad_request_is_one_message(served, body, kind, status, message):
    found, answer = ask(served, body, kind)
    assert found == status
    assert answer.keys() == {"error_code", "message"}  # no stack trace
    assert message in answer["message"]
    assert len(answer["message"]) < 400


@pytest.mark.parametrize("text", ["much", "1.2.3", "12 apples"])
def test_a_bad_number_names_its_column_and_row(three, text):
    served = application(three)
    for body, kind in [
        (f"a,b,c\n1,2,3\n1,{text},3\n".encode(), CSV),
        ({"inputs": {"a": [1, 1], "b": [2, text], "c": [3, 3]}}, JSON),
    ]:
        status, answer = ask(served, body, kind)
        assert status == 400
        assert answer["message"].startswith(f"Column 'b' held numbers in fit; found text '{text}' in row 2")


@pytest.mark.parametrize("number", ["9" * 5_000, "1e999", "-Infinity"], ids=["digits", "exponent", "infinity"])
def test_a_number_that_no_float_holds_is_an_error(three, number):
    status, answer = ask(application(three), f'{{"instances": [{{"a": 1, "b": {number}, "c": 3}}]}}'.encode())
    assert (status, "Column 'b'" in answer["message"]) == (400, True)


@pytest.mark.parametrize(
    "body, found",
    [
        (b"a,b,c\nm,kg,s\n" + b"100,200,300\n" * 20, "The first row of The request body has units ('m', 'kg', 's')"),
        (b'a,b,c\n"1,234",200,300\n', "Numbers of 'a' (1,234)"),
    ],
    ids=["units", "commas"],
)
def test_rows_with_more_than_one_meaning_are_refused(three, body, found):
    status, answer = ask(application(three), body, CSV)
    assert status == 400
    assert answer["message"].startswith(f"The request body can be read in more than one way: {found}. Write ")


def test_dates_without_an_order_are_refused_also_beside_a_request_that_shows_it():
    days = pd.date_range("2026-01-01", periods=60, freq="72h")
    fitted = VAEDetector(max_iter=20, random_state=0).fit(pd.DataFrame({"day": days, "x": [3, 1, 2] * 20}))
    served = application(fitted)
    unclear, clear = b"day,x\n03/04/2026,1\n", b"day,x\n03/04/2026,1\n31/01/2026,2\n"
    expected = fitted.anomaly_score(pd.DataFrame({"day": pd.to_datetime(["2026-04-03", "2026-01-31"]), "x": [1, 2]}))
    assert_allclose(scores(served, clear, CSV), expected)
    first, second, third = ask_at_once(served, [clear, unclear, clear], CSV)
    assert (first[0], second[0], third[0]) == (200, 400, 200)
    assert "Dates of 'day' (03/04/2026)" in second[2]["message"]


def test_an_error_does_not_repeat_the_rows(served, detector, table):
    request = as_request(detector, table).assign(day="tomorrow", text="confidential")
    status, answer = ask(served, request.to_csv(index=False).encode(), CSV)
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert answer["message"].startswith("Column 'day' held dates in fit; found text 'tomorrow' in row 1")
    assert "confidential" not in answer["message"]


def test_reasons_are_those_of_the_flagged_rows(three):
    rows = [{"a": 100, "b": 200, "c": 300}, {"a": 100, "b": 200, "c": 900}]
    _, answer = ask(application(three), {"instances": rows, "params": {"explain": True}})
    first, second = answer["predictions"]
    assert (first["reason"], second["reason"][:5]) == ("", "c 900")


def test_another_path_or_method_is_not_found(served):
    assert ask(served, b"", None, "/models", "GET") == (
        404,
        {"error_code": "ENDPOINT_NOT_FOUND", "message": "Not Found"},
    )
    assert ask(served, b"", None, "/invocations", "GET")[0] == 405
    assert ask(served, b"", None, "/ping/", "GET", Host="elsewhere.example")[0] == 404  # no link to where a client says


def ask_at_once(served, bodies: list[bytes], kind: str = JSON):
    """Statuses, headers and answers of requests of one moment."""

    async def all_of_them():
        return await asyncio.gather(*(post(served, body, kind) for body in bodies))

    return asyncio.run(all_of_them())


def test_requests_that_wait_together_get_the_answers_that_each_gets_alone(served, detector, table, monkeypatch):
    rows = as_json(as_request(detector, table))
    bodies = [{"dataframe_records": rows[first : first + 3]} for first in range(0, 60, 3)]
    bodies += [{**body, "params": {"alerts": 1}} for body in bodies[:3]] + [{**bodies[0], "params": {"explain": True}}]
    bodies += [{"dataframe_records": [{**row, "day": "tomorrow"} for row in rows[:2]]}]  # two of two: an error
    bodies += [{"dataframe_records": [{**rows[0], "day": "tomorrow"}]}] * 2  # one of one: an anomaly
    bodies += [{"dataframe_records": [{**rows[0], "number": "much"}]}, {"rows": []}]
    alone = [ask(served, body) for body in bodies]
    calls, detect = [], VAEDetector.detect
    monkeypatch.setattr(VAEDetector, "detect", lambda *args, **rule: calls.append(args) or detect(*args, **rule))
    together = [answer[::2] for answer in ask_at_once(served, [json.dumps(body).encode() for body in bodies])]
    assert len(calls) < len(bodies)
    for (status, answer), (expected, its_answer) in zip(together, alone, strict=True):
        assert status == expected
        if status == 200:
            found, its = pd.DataFrame(answer["predictions"]), pd.DataFrame(its_answer["predictions"])
            pd.testing.assert_frame_equal(found, its, rtol=1e-9)
        else:
            assert answer == its_answer
    assert [status for status, _ in together[-5:]] == [400, 200, 200, 400, 400]


def test_more_requests_than_allowed_are_told_to_come_again(three):
    served = application(three, Limits(requests=3))
    body = json.dumps({"instances": [{"a": 1, "b": 2, "c": 3}]}).encode()

    found = ask_at_once(served, [body] * 10)
    assert sorted(status for status, *_ in found) == [200] * 3 + [503] * 7
    assert {headers.get(b"retry-after") for status, headers, *_ in found if status == 503} == {b"1"}
    assert ask(served, body)[0] == 200  # afterwards there is room again


def test_the_bytes_of_all_requests_are_limited(three):
    """Nine bodies of the largest size do not fit beside one another."""
    served = application(three, Limits(body=1_000_000))
    body = b"a,b,c\n" + b"1,2,3\n" * 99
    body += b"1,2," + b"3".zfill(1_000_000 - len(body) - 4)

    found = [status for status, *_ in ask_at_once(served, [body] * 12, CSV)]
    assert found.count(503) >= 4
    assert set(found) == {200, 503}
    assert ask(served, body[:600], CSV)[0] == 200


def test_a_body_that_does_not_come_is_no_request(three):
    async def silent():
        async def receive():
            await asyncio.sleep(60)

        sent = []

        async def send(message):
            sent.append(message)

        headers = [(b"content-type", b"text/csv"), (b"content-length", b"100")]
        scope = {"type": "http", "method": "POST", "path": "/invocations", "headers": headers, "query_string": b""}
        await application(three, Limits(seconds=0.1))({**scope, "root_path": ""}, receive, send)
        return sent

    sent = asyncio.run(asyncio.wait_for(silent(), 10))
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]


def test_a_request_that_waits_for_too_long_gets_an_answer(three, monkeypatch):
    served = application(three, Limits(seconds=0.3))
    with ThreadPoolExecutor(1) as other:  # what the requests before it do
        wait = partial(other.submit, time.sleep, 1)
        monkeypatch.setattr(VAEDetector, "detect", lambda *_args, **_rule: wait().result())
        status, answer = ask(served, {"instances": [{"a": 1, "b": 2, "c": 3}]})
    assert (status, "not answered within 0.3 seconds" in answer["message"]) == (504, True)


def test_a_body_in_chunks_is_not_read(three):
    status, answer = ask(application(three), ROW_OF_THREE, CSV, **{"Transfer-Encoding": "chunked"})
    assert (status, answer["message"]) == (
        411,
        "The request has no Content-Length. Send it in one piece, not in chunks.",
    )


@pytest.mark.parametrize(
    "given, status",
    [
        (None, 401),
        ("Bearer wrong", 401),
        ("Bearer ", 401),
        ("Basic s3cret", 401),
        ("s3cret", 401),
        ("Bearer s3crets", 401),
        ("Bearer \xff", 401),
        ("Bearer s3cret", 200),
        ("bearer s3cret", 200),
    ],
)
def test_a_token_is_asked_for(three, given, status):
    served = application(three, token="s3cret")
    headers = {} if given is None else {"Authorization": given}
    body = {"instances": [{"a": 1, "b": 2, "c": 3}]}
    assert ask(served, body, **headers)[0] == status
    assert ask(served, b"", None, "/ping", "GET") == (200, None)


def test_tokens_are_compared_in_constant_time(three, monkeypatch):
    compared = []
    monkeypatch.setattr("hmac.compare_digest", lambda *texts: compared.append(texts) or texts[0] == texts[1])
    ask(application(three, token="s3cret"), b"", None, Authorization="Bearer s3")
    assert compared == [(b"s3", b"s3cret")]


def test_an_error_of_ours_says_nothing_of_the_rows(three, monkeypatch):
    def fail(*_args, **_options):
        raise KeyError("confidential")

    monkeypatch.setattr(VAEDetector, "detect", fail)
    with pytest.raises(KeyError):  # for the server's log
        ask(application(three), {"instances": [{"a": 1, "b": 2, "c": 3}]})


CELLS = ["", "NA", "1e400", "-0", "1_000", "inf", "NaN", "1,5", "$5", "5 %", "e5", "--1", "true", "0000-00-00"]
CELLS += ["9999-12-31", "262143-12-31", "12/31/2024", "99:99:99", "106752 days", "1e30 days", "NaT", "\0", "\u202e"]
CELLS += ["9" * 20, "9" * 400, "x" * 5_000, '"', "\r", "\n", "a\tb", "=1+1"]
VALUES = [*CELLS, None, True, 0, -1.5, 1e308, 2**64, 10**400, [], {}, [1], {"a": 1}]
PARTS = [b",", b'"', b"\n", b"\r", b"{", b"[", b"null", b"\\u", b"\xff", b"\\ud800", b"1e999", b"#", b"sep=;\n", b";"]


def spoilt(request: list[dict], rng: np.random.Generator) -> tuple[bytes, str]:
    """A request with some cells of another kind, now and then damaged."""

    def any_of(choices):
        return choices[rng.integers(len(choices))]

    kind, rows = any_of([CSV, JSON]), [dict(row) for row in request]
    for _ in range(rng.integers(4)):
        any_of(rows)[any_of(list(rows[0]))] = any_of(VALUES if kind == JSON else CELLS)
    if kind == JSON:
        form = any_of(list(FORMS))
        params = {
            name: any_of([True, 0.5, 3, any_of(VALUES)]) for name in ("explain", "fdr", "alerts") if rng.random() < 0.2
        }
        body = json.dumps({form: FORMS[form](rows), "params": params}).encode()
    else:
        body = pd.DataFrame(rows).to_csv(index=False).encode()
    for _ in range(any_of([0, 0, 1, 3])):
        place = rng.integers(len(body))
        body = (
            body[:place] + any_of([b"", bytes([rng.integers(256)]), any_of(PARTS)]) + body[place + any_of([0, 1, 5]) :]
        )
    return body, kind


@pytest.mark.filterwarnings("ignore:.*is deprecated")  # of pandas, about units such as "5 d", which a client may write
@pytest.mark.parametrize("n_requests", [50, pytest.param(500, marks=pytest.mark.slow)])
def test_whatever_a_request_holds_it_is_scored_or_refused(detector, table, n_requests):
    rng, served = np.random.default_rng(n_requests), application(detector)
    rows, statuses = as_json(as_request(detector, table[:4])), []
    for _ in range(n_requests):
        body, kind = spoilt(rows, rng)
        status, answer = ask(served, body, kind)
        assert status in (200, 400, 413), (body, answer)
        statuses.append(status)
    assert 0.1 < np.mean(np.array(statuses) == 200) < 0.9
