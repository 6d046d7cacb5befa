import numpy as np
import pandas as pd
import pytest

from benchmarks.reasons import __main__ as reasons


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(reasons, "TRAIN", 400)
    monkeypatch.setattr(reasons, "PLANTED", 30)


def test_a_planted_number_comes_from_another_row_and_is_far_from_its_expected_value(small):
    case = reasons.correlated(6, 2, 0)
    again = np.random.default_rng(0)
    mix = again.normal(size=(2, 6))
    x = again.normal(size=(430, 2)) @ mix + 0.3 * again.normal(size=(430, 6))
    changed = case.wrong.to_numpy() != x[400:]
    np.testing.assert_array_equal(changed.argmax(1), case.columns)
    assert (changed.sum(1) == 1).all()
    covariance = mix.T @ mix + 0.09 * np.eye(6)
    for row, column in zip(case.wrong.to_numpy(), case.columns, strict=True):
        others = np.delete(np.arange(6), column)
        expected = covariance[column, others] @ np.linalg.solve(covariance[np.ix_(others, others)], row[others])
        assert row[column] in case.train.iloc[:, column].to_numpy()
        assert abs(row[column] - expected) > 1.99 * case.train.iloc[:, column].std(ddof=0)


def test_a_planted_connection_contradicts_its_other_columns(small, tmp_path):
    rng = np.random.default_rng(1)
    size = rng.normal(size=300)
    table = pd.DataFrame({"size": size, "double": 2 * size, "kind": np.where(size > 0, "big", "small"), "same": 1})
    table.assign(attack="normal").to_csv(tmp_path / "train.csv", index=False)
    case = reasons.connections(tmp_path / "train.csv", 0)
    assert list(case.train.columns) == ["size", "double", "kind"]
    fits = np.column_stack(
        [
            np.isclose(case.wrong["double"], 2 * case.wrong["size"]),
            (case.wrong["kind"] == "big") == (case.wrong["size"] > 0),
        ]
    )
    assert (~fits).any(1).all()
    assert set(case.columns) == {0, 1, 2}


def test_surprise_names_the_wrong_column(small, monkeypatch):
    quick = {name: method for name, method in reasons.METHODS.items() if "SHAP" not in name}  # optional and slow
    monkeypatch.setattr(reasons, "METHODS", quick)
    case = reasons.correlated(6, 2, 0)
    found = pd.DataFrame(reasons.measure(reasons.Case("t", case.train, case.wrong[:8], case.columns[:8]), 0))
    assert set(found["method"]) == set(reasons.METHODS)
    assert found.loc[found["method"] == "explain: surprise", "right"].min() > 0.7
    assert "| t |" in reasons.write_page(found, found[["right"]], found[["ms"]].assign(a=1, b=2), ["a fact"])
