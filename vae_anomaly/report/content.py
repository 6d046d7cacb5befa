"""What the page says of a table and its model, gathered and put into words; the template only lays it out."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd

from vae_anomaly.formatting import shorten
from vae_anomaly.report.facts import ModelFacts, TableFacts
from vae_anomaly.report.histogram import Histogram
from vae_anomaly.report.judged import Judged
from vae_anomaly.report.oddest import OddRow, oddest_rows
from vae_anomaly.report.rule import Rule
from vae_anomaly.report.scatter import Scatter
from vae_anomaly.report.words import MOST

if TYPE_CHECKING:
    from vae_anomaly.detector import VAEDetector


@dataclass(frozen=True)
class Content:
    """Everything on the page but its title."""

    version: str
    table: TableFacts
    model: ModelFacts
    n_flagged: int
    rule: str
    histogram: Histogram
    kept: list[str]
    rows: list[OddRow]
    scatter: Scatter

    @classmethod
    def of(
        cls,
        detector: "VAEDetector",
        X: pd.DataFrame | np.ndarray,
        keep: Sequence[str] | pd.DataFrame | None,
        *,
        top: int,
        rule: Rule,
        compare: bool,
    ) -> Self:
        """Score the table, explain its oddest rows, and say what there is to say of table and model."""
        judged = Judged.of(detector, X, keep, rule)
        drift = detector.drift(judged.rows, ordered=False, random_state=0).columns if compare else None
        training = -detector.model_.reference.scores if compare else None
        table, model = TableFacts.of(detector, judged, drift), ModelFacts.of(detector)
        return cls(
            version=version("vae-anomaly"),
            table=table,
            model=model,
            n_flagged=int(judged.odd.sum()),
            rule=rule.in_words(detector, table.noun, model.unit),
            histogram=Histogram.of(judged.scores, training, rule.line(detector, judged.scores[judged.odd])),
            kept=[shorten(name, MOST) for name in judged.kept.columns],
            rows=oddest_rows(detector, judged, top),
            scatter=Scatter.of(detector, judged, top),
        )
