"""Kinds of columns that a user asks for with ``kinds=`` or ``--kind``."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from vae_anomaly import Dataset, VAEDetector, load
from vae_anomaly.data import sampling
from vae_anomaly.data.infer import kinds_of
from vae_anomaly.data.parse import label_of
from vae_anomaly.data.schema import Schema
from vae_anomaly.errors import DataError, DataWarning
from vae_anomaly.fitted import FittedModel

N = 60
QUICK = {"hidden_layer_sizes": (8,), "n_estimators": 1, "max_iter": 12, "random_state": 0}
ACCOUNTS = [4400, 4930, 70115]
TABLE = pd.DataFrame(
    {
        "account": np.resize(ACCOUNTS, N),
        "code": [f"{k % 7:03}" for k in range(N)],
        "whole": np.arange(N),
        "day": [f"2024-01-{k % 28 + 1:02}" for k in range(N)],
        "zero": np.zeros(N, int),
        "total": np.arange(N) / 7 % 3,
        "who": pd.Categorical(np.resize(["Ann", "Bo"], N)),
        "yes": np.resize([True, False], N),
    }
)
ASKED = {
    "account": "category",
    "code": "number",
    "whole": "number",
    "day": "category",
    "zero": "flag",
    "total": "category",
    "who": "text",
    "yes": "category",
}


def learned(frame, **kinds):
    return Schema.learn(frame, kinds=kinds)


def test_each_column_is_of_the_kind_that_is_asked_for():
    schema = learned(TABLE, **ASKED)
    assert dict(zip(schema.names, schema.kinds, strict=True)) == ASKED
    assert schema.reasons["account"] == "asked for by kinds={'account': 'category'}"
    again = Schema.from_json(json.loads(json.dumps(schema.to_json())))
    assert again.reasons == schema.reasons
    np.testing.assert_array_equal(again.encode(TABLE), schema.encode(TABLE))


def test_columns_come_back_in_their_own_type():
    frame = TABLE.drop(columns=["day", "who", "yes"])
    schema = learned(frame, **{name: ASKED[name] for name in frame})
    back = schema.decode(schema.encode(frame))
    pd.testing.assert_frame_equal(back.drop(columns="code"), frame.drop(columns="code"))
    assert back["code"].tolist() == [f"{k % 7}" for k in range(N)]


@pytest.mark.parametrize("dtype", ["int16", "uint64", "float64", "Int64", "Float32"])
def test_numbers_as_a_category_are_compared_as_a_person_reads_them(dtype):
    schema = learned(pd.DataFrame({"account": pd.Series(ACCOUNTS[:2] * 30, dtype=dtype)}), account="category")
    assert schema.columns[0].levels == ("4400", "4930")
    for given in ([4400, 4930, 12], [4400.0, 4930.0, 12.5], ["4400", "4930.0", "x"], ["4400", "04930", "4_400"]):
        assert schema.encode(pd.DataFrame({"account": given})).ravel().tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("value", "label"),
    [(12, "12"), (12.0, "12"), ("12.0", "12"), ("007", "7"), (0.1, "0.1"), (1e20, "1" + "0" * 20), (-0.0, "0")]
    + [("a7", "a7"), ("nan", "nan"), ("1_0", "1_0"), (9007199254740993, "9007199254740993"), (True, "True")],
)
def test_labels_of_values(value, label):
    assert label_of(value) == label


def test_whole_numbers_beyond_a_float_stay_apart():
    cards = [9007199254740992, 9007199254740993]
    schema = learned(pd.DataFrame({"card": cards * 20}), card="category")
    assert schema.decode(np.array([[0.0], [1.0]]))["card"].tolist() == cards


def test_an_ignored_column_is_left_out_without_a_warning():
    schema = learned(TABLE[["total", "account"]], account="ignore")
    assert (schema.names, schema.left_out) == (["total"], {"account": "is ignored, as kinds asks for"})


def test_a_tenth_of_an_asked_column_may_be_unreadable():
    codes = [*TABLE["code"][:-6], *["x"] * 6]
    with pytest.warns(DataWarning, match=r"'code' \(6 of 60 values are no numbers; row 55 holds text 'x'\)"):
        assert learned(pd.DataFrame({"code": codes}), code="number").kinds == ["number"]
    codes[0] = "y"
    fault = r"Column 'code' cannot be of kind 'number': 7 of 60 values are no numbers; found text 'y' in row 1 "
    with pytest.raises(DataError, match=fault):
        learned(pd.DataFrame({"code": codes}), code="number")


@pytest.mark.parametrize(
    ("name", "kind", "found"),
    [
        ("account", "flag", "60 of 60 values are no truth values .* found number 4400"),
        ("total", "date", "60 of 60 values are no dates; found number 0.0"),
        ("who", "number", "60 of 60 values are no numbers; found text 'Ann'"),
    ],
)
def test_values_that_cannot_be_of_the_kind_are_an_error(name, kind, found):
    with pytest.raises(DataError, match=f"Column '{name}' cannot be of kind '{kind}': {found}"):
        learned(TABLE, **{name: kind})


def test_a_column_that_is_not_there_is_an_error():
    with pytest.raises(DataError, match=r"no column 'acount' to be of kind 'category'. Did you mean 'account'\?"):
        VAEDetector(kinds={"acount": "category"}).fit(TABLE)
    with pytest.raises(DataError, match="no column 'z' to be of kind 'flag'. The columns are: 1, 2"):
        kinds_of({"z": "flag"}, [1, 2])
    assert kinds_of({"1": "flag"}, [1, 2]) == {1: "flag"}  # a name that JSON or the command line made a text


@pytest.mark.parametrize("wrong", [{"kinds": {"a": "code"}}, {"kinds": "category"}, {"kinds": {0: 1}}])
def test_kinds_that_do_not_exist_are_an_error(wrong):
    with pytest.raises(ValueError, match="'kinds' parameter"):
        VAEDetector(**wrong).fit(TABLE)


def test_images_have_no_kinds():
    with pytest.raises(ValueError, match="kinds= is for tables"):
        VAEDetector(kinds={"x0": "category"}, image_shape=(1, 2, 2)).fit(np.random.default_rng(0).random((40, 4)))


def invoices(n=1000, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 3, n)
    kind = np.array(["Rent", "Meals", "Office"])[rows]
    return pd.DataFrame({"account": np.array(ACCOUNTS)[rows], "kind": kind, "total": rng.normal(size=n)})


def test_a_number_that_is_a_category_has_readable_reasons():
    rows, wrong = invoices(400), invoices(2).assign(account=[ACCOUNTS[2], 1234], kind="Rent")
    reasons = VAEDetector(novelty=True, random_state=0, kinds={"account": "category"}).fit(rows).reasons(wrong)
    assert "70115" in reasons.iloc[0]
    assert "70,115" not in reasons.iloc[0]
    assert reasons.iloc[1].startswith("account 1234 is new, expected 4400")


def test_a_model_keeps_its_kinds(tmp_path):
    rows = invoices(100)
    detector = VAEDetector(**QUICK, kinds={"account": "category", "kind": "ignore"}).fit(rows)
    detector.save(tmp_path / "a.vae")
    again = load(tmp_path / "a.vae")
    assert again.kinds == clone(again).kinds == detector.kinds
    assert again.schema_.kinds == ["category", "number"]
    np.testing.assert_array_equal(again.anomaly_score(rows), detector.anomaly_score(rows))
    np.testing.assert_array_equal(clone(again).fit(rows).anomaly_score(rows), detector.anomaly_score(rows))


def test_an_array_has_kinds_by_the_names_of_its_columns():
    rows = invoices(100)[["account", "total"]].to_numpy()
    detector = VAEDetector(**QUICK, kinds={"x0": "category"}).fit(rows)
    assert detector.schema_.kinds == ["category", "number"]
    assert set(detector.sample(20, random_state=0)[:, 0]) <= set(ACCOUNTS)


@pytest.mark.parametrize("kind", ["category", "text"])
def test_a_long_table_has_the_levels_of_every_row(kind, monkeypatch):
    monkeypatch.setattr(sampling, "TRAINING_ROWS", 400)
    monkeypatch.setattr(sampling, "FEWEST_ROWS", 100)
    rows = invoices().assign(account=lambda t: t["account"].where(t.index < 990, 5_000_000 + t.index * 7))
    detector = VAEDetector(**QUICK, kinds={"account": kind}).fit(rows)
    pieces = [rows[:990], rows[990:].astype({"account": float})]  # the same numbers, stored otherwise
    streamed = VAEDetector(**QUICK, kinds={"account": kind}).fit(Dataset(pieces))
    levels = detector.schema_.columns[0].levels
    assert len(levels) == {"category": 13, "text": 1}[kind]
    assert streamed.schema_.columns[0].levels == levels
    np.testing.assert_array_equal(streamed.anomaly_score(rows), detector.anomaly_score(rows))


def test_new_numbers_of_a_category_are_levels_after_partial_fit():
    rows = invoices(300)
    detector = VAEDetector(**QUICK, kinds={"account": "category"}).fit(rows)
    detector.partial_fit(rows.assign(account=6300.0))
    assert detector.schema_.columns[0].levels[3:] == ("6300",)
    model = FittedModel.from_parts(*detector.model_.to_parts(), detector.device_)
    assert model.decode(model.encode(rows.assign(account="6300")))["account"].tolist() == [6300] * 300
