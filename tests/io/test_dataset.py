import gzip
import io
import pickle
import sys
import tracemalloc
import types
import warnings
from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from vae_anomaly.data.schema import Schema, encode_batch
from vae_anomaly.errors import DataError, DataWarning, RowError
from vae_anomaly.io.dataset import Dataset
from vae_anomaly.io.read import read_table, read_whole

ROWS = 12
NUMBERS = ["0", "1", "-3", "2.5", "1e3", "1.0", "007", "9007199254740993", "", "NA"]
TOKENS = {
    "whole": ["0", "1", "-3", "007", "9007199254740993"],
    "numbers": NUMBERS,
    "flags": ["0", "1", ""],
    "truth": ["True", "False", "", "TRUE"],
    "text": ["x", "y z", "0123", "", "12", "nan", '"a,b"', "True"],
    "dates": ["2024-02-29", "1999-12-31T23:59:59", "", "2024-01-01"],
    "nothing": ["", "NA"],
    "anything": [*NUMBERS, "True", "x"],
}
HUGE = {"huge": ["1", "-1", "1.5", "9223372036854775808", "99999999999999999999999", ""]}  # text or not, by their order


@pytest.fixture
def rows_a_piece(monkeypatch):
    """Set how many rows a piece has."""

    def set_rows(rows: int) -> None:
        monkeypatch.setattr("vae_anomaly.io.pieces.MOST_ROWS", rows)

    return set_rows


@st.composite
def tables_of_text(draw, tokens):
    """CSV text with every kind of column; any cells can be missing, also the first of a column."""
    gaps = st.sampled_from([[], [""] * 4])
    cells = {name: st.lists(st.sampled_from(pool), min_size=ROWS, max_size=ROWS) for name, pool in tokens.items()}
    columns = [[*draw(gaps), *draw(of_name)][:ROWS] for of_name in cells.values()]
    return "\n".join([",".join(tokens), *map(",".join, zip(*columns, strict=True))]) + "\n"


def whole(dataset):
    return pd.concat(list(dataset))


def mixed(n: int = 60) -> pd.DataFrame:
    """A column of each kind, with missing cells."""
    rng = np.random.default_rng(0)
    gaps = rng.random(n) < 0.2
    return pd.DataFrame(
        {
            "number": np.where(gaps, np.nan, rng.normal(size=n)),
            "count": rng.integers(0, 50, n),
            "flag": rng.integers(0, 2, n),
            "truth": np.where(gaps, None, rng.random(n) < 0.5),
            "code": rng.choice(["0123", "7", "x"], n),
            "gone": pd.Series(np.where(gaps, None, rng.choice(["a", "b"], n)), dtype=object),
            "day": (pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 90, n), "D")).strftime("%Y-%m-%d"),
        }
    )


@settings(max_examples=40, deadline=None)
@given(text=tables_of_text(TOKENS), rows=st.integers(1, 5))
def test_pieces_of_text_have_the_types_of_the_whole_file(tmp_path_factory, text, rows):
    path = tmp_path_factory.mktemp("tables") / "table.csv"
    path.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vae_anomaly.io.pieces.MOST_ROWS", rows)
        found = whole(Dataset(path))
    pd.testing.assert_frame_equal(found, read_table(path), check_dtype=True, check_exact=True)


@settings(max_examples=40, deadline=None)
@given(known=tables_of_text(TOKENS | HUGE), text=tables_of_text(TOKENS | HUGE), rows=st.integers(1, 5))
def test_rows_read_for_a_schema_are_those_of_the_whole_file(tmp_path_factory, known, text, rows):
    folder = tmp_path_factory.mktemp("tables")
    for name, content in (("known.csv", known), ("new.csv", text)):
        (folder / name).write_text(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        schema = Schema.learn(read_table(folder / "known.csv"))
    whole = read_whole(folder / "new.csv").as_fitted(schema)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vae_anomaly.io.pieces.MOST_ROWS", rows)
        found = np.concatenate([schema.encode(piece) for piece in Dataset(folder / "new.csv").as_fitted(schema)])
    np.testing.assert_array_equal(found, schema.encode(whole))
    try:
        expected = schema.encode(read_table(folder / "new.csv"))
    except DataError:  # without the schema, text of digits is numbers
        reject()
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("rows", [1, 8, 1000])
@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz", "table.parquet", "table.zst"])
def test_pieces_of_every_format_are_the_rows_of_the_whole_file(tmp_path, rows_a_piece, name, rows):
    path = tmp_path / name
    if path.suffix == ".parquet":
        mixed().to_parquet(path, row_group_size=25)
    else:
        text = mixed().to_csv(index=False).encode()
        pack = {".gz": gzip.compress, ".zst": lambda data: pa.compress(data, "zstd", asbytes=True)}
        path.write_bytes(pack.get(path.suffix, bytes)(text))
    rows_a_piece(rows)
    pieces = list(Dataset(path))
    assert max(map(len, pieces)) <= rows
    pd.testing.assert_frame_equal(pd.concat(pieces), read_table(path), check_exact=True)


PARQUET = {
    "whole numbers, some missing": pa.array([1, 2, None, 2**53 + 1] * 5, pa.int64()),
    "whole numbers": pa.array([1, 2, 3, 2**63] * 5, pa.uint64()),
    "truth, some missing": pa.array([True] * 10 + [None, False] * 5),
    "dates": pa.array([date(2024, 1, 1), None] * 10),
    "instants": pa.array([0, None, 5, 7] * 5, pa.timestamp("us", "Europe/Berlin")),
    "durations": pa.array([0, None, 5, 7] * 5, pa.duration("ms")),
    "decimals": pa.array([Decimal("1.5"), None] * 10),
    "text": pa.array(["a", None] * 10),
    "categories": pa.array(["b"] * 10 + ["a", None] * 5).dictionary_encode(),
    "nothing": pa.nulls(20),
}


@pytest.mark.parametrize("rows", [1, 3, 20])
def test_pieces_of_parquet_have_the_types_of_the_whole_file(tmp_path, rows_a_piece, rows):
    pq.write_table(pa.table(PARQUET), tmp_path / "table.parquet", row_group_size=6, write_statistics=rows == 3)
    rows_a_piece(rows)
    found = whole(Dataset(tmp_path / "table.parquet"))
    pd.testing.assert_frame_equal(found, read_table(tmp_path / "table.parquet"))


def test_pieces_have_pandas_types_and_index(tmp_path, rows_a_piece):
    frame = pd.DataFrame({"a": pd.array([1, None, 3], "Int64"), "b": pd.Categorical(["x", "y", "x"], ["z", "y", "x"])})
    frame.index = pd.Index(["p", "q", "r"], name="key")
    frame.to_parquet(tmp_path / "table.parquet")
    rows_a_piece(2)
    dataset = Dataset(tmp_path / "table.parquet")
    pd.testing.assert_frame_equal(whole(dataset), read_table(tmp_path / "table.parquet"))
    assert list(whole(dataset.without(["a"])).columns) == dataset.without(["a"]).columns
    assert list(whole(dataset.without(["key"])).columns) == dataset.without(["key"]).columns


def test_pieces_of_wide_tables_have_fewer_rows(tmp_path, monkeypatch):
    np.savetxt(
        tmp_path / "wide.csv", np.zeros((50, 20)), delimiter=",", header=",".join("abcdefghijklmnopqrst"), comments=""
    )
    monkeypatch.setattr("vae_anomaly.io.pieces.MOST_CELLS", 100)
    assert [len(piece) for piece in Dataset(tmp_path / "wide.csv")] == [4] * 12 + [2]
    monkeypatch.setattr("vae_anomaly.io.pieces.MOST_BYTES", 1000)
    assert max(len(piece) for piece in Dataset(tmp_path / "wide.csv")) <= 2


@pytest.fixture
def parts(tmp_path):
    """Three files of a table, in a folder with other files."""
    folder = tmp_path / "logs"
    folder.mkdir()
    for number, part in ((1, mixed(10)), (2, mixed(20)[["truth", *mixed(20).columns.drop("truth")]]), (10, mixed(5))):
        part.to_csv(folder / f"part-{number}.csv", index=False)
    (folder / "_SUCCESS").touch()
    (folder / ".part-3.csv").write_text("half\n")
    (folder / "notes.md").write_text("Notes")
    return folder


def test_files_of_a_folder_are_one_table_sorted_by_number(parts):
    dataset = Dataset(parts)
    names = [f"part-{number}.csv" for number in (1, 2, 10)]
    assert dataset.files == [str(parts / name) for name in names]
    expected = pd.concat([mixed(10), mixed(20), mixed(5)], ignore_index=True)
    for name in expected:
        assert [*whole(dataset)[name].map(str)] == [
            str(cell) for cell in expected[name].where(expected[name].notna(), np.nan)
        ]
    assert [(piece.file, piece.first) for piece in dataset.pieces()] == [(name, 0) for name in dataset.files]
    assert dataset.bytes_read == dataset.n_bytes == sum((parts / name).stat().st_size for name in names)


def test_a_pattern_or_a_list_of_files_is_a_table(parts, tmp_path):
    assert Dataset(f"{parts}/part-?.csv").files == [str(parts / "part-1.csv"), str(parts / "part-2.csv")]
    assert Dataset(f"{tmp_path}/**/*.csv").files == Dataset(parts).files
    chosen = [parts / "part-2.csv", str(parts / "part-1.csv")]
    assert Dataset(chosen).files == [str(path) for path in chosen]


def test_a_file_with_the_name_of_a_pattern_is_read(tmp_path):
    (tmp_path / "a[1].csv").write_text("x\n1\n")
    assert whole(Dataset(tmp_path / "a[1].csv"))["x"].tolist() == [1]


def test_a_column_has_one_type_in_all_files(tmp_path):
    for number, cells in enumerate(("1\n2\n", "", "x\n")):
        (tmp_path / f"{number}.csv").write_text(f"a,b\n{cells.replace(chr(10), ',1' + chr(10))}")
    assert whole(Dataset(tmp_path))["a"].tolist() == ["1", "2", "x"]


def test_a_column_has_one_type_in_all_parquet_files(tmp_path):
    columns = (
        [pa.array([1, 2]), pa.array([1.5]), pa.nulls(2)],
        [pa.array(["a", "b"]), pa.array(["c"]), pa.array(["a", "b"])],
    )
    for number, (a, b) in enumerate(zip(*columns, strict=True)):
        pq.write_table(pa.table({"a": a, "b": b.dictionary_encode()}), tmp_path / f"{number}.parquet")
    found = list(Dataset(tmp_path))
    assert [piece["a"].dtype for piece in found] == [np.float64] * 3
    assert [list(piece["b"].cat.categories) for piece in found] == [["a", "b", "c"]] * 3
    np.testing.assert_array_equal(pd.concat(found)["a"], [1, 2, 1.5, np.nan, np.nan])


def other_columns(folder):
    (folder / "a.csv").write_text("x,y\n1,2\n")
    (folder / "b.csv").write_text("x,z\n1,2\n")


def other_types(folder):
    pd.DataFrame({"x": [1]}).to_parquet(folder / "a.parquet")
    pd.DataFrame({"x": ["t"]}).to_parquet(folder / "b.parquet")


def other_kinds(folder):
    (folder / "a.csv").write_text("x\n1\n")
    pd.DataFrame({"x": [1]}).to_parquet(folder / "b.parquet")


def no_rows(folder):
    (folder / "a.csv").write_text("x\n")
    (folder / "b.csv").write_text("x\n")


def folders(folder):
    (folder / "year=2024").mkdir()


def nothing(folder):
    (folder / "notes.md").touch()


def bad_line(folder):
    (folder / "a.csv").write_text("x,y\n" + "1,2\n" * 40)
    (folder / "b.csv").write_text("x,y\n" + "1,2\n" * 42 + "1,2,3\n")


def cut_gzip(folder):
    random = np.random.default_rng(0).integers(0, 10**9, 200_000)
    (folder / "a.csv.gz").write_bytes(gzip.compress("\n".join(["x", *map(str, random)]).encode(), 1)[:-9])


def cut_parquet(folder):
    pd.DataFrame({"x": np.random.default_rng(0).random(5000)}).to_parquet(folder / "a.parquet", row_group_size=1000)
    data = bytearray((folder / "a.parquet").read_bytes())
    data[4:40] = b"\xff" * 36
    (folder / "a.parquet").write_bytes(data)


REFUSED = {
    other_columns: r"b.csv' has other columns than '.*a.csv': it lacks 'y' and it also has 'z'",
    other_types: r"Column 'x' is int64 in '.*a.parquet' and str in '.*b.parquet'|Column 'x' is int64 in .* and object",
    other_kinds: "have not the same format",
    no_rows: "has column names but no rows: 'x'",
    folders: "has folders in it, which are not read: 'year=2024'",
    nothing: "There is no table in",
    bad_line: "b.csv' has 3 fields in line 44, but 2 column names",
    cut_gzip: "a.csv.gz' is damaged or cut short: it cannot be decompressed",
    cut_parquet: "a.parquet' is damaged or cut short: it cannot be read as Parquet",
}


@pytest.mark.parametrize("make, message", REFUSED.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_errors_name_the_file(tmp_path, rows_a_piece, make, message):
    make(tmp_path)
    rows_a_piece(10 if make is bad_line else 10**5)
    with pytest.raises(DataError, match=message) as error:
        list(Dataset(tmp_path))
    assert "\n" not in str(error.value)


@pytest.mark.skipif(
    tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1), reason="pandas 2 cuts the first line of a piece"
)
def test_the_first_line_of_a_piece_is_checked_like_the_others(tmp_path, rows_a_piece):
    (tmp_path / "a.csv").write_text("x,y\n" + "1,2\n" * 8 + "1,2,3\n" + "1,2\n" * 8)
    rows_a_piece(8)
    with pytest.raises(DataError, match="3 fields in line 10"):
        list(Dataset(tmp_path / "a.csv"))


def test_a_pattern_without_files_is_an_error():
    with pytest.raises(DataError, match=r"No file fits 'nowhere/\*.csv'"):
        list(Dataset("nowhere/*.csv"))


def encode(schema, pieces):
    for piece in pieces:
        with piece.counting_rows():
            schema.encode(piece.frame)


def test_errors_name_the_row_of_the_file(tmp_path, rows_a_piece):
    (tmp_path / "a.csv").write_text("x,y\n" + "1,2\n3,5\n" * 20)
    (tmp_path / "b.csv").write_text("x,y\n" + "1,2\n" * 33 + "1,inf\n")
    schema = Schema.learn(read_table(tmp_path / "a.csv"))
    rows_a_piece(10)
    pieces = Dataset(tmp_path).as_fitted(schema).pieces()
    with pytest.raises(RowError, match=r"^.*b.csv: Column 'y' is infinite in row 34 \(the first row is 1\)"):
        encode(schema, pieces)


def test_numbers_mixed_with_booleans_are_refused_as_in_one_read(tmp_path, rows_a_piece):
    (tmp_path / "known.csv").write_text("x,y\n1,2\n2.5,3\n")
    (tmp_path / "new.csv").write_text("x,y\nTrue,1\nFalse,1\n3,1\n")
    schema = Schema.learn(read_table(tmp_path / "known.csv"))
    with pytest.raises(DataError, match="found text 'True'.* 2 of 3 cells are no numbers"):
        encode_batch(schema, read_table(tmp_path / "new.csv"))
    rows_a_piece(2)
    with pytest.raises(DataError, match="found text 'True'.* 2 of 2 cells are no numbers"):
        [encode_batch(schema, piece) for piece in Dataset(tmp_path / "new.csv").as_fitted(schema)]


def test_columns_outside_the_schema_can_be_kept(tmp_path, rows_a_piece):
    (tmp_path / "known.csv").write_text("x,t\n1,a\n2.5,b\n")
    (tmp_path / "new.csv").write_text("id,x,t,more\n007,1,a,0\n008,,b,0\n")
    schema = Schema.learn(read_table(tmp_path / "known.csv"))
    rows_a_piece(1)
    with pytest.warns(DataWarning, match="ignored: 'id', 'more'"):
        dataset = Dataset(tmp_path / "new.csv").as_fitted(schema, keep=["id"])
    assert dataset.columns == ["id", "x", "t"]
    assert whole(dataset)["id"].tolist() == ["007", "008"]
    with pytest.warns(DataWarning):
        kept = list(Dataset(tmp_path / "new.csv").as_fitted(schema, keep=["x"]))
    assert [piece["x"].dtype for piece in kept] == [np.float64] * 2  # the type of the column as a whole


def test_a_missing_column_of_the_schema_is_an_error_before_reading(tmp_path):
    (tmp_path / "known.csv").write_text("x,t\n1,a\n2.5,b\n")
    (tmp_path / "new.csv").write_text("x\n1\n")
    schema = Schema.learn(read_table(tmp_path / "known.csv"))
    with pytest.raises(DataError, match="the table lacks: 't'"):
        Dataset(tmp_path / "new.csv").as_fitted(schema)


def piped(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(data)))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_standard_input_can_be_iterated_repeatedly(monkeypatch, rows_a_piece, pack):
    text = mixed().to_csv(index=False).encode()
    piped(monkeypatch, pack(text))
    rows_a_piece(7)
    dataset = Dataset("-")
    for _ in range(2):
        pd.testing.assert_frame_equal(whole(dataset), pd.read_csv(io.BytesIO(text)))
    assert dataset.n_bytes is not None
    assert all(one.equals(other) for one, other in zip(dataset, dataset, strict=True))


def test_standard_input_can_be_parquet(monkeypatch):
    buffer = io.BytesIO()
    mixed().to_parquet(buffer)
    piped(monkeypatch, buffer.getvalue())
    assert len(whole(Dataset("-"))) == 60


def test_with_a_schema_standard_input_is_read_once_and_not_kept(tmp_path, monkeypatch, rows_a_piece):
    text = mixed(20_000).to_csv(index=False).encode()
    schema = Schema.learn(mixed())
    piped(monkeypatch, text)
    monkeypatch.setattr("tempfile.TemporaryFile", lambda *_: pytest.fail("it was kept"))
    monkeypatch.setattr("vae_anomaly.io.source._REPLAYED", 2**19)
    monkeypatch.setattr("vae_anomaly.io.source._BUFFER", 2**10)
    rows_a_piece(7000)
    dataset = Dataset("-").as_fitted(schema)
    found = np.concatenate([schema.encode(piece) for piece in dataset])
    (tmp_path / "table.csv").write_bytes(text)
    np.testing.assert_array_equal(found, schema.encode(read_table(tmp_path / "table.csv")))
    with pytest.raises(DataError, match="can be read only once"):
        list(dataset)


def test_a_frame_is_a_dataset_and_a_generator_is_not():
    frame = pd.DataFrame({"x": [1, 2]})
    assert whole(Dataset(frame)).equals(frame)
    with pytest.raises(DataError, match="or a function that returns them, not generator"):
        Dataset(part for part in [frame])


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_memory_does_not_grow_with_the_rows(tmp_path, rows_a_piece, suffix):
    peaks = []
    for rows in (20_000, 100_000):
        path = tmp_path / f"{rows}.{suffix}"
        frame = pd.DataFrame({name: np.arange(rows) % 1000 / 8 for name in "abcde"})
        frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path, row_group_size=10_000)
        rows_a_piece(2048)
        tracemalloc.start()
        assert sum(map(len, Dataset(path))) == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def test_a_table_can_be_read_without_some_columns(tmp_path):
    (tmp_path / "a.csv").write_text("x,y,z\n1,2,3\n")
    dataset = Dataset(tmp_path / "a.csv").without(["y"]).without(["z"])
    assert dataset.columns == ["x"]
    assert list(whole(dataset).columns) == ["x"]
    assert list(whole(Dataset([pd.DataFrame({"x": [1], "y": [2]})]).without(["y"])).columns) == ["x"]


ROWS_OF_TWO = pd.DataFrame({"c": pd.Categorical(["a", "b"] * 4), "x": np.arange(8.0)})
LETTERS = list("ppqrstuv")
INDEXED = {
    "categories": (pd.CategoricalIndex(LETTERS), ["c", "x"]),
    "named categories": (pd.CategoricalIndex(LETTERS, name="k"), ["k", "c", "x"]),
    "half of the levels named": (
        pd.MultiIndex.from_product([list("ab"), range(4)], names=["k", None]),
        ["k", "c", "x"],
    ),
    "a named range": (pd.RangeIndex(8, name="r"), ["c", "x"]),
    "the name of a column": (pd.Index(range(5, 13), name="x"), ["c", "x"]),
}


@pytest.mark.parametrize("index, columns", INDEXED.values(), ids=INDEXED)
def test_named_levels_of_an_index_in_parquet_are_columns_whole_and_in_pieces(tmp_path, rows_a_piece, index, columns):
    ROWS_OF_TWO.set_axis(index).to_parquet(tmp_path / "table.parquet")
    rows_a_piece(2)
    found = whole(Dataset(tmp_path / "table.parquet"))
    assert list(found.columns) == columns
    pd.testing.assert_frame_equal(found, read_table(tmp_path / "table.parquet"))
    np.testing.assert_array_equal(found["x"], np.arange(8.0))


@pytest.mark.parametrize("noted", [b"{", b"\xff\xfe", b"{}", b"[]", b'{"index_columns": [1], "columns": 2}'], ids=ascii)
def test_damaged_notes_of_pandas_in_parquet_are_ignored(tmp_path, rows_a_piece, noted):
    table = pa.Table.from_pandas(ROWS_OF_TWO).replace_schema_metadata({b"pandas": noted})
    pq.write_table(table, tmp_path / "table.parquet")
    rows_a_piece(2)
    for found in (whole(Dataset(tmp_path / "table.parquet")), read_table(tmp_path / "table.parquet")):
        pd.testing.assert_frame_equal(found, ROWS_OF_TWO)


def written_in_parts(folder, suffix):
    """Three files whose columns have one type together, but others alone."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "whole": pd.array([*range(1, 21), *range(2**60, 2**60 + 20), *[None] * 20], dtype="Int64"),
            "truth": pd.Series([True, False] * 20 + [None] * 20, dtype=object),
            "number": [*range(20), *rng.normal(size=40)],
            "day": ["03/04/2024"] * 20 + ["13/04/2024"] * 20 + [None] * 20,
            "code": [*range(20), *["x7"] * 40],
            "price": ["1,234"] * 20 + ["1,234.5"] * 40,
        }
    )
    for number, begin in enumerate((0, 20, 40)):
        part = frame.iloc[begin : begin + 20]
        if suffix == "parquet":
            part.assign(code=part["code"].astype(str)).to_parquet(folder / f"part-{number}.parquet")
        else:
            part.to_csv(folder / f"part-{number}.csv", index=False)
    if suffix == "parquet":
        frame.iloc[:0].astype({"code": str}).to_parquet(folder / "part-3.parquet")
    return folder


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_each_file_can_be_read_alone_with_the_types_of_all(tmp_path, suffix):
    dataset = Dataset(written_in_parts(tmp_path, suffix))
    numbers = range(len(dataset.files))
    facts = [pickle.loads(pickle.dumps(dataset.file(number))).facts() for number in numbers]
    dataset.settle(pickle.loads(pickle.dumps(facts)))
    assert [found.n_rows for found in facts] == [20, 20, 20, 0][: len(numbers)]
    files = [pickle.loads(pickle.dumps(dataset.file(number, 20 * number))) for number in numbers]
    alone = [piece for file in files for piece in file.pieces()]
    whole = [*Dataset(tmp_path).pieces()]
    for one, other in zip(alone, whole, strict=True):
        pd.testing.assert_frame_equal(one.frame, other.frame)
        assert (one.file, one.first) == (other.file, other.first)
    with pytest.raises(DataError, match="Only files can be read side by side"):
        Dataset([whole[0].frame]).file(0)
