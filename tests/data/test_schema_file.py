import copy
import json
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_anomaly.data.schema import Schema
from vae_anomaly.errors import DataWarning, ModelFileError

FRAME = pd.DataFrame(
    {
        "x": [1.0, 2.0, 5.0],
        "n": pd.Series([1, 3, None], dtype="Int64"),
        "b": [True, False, True],
        "t": ["a", "b", None],
        "c": pd.Categorical(["u", "v", "u"], ["v", "u", "w"]),
        "d": pd.to_datetime(["2024-01-01 10:00", "2024-02-01 00:00", "2024-02-02 00:00"]),
        "w": pd.to_timedelta([1, 2, 5], unit="s"),
        7: [None, None, None],
    }
)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DataWarning)
    DOCUMENT = Schema.learn(FRAME).to_json()

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(
        ["", "number", "text", "float64", "category", "datetime64", "M8[h]", "period[D]", "string", "object"]
    ),
    st.text(max_size=3),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def paths(document, path=()):
    """Paths of everything in a document."""
    yield path
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, inner in items:
        yield from paths(inner, (*path, key))


def damaged(path, how, value):
    document = copy.deepcopy(DOCUMENT)
    if not path:
        return value
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    match how:
        case "replace":
            holder[path[-1]] = value
        case "drop":
            del holder[path[-1]]
        case "repeat" if isinstance(holder, list):
            holder.append(holder[path[-1]])
    return document


def test_the_document_is_json_and_comes_back_the_same():
    text = json.dumps(DOCUMENT, allow_nan=False)
    schema = Schema.from_json(json.loads(text))
    assert schema.to_json() == DOCUMENT
    assert schema.left_out == {7: "has no values"}
    original = Schema.from_json(DOCUMENT)
    np.testing.assert_array_equal(schema.encode(FRAME), original.encode(FRAME))
    pd.testing.assert_frame_equal(schema.decode(schema.encode(FRAME)), original.decode(original.encode(FRAME)))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(list(paths(DOCUMENT))), st.sampled_from(["replace", "drop", "repeat"]), ANYTHING)
def test_a_damaged_document_is_a_model_file_error_or_a_working_schema(path, how, value):
    try:
        schema = Schema.from_json(damaged(path, how, value))
    except ModelFileError:
        return
    schema.decode(np.zeros((2, len(schema.cells))))


DAMAGE = [
    (("columns",), []),
    (("columns", 0, "kind"), "matrix"),
    (("columns", 0, "storage"), "complex128"),
    (("columns", 0, "storage"), "Sparse[float64, nan]"),
    (("columns", 0, "storage"), "float64 "),
    (("columns", 0, "name"), "n"),
    (("columns", 0, "name"), 1.5),
    (("columns", 0, "name"), True),
    (("columns", 3, "levels"), []),
    (("columns", 3, "levels"), ["a", "a"]),
    (("columns", 3, "levels"), [None]),
    (("columns", 3, "storage"), "bool"),
    (("columns", 4, "levels"), ["elsewhere"]),
    (("columns", 5, "step"), 0),
    (("columns", 5, "origin"), 2**63),
    (("columns", 5, "weekday"), 1),
    (("scales", 0), 0.0),
    (("scales", 0), float("nan")),
    (("centres",), [0.0]),
    (("exponents", 0), 10**6),
    (("floors", 0), 0.0),
    (("n_rows",), 0),
    (("left_out", 0, "reason"), 3),
]


@pytest.mark.parametrize("path, value", DAMAGE, ids=str)
def test_invalid_fields_are_refused_by_name(path, value):
    with pytest.raises(ModelFileError, match=str([key for key in path if isinstance(key, str)][-1])[:4] + "|columns"):
        Schema.from_json(damaged(path, "replace", value))
