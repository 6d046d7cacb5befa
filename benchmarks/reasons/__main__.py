"""Whether reasons name the cell that is wrong, add up to the score, and how long they take.

``python -m benchmarks.reasons --data ../shared/data`` plants one wrong cell in each of some normal rows: the value of
another row, far from what the rest of the row says. A method is right where that column leads its reasons. Writes
``reasons.md``.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.preprocessing import StandardScaler

from benchmarks.shared.adbench import find_tables, read_table
from benchmarks.shared.page import ending, markdown, provenance, spell
from vae_anomaly import VAEDetector
from vae_anomaly import read_table as read_file

RESULTS = Path(__file__).parent / "results"
TRAIN, PLANTED = 4000, 300
FAR = 2.0  # deviations of the column by which a planted number differs from what is expected
NEAREST = 50  # rows, alike in the other columns, that say what is expected of a mixed table
SHAP_ROWS = 50  # more would take minutes
SETTINGS = {"novelty detection": {"novelty": True}, "outlier detection": {}}


@dataclass(frozen=True)
class Case:
    """Training rows, and rows with one wrong cell each, in these columns."""

    name: str
    train: pd.DataFrame
    wrong: pd.DataFrame
    columns: np.ndarray


def correlated(columns: int, factors: int, seed: int) -> Case:
    """Gaussian columns of a few factors; what is expected of a cell is known."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(factors, columns))
    x = rng.normal(size=(TRAIN + PLANTED, factors)) @ mix + 0.3 * rng.normal(size=(TRAIN + PLANTED, columns))
    train, wrong = x[:TRAIN], x[TRAIN:].copy()
    precision = np.linalg.inv(mix.T @ mix + 0.3**2 * np.eye(columns))
    chosen = rng.integers(columns, size=PLANTED)
    for row, column in zip(wrong, chosen, strict=True):
        expected = row[column] - precision[column] @ row / precision[column, column]
        values = train[:, column]
        row[column] = rng.choice(values[np.abs(values - expected) > FAR * values.std()])
    return Case(f"{columns} columns of {factors} factors", _frame(train), _frame(wrong), chosen)


def connections(path: Path, seed: int) -> Case:
    """Normal connections of NSL-KDD; rows alike in the other columns say what is expected of a cell."""
    table = read_file(path)
    normal = table[table["attack"] == "normal"].drop(columns="attack")
    normal = normal.loc[:, normal.nunique() > 1].sample(frac=1.0, random_state=seed).reset_index(drop=True)
    train, rows = normal[: len(normal) // 2], normal[len(normal) // 2 :][:PLANTED]
    rng = np.random.default_rng(seed)
    indicators = pd.get_dummies(normal, dtype=float)
    owner = np.array([_owner(name, normal.columns) for name in indicators.columns])
    cells = StandardScaler().fit(indicators[: len(train)]).transform(indicators).clip(-5, 5)
    wrong, chosen = rows.astype(object).reset_index(drop=True), np.empty(len(rows), int)
    for place, row in enumerate(cells[rows.index]):
        squares = np.stack([((cells[: len(train), owner == c] - row[owner == c]) ** 2).sum(1) for c in set(owner)])
        for column in rng.permutation(normal.shape[1]):
            near = np.argpartition(squares.sum(0) - squares[column], NEAREST)[:NEAREST]
            far = _far_values(train.iloc[:, column], near)
            if len(far):
                wrong.iat[place, column] = far.iloc[rng.integers(len(far))]
                chosen[place] = column
                break
    return Case("NSL-KDD, normal connections", train, wrong.astype(normal.dtypes), chosen)


def _owner(indicator: str, names: pd.Index) -> int:
    """The column that an indicator stands for: of several that it begins with, the longest."""
    fits = [name for name in names if indicator == name or indicator.startswith(f"{name}_")]
    return int(names.get_loc(max(fits, key=len)))


def _far_values(column: pd.Series, near: np.ndarray) -> pd.Series:
    """Values of other rows that none of the near ones comes close to."""
    beside = column.iloc[near]
    if not pd.api.types.is_numeric_dtype(column):
        return column[~column.isin(beside)]
    reach = column.std()
    return column[(column < beside.min() - reach) | (column > beside.max() + reach)]


def _frame(x: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(x, columns=[f"x{place}" for place in range(x.shape[1])])


# Who leads the reasons of each row, (rows,)


def by_surprise(detector: VAEDetector, case: Case) -> np.ndarray:
    """Nats beyond what is usual."""
    return _leaders(detector.explain(case.wrong)["surprise"], case)


def by_nats(detector: VAEDetector, case: Case) -> np.ndarray:
    """Nats as they are."""
    return _leaders(detector.explain(case.wrong)["nats"], case)


def _leaders(figures: pd.DataFrame, case: Case) -> np.ndarray:
    names = figures.drop(columns="(latent)").idxmax(axis=1)
    return names.map(case.train.columns.get_loc).to_numpy()


def by_margins(detector: VAEDetector, case: Case) -> np.ndarray:
    """Squared z-scores, halved, and minus the log frequency of values: each column by itself, in nats."""
    figures = np.empty(case.wrong.shape)
    for place, (name, values) in enumerate(case.train.items()):
        if pd.api.types.is_numeric_dtype(values):
            figures[:, place] = 0.5 * ((case.wrong[name] - values.mean()) / values.std()) ** 2
        else:
            shares = (values.value_counts() + 1) / (len(values) + 1)
            figures[:, place] = -np.log(case.wrong[name].map(shares).fillna(1 / (len(values) + 1)))
    return figures.argmax(1)


def by_shap(detector: VAEDetector, case: Case) -> np.ndarray:
    """Shapley values of the same model's score, by permutations (SHAP), against 50 training rows."""
    import shap

    codes = {name: pd.Index(values.unique()) for name, values in case.train.items() if values.dtype.kind not in "biuf"}

    def encode(table: pd.DataFrame) -> np.ndarray:
        return table.assign(**{name: of.get_indexer(table[name]) for name, of in codes.items()}).to_numpy(np.float64)

    def score(x: np.ndarray) -> np.ndarray:
        table = pd.DataFrame(x, columns=case.train.columns)
        return detector.anomaly_score(table.assign(**{name: of[table[name].astype(int)] for name, of in codes.items()}))

    background = encode(case.train.sample(SHAP_ROWS, random_state=0))
    explain = shap.PermutationExplainer(score, background, seed=0)
    found = explain(encode(case.wrong), max_evals=2 * background.shape[1] + 1, silent=True)
    return np.asarray(found.values).argmax(1)


METHODS: dict[str, tuple[Callable[[VAEDetector, Case], np.ndarray], int]] = {
    "explain: surprise": (by_surprise, PLANTED),
    "explain: nats": (by_nats, PLANTED),
    "each column by itself": (by_margins, PLANTED),
    "SHAP on the same score": (by_shap, SHAP_ROWS),
}


def hits(case: Case, seed: int) -> Iterator[dict[str, object]]:
    """Share of rows in which each method names the wrong column, and its milliseconds a row."""
    for setting, parameters in SETTINGS.items():
        detector = VAEDetector(**parameters, random_state=seed).fit(case.train)
        for method, (lead, rows) in METHODS.items():
            few = Case(case.name, case.train, case.wrong[:rows], case.columns[:rows])
            begin = time.perf_counter()
            found = lead(detector, few)
            yield {
                "table": case.name,
                "setting": setting,
                "method": method,
                "rows": rows,
                "right": float((found == few.columns).mean()),
                "ms": 1000 * (time.perf_counter() - begin) / rows,
            }


def sums(data: Path) -> pd.DataFrame:
    """Largest difference between the sum of a row's reasons and its score, over every table and setting."""
    tables = {path.stem: _frame(read_table(path, 2000).x) for path in find_tables(data / "adbench")}
    connections = read_file(data / "nsl_kdd" / "train.csv").drop(columns="attack")[:4000]
    gone = np.random.default_rng(0).random(connections.shape) < 0.1
    tables["NSL-KDD, 10 % of the cells missing"] = connections.mask(gone)
    found = {}
    for name, table in tables.items():
        for setting, parameters in SETTINGS.items():
            detector = VAEDetector(**parameters, random_state=0).fit(table)
            gap = detector.explain(table)["nats"].sum(axis=1) - detector.anomaly_score(table)
            found[name, setting] = float(np.abs(gap).max())
    return pd.Series(found).unstack()


def seconds(rows: int, columns: int) -> pd.DataFrame:
    """How long `explain` takes beside `score_samples`, in one run."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2 * rows, 8)) @ rng.normal(size=(8, columns)) + 0.3 * rng.normal(size=(2 * rows, columns))
    found = {}
    for setting, parameters in SETTINGS.items():
        detector = VAEDetector(**parameters, random_state=0).fit(x[:rows])
        taken = {"score_samples": [], "explain": []}
        for _ in range(5):
            for name, times in taken.items():
                begin = time.perf_counter()
                getattr(detector, name)(x[rows:])
                times.append(time.perf_counter() - begin)
        score, explain = (min(times) for times in taken.values())
        found[setting] = {"score_samples, s": score, "explain, s": explain, "times as long": explain / score}
    return pd.DataFrame(found).T


def interval(share: float, rows: int) -> float:
    """Half of the 95 % interval of a share, normal approximation."""
    return float(norm.ppf(0.975) * np.sqrt(share * (1 - share) / rows))


def page(right: pd.DataFrame, sums_: pd.DataFrame, times: pd.DataFrame, facts: list[str]) -> str:
    """The whole page."""
    right = right.assign(text=[f"{r.right:.3f} ± {interval(r.right, r.rows):.3f}" for r in right.itertuples()])
    tables = []
    for setting, of_setting in right.groupby("setting", sort=False):
        wide = of_setting.pivot_table(index="table", columns="method", values="text", aggfunc="first", sort=False)
        tables += [f"### {setting}", markdown(wide, [""] * wide.shape[1], "table")]
    pace = right.pivot_table(index="table", columns="method", values="ms", aggfunc="mean", sort=False)
    return (
        "\n\n".join(
            [
                "# Reasons",
                "## Does the wrong cell lead?",
                f"One cell of each of {PLANTED} normal rows is given another row's value, at least {FAR:g} deviations "
                "from what is expected of it (mixed table: a value that none of the 50 rows most alike in the other "
                "columns comes within a deviation of, or a category that none of them has). Share of rows in which "
                f"that column leads, ± half of the 95 % interval; SHAP on {SHAP_ROWS} rows.",
                *tables,
                "Milliseconds a row, of both settings:",
                markdown(pace, [".2f"] * pace.shape[1], "table"),
                "## Do they add up?",
                "Largest difference over the rows, in nats (2,000 rows of each ADBench set at most).",
                markdown(sums_, [".1e"] * sums_.shape[1], "table"),
                "## How long do they take?",
                "10,000 rows of 40 columns, 10,000 others in training; the best of five.",
                markdown(times, [".2f", ".2f", ".2f"], "setting"),
                ending(facts),
            ]
        )
        + "\n"
    )


def main() -> None:
    """Measure, print and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of adbench/ and nsl_kdd/")
    parser.add_argument("--output", type=Path, default=RESULTS)
    argv = sys.argv[1:]
    arguments = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    cases = [correlated(columns, factors, 0) for columns, factors in ((10, 3), (20, 5), (40, 8))]
    cases.append(connections(arguments.data / "nsl_kdd" / "train.csv", 0))
    right = pd.DataFrame([figure for case in cases for figure in hits(case, 0)])
    text = page(right, sums(arguments.data), seconds(10_000, 40), provenance(spell(argv, "benchmarks.reasons")))
    (arguments.output / "reasons.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
