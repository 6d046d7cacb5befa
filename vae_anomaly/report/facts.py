"""Facts about the table, the model and the origin of a report: columns, missing cells, drift, findings, command."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

import pandas as pd

from vae_anomaly.data.duplicates import describe_duplicates, find_duplicates
from vae_anomaly.report.scored_rows import ScoredRows

if TYPE_CHECKING:
    from vae_anomaly.detector import VAEDetector

_SCORE = "(score)"  # the row of a drift table that is about the scores


@dataclass(frozen=True)
class ColumnDrift:
    """Drift of a column, or of the score, since training; the p-value is adjusted for the number of tests."""

    drifted: bool
    p_value: float
    message: str

    @classmethod
    def of(cls, drift: pd.DataFrame | None, name: str | int) -> Self | None:
        """The row of a drift table with this name; None if nothing was compared."""
        if drift is None:
            return None
        row = drift.loc[[name]].iloc[0]
        return cls(bool(row["drifted"]), float(row["adjusted_p_value"]), str(row["message"]))


@dataclass(frozen=True)
class UsedColumn:
    """A column that the model uses."""

    name: str | int
    kind: str
    n_missing: int
    drift: ColumnDrift | None


@dataclass(frozen=True)
class TableFacts:
    """Size, missing cells, duplicates and drift of a table.

    ``noun`` is "row" and ``part`` "column", or "image" and "pixel"; ``columns`` are those of a table, drifted ones
    first; ``left_out`` has the reason for each column of the training table or of this one that the model does not use.
    """

    noun: str
    part: str
    n_rows: int
    n_parts: int
    n_missing: int
    columns: list[UsedColumn]
    left_out: dict[str | int, str]
    duplicates: str  # a sentence, empty if there are none
    n_drifted: int
    score_drift: ColumnDrift | None

    @classmethod
    def of(cls, detector: "VAEDetector", scored: ScoredRows, drift: pd.DataFrame | None) -> Self:
        """Facts about a scored table, and about its drift if it was compared with the training rows."""
        schema = detector.schema_
        missing = scored.frame[schema.names].isna().sum()
        is_table = detector.image_shape is None
        columns = [
            UsedColumn(name, {"flag": "yes or no"}.get(kind, kind), int(missing[name]), ColumnDrift.of(drift, name))
            for name, kind in (zip(schema.names, schema.kinds, strict=True) if is_table else ())
        ]
        known = {*schema.names, *schema.left_out}
        unknown: dict[str | int, str] = {
            name: "was not in the training table" for name in scored.frame.columns if name not in known
        }
        return cls(
            noun="row" if is_table else "image",
            part="column" if is_table else "pixel",
            n_rows=len(scored.scores),
            n_parts=len(missing),
            n_missing=int(missing.sum()),
            columns=sorted(columns, key=lambda column: column.drift is None or not column.drift.drifted),
            left_out=schema.left_out | unknown,
            duplicates=_duplicates(scored.frame, schema.left_out) if is_table else "",
            n_drifted=0 if drift is None else int(drift["drifted"].drop(_SCORE).sum()),
            score_drift=ColumnDrift.of(drift, _SCORE),
        )


def _duplicates(frame: pd.DataFrame, left_out: dict[str | int, str]) -> str:
    """Rows that repeat an earlier one, but for columns left out, in a sentence."""
    found = find_duplicates(frame, ignore=[name for name in frame.columns if name in left_out])
    return describe_duplicates(frame, found)


@dataclass(frozen=True)
class Origin:
    """Where a page comes from: its date and time, and texts such as file, digest, model and command by their names.

    The time is that of writing, or of the environment variable SOURCE_DATE_EPOCH, as reproducible builds set it.
    """

    time: datetime
    texts: Mapping[str, str]

    @classmethod
    def now(cls, texts: Mapping[str, str] | None) -> Self:
        """The origin of a page that is written now."""
        epoch = os.environ.get("SOURCE_DATE_EPOCH")
        time = datetime.now(UTC) if epoch is None else datetime.fromtimestamp(int(epoch), UTC)
        return cls(time, texts or {})


@dataclass(frozen=True)
class Finding:
    """A check of the model by `VAEDetector.diagnose`; ``verdict`` is "good", "look" or "bad"."""

    check: str
    verdict: str
    message: str


@dataclass(frozen=True)
class ModelFacts:
    """Training of the model, and its findings, the worst first."""

    n_rows: int
    novelty: bool
    unit: str  # of scores
    findings: list[Finding]
    verdict: str  # the worst of the findings

    @classmethod
    def of(cls, detector: "VAEDetector") -> Self:
        """Facts about a fitted detector."""
        diagnosis = detector.diagnose()[["check", "verdict", "message"]]
        findings = [Finding(*map(str, finding)) for finding in diagnosis.itertuples(index=False)]
        findings.sort(key=lambda finding: ("bad", "look", "good").index(finding.verdict))
        return cls(
            n_rows=detector.n_samples_fit_,
            novelty=detector.novelty,
            unit="nats" if detector.variational else "squared errors",
            findings=findings,
            verdict=findings[0].verdict if findings else "good",
        )
