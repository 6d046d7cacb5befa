"""The rows of a report, each with its reasons: bars by column, or pictures of an image; and their patterns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd

from vae_anomaly.explain.shown import ShownReasons, ShownRows
from vae_anomaly.formatting import is_missing
from vae_anomaly.io.write import csv_text
from vae_anomaly.plots.anomalies import leading_columns
from vae_anomaly.report.patterns import Pattern, find_patterns
from vae_anomaly.report.pictures import Pictures
from vae_anomaly.report.scored_rows import ScoredRows

if TYPE_CHECKING:
    from vae_anomaly.detector import VAEDetector

MOST_GROUPED = 1000  # flagged rows whose reasons are grouped, the most anomalous
LEAST_PART = 0.05  # of the surprise, from which a column is drawn
MOST_CARDS = 12  # patterns that have a card
SHOWN_OF_PATTERN = 5  # rows of one pattern that the table shows at first
MOST_COPIED, MOST_TEXT = 5_000, 1_500_000  # flagged rows, and letters, that the page carries for their file


@dataclass(frozen=True)
class AnomalousRow:
    """A row of the page's table: ``reasons`` if it has columns, ``pictures`` if it is an image.

    ``number`` counts from 1, ``kept`` are the values that identify the row, ``baseline`` is the score that it would
    have if each column contributed what is typical of it, ``surprise`` is the difference. ``pattern`` is the number of
    its pattern, 0 if it has reasons of its own or is not flagged; ``repeats`` where earlier rows show its pattern.
    """

    number: int
    kept: list[object]
    severity: float
    score: float
    p_value: float
    flagged: bool
    baseline: float
    surprise: float
    reasons: ShownReasons | None
    pictures: Pictures | None
    pattern: int
    repeats: bool

    @property
    def severity_text(self) -> str:
        """Severity with one decimal; 100 only beyond all reference rows."""
        return "100" if self.severity == 100 else f"{math.floor(10 * self.severity) / 10:g}"


@dataclass(frozen=True)
class PatternCard:
    """A pattern with its most anomalous row as example; ``rows`` are the numbers of all its rows, from 1."""

    number: int
    title: str
    remarks: list[str]
    rows: list[int]
    example: AnomalousRow


@dataclass(frozen=True)
class AnomalousRows:
    """Listed rows, most anomalous first; the patterns of the flagged ones, and these as the text of a CSV file.

    ``columns`` are two that lead the reasons, for a map; fewer where there are none. ``n_alone`` flagged rows are in no
    pattern, and ``n_ungrouped`` were too many to be grouped; ``n_copied`` flagged rows are in the file.
    """

    listed: list[AnomalousRow]
    cards: list[PatternCard]
    n_patterns: int
    n_alone: int
    n_ungrouped: int
    columns: list[str | int]
    csv: str
    n_copied: int

    @classmethod
    def of(cls, detector: "VAEDetector", scored: ScoredRows, top: int) -> Self:
        """The ``top`` most anomalous rows; they and the flagged ones are explained, once."""
        n_flagged, is_table = int(scored.flagged.sum()), detector.image_shape is None
        n_grouped = min(n_flagged, MOST_GROUPED) if is_table else 0
        order = scored.most_anomalous(max(top, n_grouped))
        shown = ShownRows.of(detector.model_, scored.select(order), scored.frame if is_table else None)
        patterns = find_patterns(shown.first(n_grouped)) if n_grouped else []
        common = [pattern for pattern in patterns if len(pattern.members) > 1]
        numbers, earlier = _places(common, len(order))
        rows = _RowMaker(detector, scored, shown, order, numbers, earlier)
        text, n_copied = _csv_of(scored, order, numbers, n_grouped, is_table)
        return cls(
            listed=[rows.make(place) for place in range(min(top, len(order)))],
            cards=[
                PatternCard(
                    number,
                    pattern.title,
                    pattern.remarks,
                    (order[pattern.members] + 1).tolist(),
                    rows.make(int(pattern.members[0])),
                )
                for number, pattern in enumerate(common[:MOST_CARDS], 1)
            ],
            n_patterns=len(common),
            n_alone=len(patterns) - len(common),
            n_ungrouped=n_flagged - n_grouped if is_table else 0,
            columns=leading_columns(detector, shown.first(max(n_grouped, 1)), LEAST_PART)[:2] if is_table else [],
            csv=text,
            n_copied=n_copied,
        )


def _places(patterns: Sequence[Pattern], n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Number of the pattern of each explained row, 0 for none, and how many earlier rows it has; both (rows,)."""
    numbers, earlier = np.zeros(n_rows, np.int64), np.zeros(n_rows, np.int64)
    for number, pattern in enumerate(patterns, 1):
        numbers[pattern.members] = number
        earlier[pattern.members] = np.arange(len(pattern.members))
    return numbers, earlier


@dataclass(frozen=True, eq=False)
class _RowMaker:
    """Rows of the page from explained rows, of which ``order`` holds the indices in the table."""

    detector: "VAEDetector"
    scored: ScoredRows
    shown: ShownRows
    order: np.ndarray
    numbers: np.ndarray
    earlier: np.ndarray

    def make(self, place: int) -> AnomalousRow:
        """The explained row at this place."""
        row, shape, scored = int(self.order[place]), self.detector.image_shape, self.scored
        baseline, score = self.shown.baseline(place), float(scored.scores[row])
        return AnomalousRow(
            number=row + 1,
            kept=["" if is_missing(value) else value for value in scored.kept.iloc[row]],
            severity=float(scored.severities[row]),
            score=score,
            p_value=float(scored.p_values[row]),
            flagged=bool(scored.flagged[row]),
            baseline=baseline,
            surprise=score - baseline,
            reasons=self.shown.reasons(place) if shape is None else None,
            pictures=None if shape is None else self._pictures(place, shape),
            pattern=int(self.numbers[place]),
            repeats=bool(self.earlier[place] >= SHOWN_OF_PATTERN),
        )

    def _pictures(self, place: int, shape: Sequence[int]) -> Pictures:
        """Pictures of an image; the darkest and the brightest pixel of training are black and white."""
        darkest, brightest = self.detector.schema_.to_json()["range"]
        found = self.shown.found
        seen, expected = (
            (figure.iloc[place].to_numpy(np.float64, na_value=np.nan) - darkest) / (brightest - darkest)
            for figure in (found.value, found.expected)
        )
        return Pictures.of(seen, expected, found.surprise.iloc[place, :-1].to_numpy(np.float64), shape)


def _csv_of(
    scored: ScoredRows, order: np.ndarray, numbers: np.ndarray, n_grouped: int, is_table: bool
) -> tuple[str, int]:
    """Flagged rows as the text of a CSV file, most anomalous first, and how many they are."""
    table = scored.frame if is_table else scored.frame.iloc[:, :0]
    kept = scored.kept[[name for name in scored.kept.columns if name not in table.columns]]
    rows = np.flatnonzero(scored.flagged)
    rows = rows[np.argsort(-scored.scores[rows], kind="stable")][:MOST_COPIED]
    pattern_of = dict(zip(order[:n_grouped].tolist(), numbers[:n_grouped].tolist(), strict=True))
    facts = pd.DataFrame(
        {
            "row": rows + 1,
            "severity": scored.severities[rows],
            "anomaly_score": scored.scores[rows],
            "p_value": scored.p_values[rows],
            "pattern": pd.array([pattern_of.get(row) or None for row in rows.tolist()], dtype="Int64"),
        }
    )
    parts = [part.iloc[rows].reset_index(drop=True) for part in (kept, table)]
    copied = pd.concat([facts, *parts], axis=1)
    text = csv_text(copied)
    while len(text) > MOST_TEXT and len(copied):
        copied = copied[: len(copied) * MOST_TEXT // (len(text) + MOST_TEXT // 100)]
        text = csv_text(copied)
    return text, len(copied)
