"""Whether reasons name the cell that is wrong, add up to the score, and how long they take.

``python -m benchmarks.reasons --data ../shared/data`` plants one wrong cell in each of some normal rows: the value of
another row, far from what the rest of the row says. A method is right where that column leads its reasons. Writes
``reasons.md``.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.preprocessing import StandardScaler

from benchmarks.shared.adbench import find_tables, read_table
from benchmarks.shared.command import RESULTS, make_parser, provenance
from benchmarks.shared.nsl_kdd import read_connections
from benchmarks.shared.page import markdown, provenance_section
from benchmarks.shared.timing import timed
from vae_anomaly import VAEDetector

TRAIN, PLANTED = 4000, 300
FAR = 2.0  # standard deviations of the column between a planted number and its expected value
NEAREST = 50  # rows most similar in the other columns; they define the expected values in a mixed table
SHAP_ROWS = 50  # more would take minutes
SETTINGS = {"novelty detection": {"novelty": True}, "outlier detection": {}}


@dataclass(frozen=True)
class Case:
    """Training rows, rows with one wrong cell each, and the column of the wrong cell (rows,)."""

    name: str
    train: pd.DataFrame
    wrong: pd.DataFrame
    columns: np.ndarray


def correlated(columns: int, factors: int, seed: int) -> Case:
    """Gaussian columns with a few common factors, for which the expected value of a cell is known."""
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
    """Normal connections of NSL-KDD; rows similar in the other columns define the expected values of a cell."""
    normal = read_connections(path).normal
    normal = normal.loc[:, normal.nunique() > 1].sample(frac=1.0, random_state=seed).reset_index(drop=True)
    train, rows = normal[: len(normal) // 2], normal[len(normal) // 2 :][:PLANTED]
    rng = np.random.default_rng(seed)
    indicators = pd.get_dummies(normal, dtype=float)
    column_of = np.array([_column_of(name, normal.columns) for name in indicators.columns])
    cells = StandardScaler().fit(indicators[: len(train)]).transform(indicators).clip(-5, 5)
    wrong, chosen = rows.astype(object).reset_index(drop=True), np.empty(len(rows), int)
    for i, row in enumerate(cells[rows.index]):
        squares = np.stack(
            [((cells[: len(train), column_of == c] - row[column_of == c]) ** 2).sum(1) for c in set(column_of)]
        )
        for column in rng.permutation(normal.shape[1]):
            near = np.argpartition(squares.sum(0) - squares[column], NEAREST)[:NEAREST]
            far = _far_values(train.iloc[:, column], near)
            if len(far):
                wrong.iat[i, column] = far.iloc[rng.integers(len(far))]
                chosen[i] = column
                break
    return Case("NSL-KDD, normal connections", train, wrong.astype(normal.dtypes), chosen)


def _column_of(indicator: str, names: pd.Index) -> int:
    """Index of the column of a one-hot indicator: of the names that it starts with, the longest."""
    prefixes = [name for name in names if indicator == name or indicator.startswith(f"{name}_")]
    return int(names.get_loc(max(prefixes, key=len)))


def _far_values(column: pd.Series, near: np.ndarray) -> pd.Series:
    """Values of a column that differ from those of all near rows: by a standard deviation if they are numbers."""
    values = column.iloc[near]
    if not pd.api.types.is_numeric_dtype(column):
        return column[~column.isin(values)]
    deviation = column.std()
    return column[(column < values.min() - deviation) | (column > values.max() + deviation)]


def _frame(x: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(x, columns=[f"x{i}" for i in range(x.shape[1])])


# Each method gives the index of the first-ranked column of each row, (rows,).


def by_surprise(detector: VAEDetector, case: Case) -> np.ndarray:
    """Rank by nats beyond the baseline contribution."""
    return _first_columns(detector.explain(case.wrong)["surprise"], case)


def by_nats(detector: VAEDetector, case: Case) -> np.ndarray:
    """Rank by nats."""
    return _first_columns(detector.explain(case.wrong)["nats"], case)


def _first_columns(contributions: pd.DataFrame, case: Case) -> np.ndarray:
    names = contributions.drop(columns="(latent)").idxmax(axis=1)
    return names.map(case.train.columns.get_loc).to_numpy()


def by_margins(detector: VAEDetector, case: Case) -> np.ndarray:
    """Rank by half the squared z-score or the negative log frequency of each column by itself, in nats."""
    nats = np.empty(case.wrong.shape)
    for i, (name, values) in enumerate(case.train.items()):
        if pd.api.types.is_numeric_dtype(values):
            nats[:, i] = 0.5 * ((case.wrong[name] - values.mean()) / values.std()) ** 2
        else:
            frequencies = (values.value_counts() + 1) / (len(values) + 1)
            nats[:, i] = -np.log(case.wrong[name].map(frequencies).fillna(1 / (len(values) + 1)))
    return nats.argmax(1)


def by_shap(detector: VAEDetector, case: Case) -> np.ndarray:
    """Rank by permutation Shapley values (SHAP) of the same model's score, with 50 training rows as background."""
    import shap

    is_text = {name for name, values in case.train.items() if values.dtype.kind not in "biuf"}
    levels = {name: pd.Index(case.train[name].unique()) for name in is_text}

    def encode(table: pd.DataFrame) -> np.ndarray:
        codes = {name: index.get_indexer(table[name]) for name, index in levels.items()}
        return table.assign(**codes).to_numpy(np.float64)

    def score(x: np.ndarray) -> np.ndarray:
        table = pd.DataFrame(x, columns=case.train.columns)
        text = {name: index[table[name].astype(int)] for name, index in levels.items()}
        return detector.anomaly_score(table.assign(**text))

    background = encode(case.train.sample(SHAP_ROWS, random_state=0))
    explainer = shap.PermutationExplainer(score, background, seed=0)
    values = explainer(encode(case.wrong), max_evals=2 * background.shape[1] + 1, silent=True)
    return np.asarray(values.values).argmax(1)


METHODS: dict[str, tuple[Callable[[VAEDetector, Case], np.ndarray], int]] = {
    "explain: surprise": (by_surprise, PLANTED),
    "explain: nats": (by_nats, PLANTED),
    "each column by itself": (by_margins, PLANTED),
    "SHAP on the same score": (by_shap, SHAP_ROWS),
}


def measure(case: Case, seed: int) -> Iterator[dict[str, object]]:
    """Fraction of rows in which each method ranks the wrong column first, and milliseconds for each row."""
    for setting, parameters in SETTINGS.items():
        detector = VAEDetector(**parameters, random_state=seed).fit(case.train)
        for method, (rank, rows) in METHODS.items():
            few = Case(case.name, case.train, case.wrong[:rows], case.columns[:rows])
            first = timed(rank, detector, few)
            yield {
                "table": case.name,
                "setting": setting,
                "method": method,
                "rows": rows,
                "right": float((first.result == few.columns).mean()),
                "ms": 1000 * first.seconds / rows,
            }


def sum_errors(data: Path) -> pd.DataFrame:
    """Largest difference between a row's score and the sum of its contributions, for each table and setting."""
    tables = {path.stem: _frame(read_table(path, 2000).x) for path in find_tables(data / "adbench")}
    rows = read_connections(data / "nsl_kdd" / "train.csv").rows[:4000]
    is_missing = np.random.default_rng(0).random(rows.shape) < 0.1
    tables["NSL-KDD, 10 % of the cells missing"] = rows.mask(is_missing)
    largest = {}
    for name, table in tables.items():
        for setting, parameters in SETTINGS.items():
            detector = VAEDetector(**parameters, random_state=0).fit(table)
            gap = detector.explain(table)["nats"].sum(axis=1) - detector.anomaly_score(table)
            largest[name, setting] = float(np.abs(gap).max())
    return pd.Series(largest).unstack()


def explain_seconds(rows: int, columns: int) -> pd.DataFrame:
    """Seconds of `score_samples` and `explain`, and their ratio; the best of five runs."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2 * rows, 8)) @ rng.normal(size=(8, columns)) + 0.3 * rng.normal(size=(2 * rows, columns))
    figures = {}
    for setting, parameters in SETTINGS.items():
        detector = VAEDetector(**parameters, random_state=0).fit(x[:rows])
        methods = (detector.score_samples, detector.explain)
        runs = [[timed(method, x[rows:]).seconds for method in methods] for _ in range(5)]
        score, explain = np.min(runs, axis=0)
        figures[setting] = {"score_samples, s": score, "explain, s": explain, "ratio": explain / score}
    return pd.DataFrame(figures).T


def interval(fraction: float, rows: int) -> float:
    """Half the width of the 95 % interval of a fraction, in the normal approximation."""
    return float(norm.ppf(0.975) * np.sqrt(fraction * (1 - fraction) / rows))


def write_page(right: pd.DataFrame, sums: pd.DataFrame, seconds: pd.DataFrame, facts: list[str]) -> str:
    """Text of the page."""
    right = right.assign(text=[f"{r.right:.3f} ± {interval(r.right, r.rows):.3f}" for r in right.itertuples()])
    tables = []
    for setting, figures in right.groupby("setting", sort=False):
        wide = figures.pivot_table(index="table", columns="method", values="text", aggfunc="first", sort=False)
        tables += [f"### {setting}", markdown(wide, [""] * wide.shape[1], "table")]
    milliseconds = right.pivot_table(index="table", columns="method", values="ms", aggfunc="mean", sort=False)
    return (
        "\n\n".join(
            [
                "# Reasons",
                "## Is the wrong cell ranked first?",
                f"One cell of each of {PLANTED} normal rows is replaced by another row's value, at least {FAR:g} "
                f"standard deviations from its expected value. In the mixed table, the {NEAREST} rows most similar in "
                "the other columns define what is expected: the new value differs from theirs by at least a standard "
                "deviation, or is a category that none of them has. Fraction of rows in which that column is ranked "
                f"first, ± half the width of the 95 % interval; SHAP on {SHAP_ROWS} rows.",
                *tables,
                "Milliseconds for each row, mean of both settings:",
                markdown(milliseconds, [".2f"] * milliseconds.shape[1], "table"),
                "## Do the contributions add up to the score?",
                "Largest difference over the rows, in nats (at most 2,000 rows of each ADBench set).",
                markdown(sums, [".1e"] * sums.shape[1], "table"),
                "## How long do they take?",
                "10,000 rows of 40 columns, with 10,000 others for training; the best of five runs.",
                markdown(seconds, [".2f", ".2f", ".2f"], "setting"),
                provenance_section(facts),
            ]
        )
        + "\n"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print and write the page."""
    parser = make_parser("benchmarks.reasons", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that contains adbench/ and nsl_kdd/")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    cases = [correlated(columns, factors, 0) for columns, factors in ((10, 3), (20, 5), (40, 8))]
    cases.append(connections(arguments.data / "nsl_kdd" / "train.csv", 0))
    right = pd.DataFrame([figure for case in cases for figure in measure(case, 0)])
    facts = provenance("benchmarks.reasons", argv)
    text = write_page(right, sum_errors(arguments.data), explain_seconds(10_000, 40), facts)
    (arguments.output / "reasons.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
