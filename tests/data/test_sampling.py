import pickle
import warnings

import numpy as np
import pandas as pd
import pytest

from vae_anomaly.data import infer, sampling
from vae_anomaly.data.parse import numbered
from vae_anomaly.data.sampling import SpreadTable, draw
from vae_anomaly.data.schema import Schema
from vae_anomaly.errors import DataError, DataWarning
from vae_anomaly.io.dataset import Dataset

N = 3000


@pytest.fixture(autouse=True)
def short_shards(monkeypatch):
    """Shards of 500 rows."""
    monkeypatch.setattr(sampling, "TRAINING_ROWS", 500)
    monkeypatch.setattr(sampling, "FEWEST_ROWS", 100)


def table_of(n=N, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "i": rng.integers(0, 50, n),
            "t": rng.choice(["a", "b", "c"], n),
            "c": pd.Categorical(rng.choice(["p", "q"], n)),
            "d": pd.date_range("2024-01-01", periods=n, freq="7h"),
        }
    )


def in_pieces(frame, sizes):
    starts = np.cumsum([0, *sizes])
    return Dataset([frame.iloc[first:last] for first, last in zip(starts, [*starts[1:], len(frame)], strict=True)])


def rows_of(drawn):
    return drawn.frame.iloc[drawn.rows]


def test_a_table_that_is_no_longer_than_a_shard_is_taken_whole():
    frame = table_of(500)
    drawn = draw(in_pieces(frame, [100, 1, 399]), 0, split=False)
    pd.testing.assert_frame_equal(drawn.frame, frame)
    assert drawn.rows is drawn.survey is drawn.others is None


@pytest.mark.parametrize("sizes", [[], [1, 2, 499, 500, 7], [250] * 12], ids=str)
@pytest.mark.parametrize("split", [False, True])
def test_the_rows_drawn_do_not_depend_on_the_pieces_they_come_in(sizes, split):
    frame = table_of()
    known, found = draw(frame, 3, split=split), draw(in_pieces(frame, sizes), 3, split=split)
    pd.testing.assert_frame_equal(rows_of(found), frame.iloc[known.rows])
    pd.testing.assert_frame_equal(found.frame.iloc[found.held_out], frame.iloc[known.held_out])
    assert rows_of(found).index.is_monotonic_increasing
    schemas = [Schema.learn(drawn.frame, drawn.rows, drawn.survey).to_json() for drawn in (known, found)]
    assert schemas[0] == schemas[1]


def test_every_row_of_the_table_is_as_likely_to_be_drawn():
    frame, times = table_of()[["x"]], np.zeros(N)
    for seed in range(200):
        times[draw(frame, seed, split=False).rows] += 1
    halves = times[: N // 2].sum() / times.sum()
    assert times.mean() == pytest.approx(200 / 6)
    assert np.sqrt(times.var() / (200 * 1 / 6 * 5 / 6)) == pytest.approx(1, abs=0.05)  # binomial
    assert halves == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("n", [501, 999, 1001, N])
def test_the_shards_of_an_epoch_hold_every_row_for_training_once(n, split):
    frame = table_of(n)
    drawn = draw(in_pieces(frame, [n // 3, n // 3]), 1, split=split)
    shards = [rows_of(drawn)]
    shards += [drawn.others.read(number) for number in range(1, drawn.others.n_shards + 1)] if drawn.others else []
    together = np.concatenate([shard.index for shard in shards])
    assert len(set(together)) == len(together) == drawn.survey.n_rows
    assert len(together) == n or split
    assert not set(together) & set(drawn.frame.iloc[drawn.held_out].index)
    assert max(map(len, shards)) < 600
    pd.testing.assert_frame_equal(pd.concat(shards).sort_index(), frame.iloc[sorted(together)])


def test_shards_are_due_in_turn_for_as_many_rows_as_they_have():
    others = draw(table_of(), 0, split=False).others
    due = [others.number(used) for used in range(2 * N)]
    assert due[:N] == due[N:] == sorted(due[:N])
    assert np.bincount(due[:N]).tolist() == [500] * 6


def test_a_fifth_of_the_rows_is_held_out_and_no_shard_has_them():
    drawn = draw(table_of(20_000), 0, split=True)
    assert drawn.survey.n_rows == pytest.approx(16_000, abs=300)
    assert len(drawn.held_out) == 125


def test_a_table_that_has_changed_is_an_error():
    frame, lengths = table_of(), iter([N, N - 1])
    drawn = draw(Dataset(lambda: iter([frame[: next(lengths)]])), 0, split=False)
    with pytest.raises(DataError, match="has changed since it was first read"):
        drawn.others.read(1)


def test_columns_may_change_their_order_but_not_their_names():
    frame = table_of()
    drawn = draw(Dataset([frame[:1500], frame[1500:][frame.columns[::-1]]]), 0, split=False)
    pd.testing.assert_frame_equal(rows_of(drawn), frame.iloc[draw(frame, 0, split=False).rows])
    with pytest.raises(DataError, match=r"columns change in row 1501: 'y', .* follow 'x'"):
        draw(Dataset([frame[:1500], frame[1500:].rename(columns={"x": "y"})]), 0, split=False)
    with pytest.raises(DataError, match="has no rows"):
        draw(Dataset([frame[:0]]), 0, split=False)


def shipped(thing):
    """As it arrives from another machine: its arrays are read-only."""
    buffers = []
    content = pickle.dumps(thing, protocol=5, buffer_callback=buffers.append)
    copies = [bytes(buffer.raw()) for buffer in buffers]
    return pickle.loads(content, buffers=copies), len(content) + sum(map(len, copies))


class Parts(SpreadTable):
    """Frames as parts of a table; what is sent to a part and back is pickled, as between machines."""

    def __init__(self, frames, at_once=400):
        self.frames, self.at_once, self.n_shipped = frames, at_once, 0

    columns = property(lambda self: list(self.frames[0]))

    def each(self, work, place):
        first = 0
        for frame in self.frames:
            (there, known), _ = shipped((work, place(len(frame))))
            pieces = numbered(frame).set_axis(pd.RangeIndex(first, first := first + len(frame)))
            step = self.at_once
            returned, n_bytes = shipped(there((pieces[k : k + step] for k in range(0, len(pieces), step)), known))
            self.n_shipped += n_bytes
            yield returned


def in_parts(frame, sizes, **kwargs):
    starts = np.cumsum([0, *sizes])
    ends = [*starts[1:], len(frame)]
    return Parts([frame.iloc[first:last] for first, last in zip(starts, ends, strict=True)], **kwargs)


def assert_same_sample(found, known):
    pd.testing.assert_frame_equal(found.frame, known.frame)
    for name in ("rows", "held_out"):
        np.testing.assert_array_equal(getattr(found, name), getattr(known, name))
    numbers, others = vars(found.survey.numbers), vars(known.survey.numbers)
    has_numbers = ~np.isnan(others["lows"])
    for name in ("lows", "highs", "flags", "counters"):
        np.testing.assert_array_equal(numbers[name][has_numbers], others[name][has_numbers], err_msg=name)
    assert found.survey.n_rows == known.survey.n_rows
    assert found.survey.levels.keys() == known.survey.levels.keys()
    for index, levels in found.survey.levels.items():
        other, sample = known.survey.levels[index], known.frame.iloc[:, index]
        pd.testing.assert_series_equal(levels.joined(sample).series, other.joined(sample).series)
        assert (levels.n_values, levels.n_misfits, levels.too_many) == (
            *(other.n_values, other.n_misfits, other.too_many),
        )


@pytest.mark.parametrize("sizes", [[1, 2, 0, 499, 500, 7], [250] * 11], ids=str)
@pytest.mark.parametrize("split", [False, True])
def test_parts_that_are_read_side_by_side_give_the_sample_of_one_pass(sizes, split):
    rng, frame = np.random.default_rng(5), table_of()
    texts = pd.Series(np.where(rng.random(N) < 0.03, "?", rng.integers(0, 900, N).astype(str)))
    frame = frame.assign(
        row=np.arange(N) + 7,
        nearly=np.where(np.arange(N) == 1700, 0, np.arange(N)),
        flag=rng.integers(0, 2, N),
        part=np.where(np.arange(N) == 2998, 0.5, rng.integers(0, 2, N)),
        texts=texts,
        name=[f"n{number}" for number in range(N)],
        dates=frame["d"].astype(str).mask(rng.random(N) < 0.01, "soon"),
    )
    known, found = draw(in_pieces(frame, [430] * 6), 3, split=split), draw(in_parts(frame, sizes), 3, split=split)
    assert_same_sample(found, known)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        schemas = [Schema.learn(drawn.frame, drawn.rows, drawn.survey).to_json() for drawn in (known, found)]
    assert schemas[0] == schemas[1]
    for number in range(1, known.others.n_shards + 1):
        pd.testing.assert_frame_equal(found.others.read(number), known.others.read(number))


def test_a_short_table_in_parts_is_taken_whole():
    frame = table_of(500)
    drawn = draw(in_parts(frame, [100, 1, 0, 399]), 0, split=False)
    pd.testing.assert_frame_equal(drawn.frame, frame)
    assert drawn.rows is drawn.survey is drawn.others is None
    with pytest.raises(DataError, match="has no rows"):
        draw(in_parts(frame[:0], []), 0, split=False)


def test_few_more_rows_are_shipped_than_the_sample_has_however_many_parts_there_are():
    frame = table_of()[["x", "i"]]
    many, few = in_parts(frame, [50] * 59), in_parts(frame, [1500])
    for parts in (many, few):
        draw(parts, 0, split=False)
    rows = 16 * (
        500 * (1 + np.log(N / 500)) + 500
    )  # bytes: those of the sample, those dropped later, and a short table
    overhead = 60 * 3000  # of the frames and surveys
    assert many.n_shipped < rows + overhead
    assert few.n_shipped < 16 * 2 * N


def test_a_cell_that_no_schema_can_hold_is_named_by_its_row_in_the_whole_table():
    frame = table_of()
    frame.loc[[2000, 2100], "x"] = np.inf
    with pytest.raises(DataError, match="row 2001"):
        draw(in_parts(frame, [700] * 4), 0, split=False)
    with pytest.raises(DataError, match=r"columns change in row 1501"):
        draw(Parts([frame[:1500], frame[1500:].rename(columns={"x": "y"})]), 0, split=False)


def schema_of(frame, pieces=7):
    drawn = draw(in_pieces(frame, [len(frame) // pieces] * pieces), 0, split=False)
    return Schema.learn(drawn.frame, drawn.rows, drawn.survey)


RARE = {
    "a two among zeros and ones": (np.arange(N) % 2, 2, "number"),
    "a half among zeros and ones": (np.arange(N) % 2.0, 0.5, "number"),
    "a one among zeros": (np.zeros(N), 1, "flag"),
    "text among numbers": ([str(k % 9) for k in range(N)], "none", "number"),
    "a leading zero": ([str(k % 9) for k in range(N)], "07", "category"),
    "text among dates": ([f"2024-01-{k % 9 + 1:02}" for k in range(N)], "soon", "date"),
}


@pytest.fixture
def undrawn():
    """A row that is not drawn."""
    return int(np.setdiff1d(np.arange(N), draw(table_of(), 0, split=False).rows)[1000])


@pytest.mark.parametrize("frequent, rare, kind", RARE.values(), ids=RARE)
@pytest.mark.parametrize("most", [infer.MOST_LEVELS, 4])
@pytest.mark.filterwarnings("ignore:Columns (left out|with unreadable cells|of which only the shape)")
def test_one_row_that_was_not_drawn_changes_what_a_column_is(frequent, rare, kind, most, undrawn, monkeypatch):
    monkeypatch.setattr(infer, "FEWEST_LEVELS", 1)
    monkeypatch.setattr(infer, "MOST_LEVELS", most)
    column = pd.Series(frequent)
    column[undrawn] = rare
    schema = schema_of(table_of().assign(new=column))
    known = Schema.learn(table_of().assign(new=column))
    if most == 4 and kind == "category":
        assert schema.kinds[schema.names.index("new")] == "text"
    else:
        assert schema.kinds[schema.names.index("new")] == known.kinds[known.names.index("new")] == kind


def test_levels_that_were_not_drawn_are_known(undrawn):
    column = pd.Series(["a", "b"] * (N // 2))
    column[undrawn] = "rare"
    frame = table_of().assign(new=column)
    schema, unseen = schema_of(frame), frame.iloc[[0, undrawn]].assign(new=["never", "rare"])
    place = [schema.names[cell.column] for cell in schema.cells].index("new")
    assert schema.encode(unseen)[:, place].tolist() == [3, 2]


@pytest.mark.parametrize("split", [False, True])
def test_row_indices_are_found_and_ordered_numbers_are_not(split):
    rising = np.arange(N)
    rising[-1] += 5
    frame = table_of().assign(count=np.arange(7, N + 7), rising=rising)
    drawn = draw(in_pieces(frame, [700, 1, 2]), 1 if split else 0, split=split)
    with pytest.warns(DataWarning, match="'count' is a row index"):
        schema = Schema.learn(drawn.frame, drawn.rows, drawn.survey)
    assert list(schema.left_out) == ["count"]
    assert split or schema.n_rows == N


def test_identifiers_are_recognised_from_all_rows():
    frame = table_of().assign(id=[f"u{k}" for k in range(N)], user=[f"u{k % 1000}" for k in range(N)])
    with pytest.warns(DataWarning, match=r"'id' identifier or free text: 3,000 distinct of 3,000\.$"):
        schema = schema_of(frame)
    assert "user" in schema.names  # 400 distinct of the 500 that are drawn


def test_more_levels_than_can_be_kept_are_an_identifier(monkeypatch):
    monkeypatch.setattr(infer, "MOST_LEVELS", 300)
    frame = table_of().assign(user=[f"u{k % 1000}" for k in range(N)], code=[f"{k % 1000}" for k in range(N)])
    with pytest.warns(DataWarning, match="'user' identifier or free text: more than 300 distinct of 3,000"):
        schema = schema_of(frame)
    assert schema.kinds[schema.names.index("code")] == "number"  # as text spells it


def test_text_that_is_nearly_all_numbers_names_the_row_in_the_whole_table(undrawn):
    column = pd.Series([str(k % 1000 / 8) for k in range(N)])
    column[undrawn] = "n/a"
    with pytest.warns(DataWarning, match=rf"'new' \(1 of 3,000 .* row {undrawn + 1} holds text 'n/a'\)"):
        schema_of(table_of().assign(new=column))


@pytest.mark.parametrize("as_text", [False, True])
def test_an_infinite_value_names_its_row_in_the_whole_table(as_text, undrawn):
    column = pd.Series(np.arange(N) / 8)
    column[undrawn] = -np.inf
    frame = table_of().assign(new=column.astype(str) if as_text else column)
    with pytest.raises(DataError, match=rf"Column 'new' is infinite in row {undrawn + 1} \(the first row is 1\)"):
        schema_of(frame)


def test_a_column_without_values_among_the_rows_drawn_is_left_out(undrawn):
    columns = {"number": pd.Series([np.nan] * N), "text": pd.Series([None] * N, dtype="str")}
    columns["number"][undrawn], columns["text"][undrawn] = 3.0, "here"
    with pytest.warns(DataWarning, match="'number' has no values in the rows drawn.*'text' has no values in the rows"):
        schema = schema_of(table_of().assign(**columns))
    assert list(schema.left_out) == ["number", "text"]
    with pytest.warns(DataWarning, match="'number' has no values; 'text' has no values[.]"):
        schema_of(table_of().assign(number=np.nan, text=pd.Series([None] * N, dtype="str")))


def test_types_may_change_between_pieces():
    whole = pd.Series(np.arange(N) % 50)
    pieces = [table_of()[:2900].assign(n=whole[:2900]), table_of()[2900:].assign(n=whole[2900:].astype(float) + 0.5)]
    drawn = draw(Dataset(pieces), 0, split=False)
    schema = Schema.learn(drawn.frame, drawn.rows, drawn.survey)
    assert schema.to_json()["columns"][-1] == {"kind": "number", "name": "n", "storage": "float64"}
    categories = [table_of()[:1500], table_of()[1500:].assign(c=pd.Categorical(["r", *["p"] * 1499]))]
    drawn = draw(Dataset(categories), 0, split=False)
    schema = Schema.learn(drawn.frame, drawn.rows, drawn.survey)
    assert schema.to_json()["columns"][3]["categories"] == ["p", "q", "r"]


def test_a_nested_value_names_its_row_in_the_whole_table():
    column = pd.Series(["a"] * N, dtype=object)
    column[2500] = [1, 2]
    with pytest.raises(DataError, match=r"Column 'new' has list \[1, 2\] in row 2501"):
        schema_of(table_of().assign(new=column))


def test_scaling_learned_from_a_shard_is_near_that_of_all_rows(monkeypatch):
    monkeypatch.setattr(sampling, "TRAINING_ROWS", 20_000)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.standard_t(2, 100_000), "y": rng.exponential(size=100_000)})
    ours, whole = schema_of(frame).to_json(), Schema.learn(frame).to_json()
    np.testing.assert_allclose(ours["scales"], whole["scales"], rtol=0.03)
    np.testing.assert_allclose(ours["centres"], whole["centres"], atol=0.03)
