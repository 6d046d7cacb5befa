"""Mutated CSV files: every cell is where Python's own reader has it, or one sentence says why the file is not read."""

import csv
import io
import random

import pandas as pd
import pytest

from vae_anomaly.errors import DataError
from vae_anomaly.io.dataset import Dataset
from vae_anomaly.io.read import read_whole

SEED = "id,name,x,day\n" + "".join(
    f'{row},"n, ""{row}""",{row / 7:.3f},2024-01-{row % 28 + 1:02}\r\n' if row % 3 else f"{row},plain {row},,NA\n"
    for row in range(20)
)
PIECES = [
    b",",
    b'"',
    b"\n",
    b"\r\n",
    b"\r",
    b";",
    b"\t",
    b"|",
    b"",
    b'""',
    b" ",
    b"'",
    b"#",
    b"\\",
    b"NA",
    b"1e5",
    b"\xc3\xa9",
    b"\xff",
]
PIECES += [b"\0", b"sep=;\n", b"\xef\xbb\xbf", b"{", b"[", b"-", b"$", b"%", b"inf", b",,,", b'"\n"']


def mutated(rng: random.Random) -> bytes:
    """The file with one to four pieces put in, taken out or repeated."""
    content = SEED.encode()
    for _ in range(rng.randint(1, 4)):
        at, length = rng.randrange(len(content) + 1), rng.choice([0, 0, 1, 2, 30])
        put = content[at : at + 60] if rng.random() < 0.1 else rng.choice(PIECES)
        content = content[:at] + put + content[at + length :]
    return content


def outcome(read) -> list[list[str]] | str:
    try:
        return read()
    except DataError as error:
        return str(error)


def expected_cells(content: bytes, width: int, delimiter: str) -> list[list[str]]:
    records = [
        record
        for record in csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=delimiter)
        if record
    ]
    if len(records) > 1:  # a byte-order mark before the first row is none of its cells
        records[1][0] = records[1][0].removeprefix("\ufeff")
    return [[*record, *[""] * width][:width] for record in records[1:]]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::vae_anomaly.errors.DataWarning")
@pytest.mark.parametrize("block", [*(pytest.param(n, marks=pytest.mark.stress) for n in range(2)), *range(2, 21)])
def test_no_cell_moves_and_no_error_is_unexplained(tmp_path, monkeypatch, block):
    monkeypatch.setattr("vae_anomaly.io.pieces.MOST_ROWS", 16)
    rng, read = random.Random(block), 0
    for number in range(300):  # 6,300 files in all
        path, content = tmp_path / f"{number}.csv", mutated(rng)
        path.write_bytes(content)
        whole = outcome(lambda path=path: read_whole(path).texts().astype(object).to_numpy().tolist())
        pieces = outcome(lambda path=path: pd.concat(list(Dataset(path))).shape)
        assert isinstance(whole, str) == isinstance(pieces, str), (content, whole, pieces)
        if isinstance(whole, str):
            assert "\n" not in whole
            assert len(whole) < 1000
            continue
        read += 1
        width = len(whole[0])
        candidates = [expected_cells(content, width, delimiter) for delimiter in ",;\t|"]
        assert whole in candidates, content
        assert pieces == (len(whole), width)
    assert read > 60
