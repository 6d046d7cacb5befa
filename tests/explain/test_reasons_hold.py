"""What a reason states is true of the training table: no value inside its stated range, none rarer than it is."""

import re

import numpy as np
import pandas as pd
import pytest

from vae_anomaly import VAEDetector
from vae_anomaly.explain.explanation import TOGETHER
from vae_anomaly.formatting import percent

ROWS = 400


def bills(rng):
    """A vendor decides the category and the size of amounts; taxes follow from amounts, due dates from dates."""
    vendor = rng.choice(["Air", "Bean", "Rail", "Desk", "Cloud"], ROWS, p=[0.3, 0.3, 0.2, 0.15, 0.05])
    usual = dict(
        zip(["Air", "Bean", "Rail", "Desk", "Cloud"], ["Travel", "Meals", "Travel", "Rent", "IT"], strict=True)
    )
    category = np.where(rng.random(ROWS) < 0.97, [usual[name] for name in vendor], "Other")
    amount = np.exp(rng.normal([{"Desk": 7.0, "Air": 6.0}.get(name, 3.0) for name in vendor], 0.3)).round(2)
    date = pd.Timestamp("2026-01-05") + pd.to_timedelta(rng.integers(0, 120, ROWS), unit="D")
    account = np.where(rng.random(ROWS) < 0.01, np.nan, rng.integers(4000, 4005, ROWS))
    table = pd.DataFrame({"vendor": vendor, "category": category, "amount": amount, "tax": (0.19 * amount).round(2)})
    return table.assign(date=date, due=date + pd.Timedelta(days=30), account=account, paid=rng.random(ROWS) < 0.9)


def measurements(rng):
    """Two machines, correlated numbers of different sizes, codes, and a count that is mostly 0."""
    state = rng.normal(size=ROWS)
    machine = rng.choice(["m1", "m2"], ROWS)
    load = 50 + 20 * state + rng.normal(size=ROWS)
    return pd.DataFrame(
        {
            "machine": machine,
            "load": load,
            "heat": np.where(machine == "m1", 300.0, 20.0) + state,
            "micro": 1e-6 * np.exp(state),
            "alarms": np.where(rng.random(ROWS) < 0.95, 0, rng.integers(1, 9, ROWS)),
            "code": rng.choice(list("abcdefghijxyz"), ROWS, p=[0.099] * 10 + [0.005, 0.0025, 0.0025]),
            "ok": load < 75,
        }
    )


def with_errors(table, rng):
    """The table with one error in each of twelve rows."""
    wrong = table.astype({name: object for name in table if table[name].dtype == bool})
    for row in rng.choice(ROWS, 12, replace=False):
        name = rng.choice(table.columns)
        value = table[name].iloc[row]
        if pd.api.types.is_float_dtype(table[name]):
            wrong.loc[row, name] = value * 100
        elif isinstance(value, pd.Timestamp):
            wrong.loc[row, name] = value + pd.Timedelta(days=3652)
        else:
            wrong.loc[row, name] = table[name].iloc[rng.integers(ROWS)]
    return wrong


@pytest.fixture(scope="module", params=["bills", "bills, novelty", "measurements", "measurements, novelty"])
def case(request):
    """A table with errors, and the explanation of its rows by a model of it."""
    make, novelty = (bills if "bills" in request.param else measurements), "novelty" in request.param
    rng = np.random.default_rng(1)
    table = with_errors(make(rng), rng)
    detector = VAEDetector(novelty=novelty, random_state=0, max_iter=30).fit(table)
    explained = detector.explain(table, long=True)
    return table, explained[explained["reason"] != ""], detector.reasons(table)


def test_no_number_is_inside_the_range_stated(case):
    _, stated, _ = case
    ranged = stated[stated["reason"].str.contains(", expected ") & stated["low"].notna()]
    assert len(ranged) > 5
    assert all(not low <= value <= high for value, low, high in zip(ranged.value, ranged.low, ranged.high, strict=True))
    texts = ranged["reason"].str.extract(r" (\S+), expected (\S+)(?: to (\S+))?$")
    assert ((texts[0] != texts[1]) & (texts[0] != texts[2])).all()


def test_no_number_is_inside_the_range_of_the_rows_with_a_value(case):
    table, stated, _ = case
    pairs = stated[stated["reason"].str.contains(" of these rows")]
    for cell in pairs.itertuples():
        seen, partner, level, low, high, often = re.match(
            r"\S+ (\S+) with (\S+) '?(.+?)'?: (\S+?)(?: to (\S+))? in (.+ %) of these rows",
            cell.reason,
        ).groups()
        high = high or low
        numbers = table[cell.column][table[partner].astype(str) == level]
        low, high, seen = (pd.to_datetime(t) if "-" in t[1:] else float(t.replace(",", "")) for t in (low, high, seen))
        assert not low <= seen <= high
        fraction = ((numbers >= low) & (numbers <= high)).sum() / numbers.notna().sum()
        assert float(often.removesuffix(" %")) / 100 == pytest.approx(fraction, abs=0.015)  # rounded ends


def test_no_value_is_what_is_expected(case):
    _, stated, _ = case
    levels = stated[
        stated["value"].map(lambda value: isinstance(value, str)) & stated["reason"].str.contains(", expected ")
    ]
    assert (levels["value"] != levels["expected"]).all()


def test_no_value_is_rarer_than_stated(case):
    table, stated, _ = case
    frequent = stated["reason"].str.extract(r", seen in ([\d.]+ %)(?:,|$)")[0].dropna()
    assert len(frequent) > 3
    for index, text in frequent.items():
        name, value = stated["column"][index], stated["value"][index]
        assert text == percent((table[name] == value).sum() / table[name].notna().sum())
        assert (table[name] == value).mean() <= 0.05


def test_values_that_never_meet_do_not(case):
    table, stated, _ = case
    for cell in stated[stated["reason"].str.contains("never together")].itertuples():
        partner = re.search(r" with (\S+) ", cell.reason)[1]
        together = (table[cell.column] == cell.value) & (table[partner] == table[partner][cell.row])
        assert together.sum() == 1
        usual = re.search(r"; '?(\w+)'? in (.+ %) of rows with this", cell.reason)
        others = table[cell.column][(table[partner] == table[partner][cell.row]) & (table.index != cell.row)]
        assert usual is None or usual[2] == percent((others.astype(str) == usual[1]).mean())


def test_reasons_are_those_that_the_cells_have(case):
    _, stated, reasons = case
    said = stated[stated["column"] != "(latent)"].groupby("row")["reason"].agg(list)
    for row, cells in said.items():
        assert reasons[row] in ["; ".join(cells[:count]) for count in (1, 2, 3)]
    assert set(reasons[~reasons.index.isin(said.index)]) <= {"", TOGETHER}
