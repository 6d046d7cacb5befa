"""Reasons in words: only cells that are anomalous given the others, and what is stated of them is true."""

import re

import numpy as np
import pandas as pd
import pytest

from vae_anomaly import VAEDetector
from vae_anomaly.data.schema import Schema
from vae_anomaly.explain.explanation import LATENT, TOGETHER, explanation_of, rounded
from vae_anomaly.fitted import ReferenceRows
from vae_anomaly.formatting import percent

NAMES = ["kind", "size", "price", "tax", "paid", "account", "day", "urgent"]


@pytest.fixture(scope="module")
def table():
    """Pens cost 1.50 to 3.50, laptops about 900, with 19 % tax; sizes lie about 0; one account in 600 is missing."""
    rng, n = np.random.default_rng(0), 600
    kind = np.where(np.arange(n) % 3 > 0, "pen", "laptop")
    kind[:2] = "auth"
    price = np.where(kind == "laptop", rng.uniform(800, 990, n), rng.uniform(1.5, 3.5, n)).round(2)
    paid = np.where(kind == "laptop", "transfer", np.where(rng.random(n) < 0.9, "card", "cash"))
    account = rng.integers(10, 19, n).astype(float)
    account[7] = np.nan
    day = pd.Timestamp("2026-01-05") + pd.to_timedelta(7 * rng.integers(0, 20, n) + rng.integers(0, 5, n), unit="D")
    columns = kind, rng.normal(size=n), price, (0.19 * price).round(2), paid, account, day, rng.random(n) < 0.5
    return pd.DataFrame(dict(zip(NAMES, columns, strict=True)))


@pytest.fixture(scope="module")
def schema(table):
    return Schema.learn(table)


@pytest.fixture
def explained(table, schema):
    """Explain a row of the table with some values changed, given the surprise of some columns."""

    def explain(surprise, **changes):
        row = table.iloc[[4]].assign(**changes)
        nats = np.array([[surprise.get(name, -0.1) for name in [*NAMES, LATENT]]])
        reference = ReferenceRows(schema.encode(table), np.zeros(len(table)))
        return explanation_of(row, schema.encode(row), nats + 1.0, nats, schema, reference)

    return explain


@pytest.fixture
def reason(explained):
    return lambda most=3, /, surprise=None, **changes: explained(
        surprise or dict.fromkeys(changes, 5.0), **changes
    ).reasons(most)[0]


def test_a_number_outside_its_range_is_named_with_the_range_in_the_digits_of_its_column(reason, table):
    low, high = reason(size=5100000.0).removeprefix("size 5,100,000, expected ").split(" to ")
    assert -2.5 < float(low) < -1 < 1 < float(high) < 2.5
    assert reason(price=250000.0).startswith("price 250,000.00, expected ")
    assert reason(day=pd.Timestamp("2036-01-07")).startswith("day 2036-01-07, expected 2026-0")


def test_a_number_inside_its_range_is_no_reason(reason):
    assert reason(size=0.1) == TOGETHER
    assert reason(price=2.5, size=7.0) == reason(size=7.0)


def test_a_number_that_is_ordinary_elsewhere_is_named_with_the_value_that_it_does_not_go_with(reason, table):
    prices = table["price"][table["kind"] == "pen"].sort_values()
    low, high = (prices.quantile(q, interpolation="nearest") for q in (0.05, 0.95))
    often = percent(prices.between(low, high).mean())
    assert reason(price=900.0) == f"price 900.00 with kind 'pen': {low:.2f} to {high:.2f} in {often} of these rows"


def test_two_numbers_that_do_not_go_together_are_named_together_where_no_number_stands_out_by_itself(explained):
    """Both are left out when similar rows are searched, so that each is inside its own range."""
    surprise = {"price": 5.0, "tax": 4.0}
    changes = {"kind": "laptop", "paid": "transfer", "price": 820.0, "tax": 184.0}
    (text,) = explained(surprise, **changes).reasons(3)
    low, high = re.fullmatch(
        r"price 820.00 with tax 184.00: (.+) to (.+) in \d\d % of rows with about this tax", text
    ).groups()
    assert 940 < float(low) < 184 / 0.19 < float(high) < 990
    long = explained(surprise, **changes).long().set_index("column")["reason"]
    assert long["price"] == text
    assert long["tax"] == ""
    assert explained(surprise, **{**changes, "tax": 155.8}).reasons(3) == [TOGETHER]


def test_a_rare_value_is_named_with_its_frequency_and_a_frequent_one_is_no_reason(reason):
    assert reason(kind="auth") == "kind 'auth', seen in 0.33 %, expected 'pen'"
    assert reason(kind="pen") == reason(urgent=True) == reason(account=12.0) == TOGETHER


def test_two_values_that_never_meet_are_named_together(reason, table):
    fraction = (table["kind"] == "pen")[table["paid"] == "card"].mean()
    assert fraction > 0.99
    text = reason(kind="laptop", surprise={"kind": 5.0})
    assert text.startswith("kind 'laptop' with paid 'card': never together; 'pen' in ")
    assert text.endswith(" % of rows with this paid")


def test_a_value_never_seen_is_new_and_close_to_what_was_meant(reason):
    assert reason(kind="stamp") == "kind 'stamp' is new, expected 'pen'"
    for meant in ("Laptop", "laptop ", "laptpo"):
        assert reason(kind=meant) == f"kind '{meant}' is new, close to 'laptop'"


def test_a_missing_cell_is_named_where_cells_are_hardly_ever_missing(reason):
    assert reason(account=np.nan) == "account is missing; empty in 0.17 % of rows"


def test_a_weekday_without_other_dates_is_named(reason):
    text = reason(day=pd.Timestamp("2026-03-08"))
    assert text.startswith("day 2026-03-08 (Sunday), ")
    assert "of similar rows" in text


def test_an_unreadable_value_is_named_so(reason):
    assert reason(size="12.0 oz").startswith("size '12.0 oz' is not a number, expected -")


def test_further_reasons_hold_and_are_about_as_surprising_as_the_first(reason):
    changes = {"size": 9.0, "kind": "auth", "price": -80.0}
    surprise = {"size": 9.0, "kind": 6.0, "price": 4.0, "urgent": 8.0}
    first, second = reason(surprise=surprise, **changes).split("; ")
    assert first.startswith("size 9, expected ")
    assert second.startswith("kind 'auth'")
    assert reason(1, surprise=surprise, **changes) == first
    assert reason(surprise={**surprise, "size": 20.0}, **changes).count(";") == 0


def test_nothing_is_said_of_a_row_that_is_not_surprising_and_little_where_no_cell_stands_out(explained):
    assert explained({}).reasons(3) == [""]
    assert explained({LATENT: 3.0}).reasons(3) == [TOGETHER]


def test_the_long_form_has_reasons_where_they_hold(explained):
    long = explained({"size": 5.0, "kind": 4.0, LATENT: 2.0}, size=9.0).long()
    assert long["column"].tolist()[:3] == ["size", "kind", LATENT]
    assert long["reason"][0].startswith("size 9, expected ")
    assert long["reason"].tolist()[1:] == ["", TOGETHER, *[""] * (len(NAMES) - 2)]


def test_the_wide_form_has_every_figure_of_every_column(explained):
    wide = explained({"size": 5.0}, size=9.0).wide()
    assert list(dict.fromkeys(wide.columns.get_level_values(0))) == [
        "nats", "surprise", "value", "expected", "low", "high"
    ]  # fmt: skip
    assert wide.loc[4, ("high", "size")] < 9.0 == wide.loc[4, ("value", "size")]
    assert wide.loc[4, ("high", "kind")] is None
    assert list(wide["nats"].columns) == [*NAMES, LATENT]


def test_decoded_numbers_are_rounded_to_what_they_were():
    numbers = np.array([3300.0, 0.1, -1e-200, 0.0, 1.7e9 + 0.25, np.nan, 1e200])
    found = rounded(pd.DataFrame({"x": numbers * (1 + 1e-15), "n": 1}))["x"]
    np.testing.assert_array_equal(found, numbers)


@pytest.mark.parametrize("n_rare", [0, 400], ids=["few levels", "more levels than codes"])
def test_a_level_seen_once_is_named_as_the_frequent_one_that_it_is_close_to(n_rare):
    rng, n = np.random.default_rng(0), 1500
    vendor = rng.choice(["Lufthansa", "Bean Street", "Alba Air"], n).astype(object)
    rare = rng.choice(n, n_rare, replace=False)
    vendor[rare] = ["".join(rng.choice(list("bcdfghkmnp"), 9)).title() for _ in rare]
    wrong = {7: "Lufthansa ", 11: "bean street", 13: "Lufthanza"}
    vendor[list(wrong)] = list(wrong.values())
    rows = pd.DataFrame({"vendor": vendor, "kind": np.where(vendor == "Bean Street", "meals", "travel")})
    reasons = VAEDetector(random_state=0, max_iter=60).fit(rows).reasons(rows.iloc[list(wrong)]).tolist()
    meant = ["Lufthansa", "Bean Street", "Lufthansa"]
    assert [f"close to '{name}'" in reason for name, reason in zip(meant, reasons, strict=True)] == [True] * 3, reasons
