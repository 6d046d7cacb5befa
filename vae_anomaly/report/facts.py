"""Facts on the table and its model: columns and cells, what moved since training, what the model says of itself."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import pandas as pd

from vae_anomaly.formatting import p_value, shorten
from vae_anomaly.plots.columns import columns_in_use
from vae_anomaly.report.judged import Judged
from vae_anomaly.report.words import LONGEST, MOST

if TYPE_CHECKING:
    from vae_anomaly.detector import VAEDetector

_SCORE = "(score)"  # the row of a drift that is of no column
_KINDS = {"flag": "yes or no"}
_NOT_IN_FIT = "was not there when the model was fitted"
_VERDICTS = ("bad", "look", "good")


@dataclass(frozen=True)
class Moved:
    """What became of a column, or the score, since training; the p-value is adjusted for all that was tested."""

    drifted: bool
    p_value: float
    message: str

    @classmethod
    def of(cls, drift: pd.DataFrame | None, name: str | int) -> Self | None:
        """What a drift says under a name; None where nothing was compared."""
        if drift is None:
            return None
        said = drift.loc[[name]].iloc[0]
        return cls(bool(said["drifted"]), float(said["adjusted_p_value"]), shorten(said["message"], LONGEST))

    @property
    def p_text(self) -> str:
        """The p-value as it is shown."""
        return p_value(self.p_value)


@dataclass(frozen=True)
class UsedColumn:
    """A column that the model uses."""

    name: str
    kind: str
    n_missing: int
    moved: Moved | None


@dataclass(frozen=True)
class TableFacts:
    """What the table is, and what has moved in it.

    A ``noun`` has ``part``s: rows columns, images pixels; ``columns`` are those of a table, what moved first.
    """

    noun: str
    part: str
    n_rows: int
    n_parts: int
    n_missing: int
    columns: list[UsedColumn]
    left_out: dict[str, str]
    n_moved: int
    score_moved: Moved | None

    @classmethod
    def of(cls, detector: "VAEDetector", judged: Judged, drift: pd.DataFrame | None) -> Self:
        """From the table, and the columns of a drift where it was compared."""
        missing = judged.frame[detector.schema_.names].isna().sum()
        is_table = detector.image_shape is None
        columns = [
            UsedColumn(
                name=shorten(column.name, MOST),
                kind=_KINDS.get(column.kind, column.kind),
                n_missing=int(missing[column.name]),
                moved=Moved.of(drift, column.name),
            )
            for column in (columns_in_use(detector) if is_table else [])
        ]
        return cls(
            noun="row" if is_table else "image",
            part="column" if is_table else "pixel",
            n_rows=len(judged),
            n_parts=len(missing),
            n_missing=int(missing.sum()),
            columns=sorted(columns, key=lambda column: column.moved is None or not column.moved.drifted),
            left_out=_left_out(detector, judged.frame),
            n_moved=0 if drift is None else int(drift["drifted"].drop(_SCORE).sum()),
            score_moved=Moved.of(drift, _SCORE),
        )

    @property
    def missing_share(self) -> float:
        """Missing cells of all."""
        return self.n_missing / (self.n_rows * self.n_parts)

    @property
    def compared(self) -> bool:
        """Whether the rows were held against those of training."""
        return self.score_moved is not None


@dataclass(frozen=True)
class Finding:
    """One thing that the model says of itself; ``verdict`` is "good", "look" or "bad"."""

    check: str
    verdict: str
    message: str


@dataclass(frozen=True)
class ModelFacts:
    """What the model is, and its findings on itself, the worst first."""

    n_rows: int
    novelty: bool
    unit: str  # of scores
    findings: list[Finding]

    @classmethod
    def of(cls, detector: "VAEDetector") -> Self:
        """Ask the model."""
        told = detector.diagnose()[["check", "verdict", "message"]]
        findings = [
            Finding(shorten(check, MOST).replace("_", " "), str(verdict), shorten(message, LONGEST))
            for check, verdict, message in told.itertuples(index=False)
        ]
        return cls(
            n_rows=detector.n_samples_fit_,
            novelty=detector.novelty,
            unit="nats" if detector.variational else "squared errors",
            findings=sorted(findings, key=lambda finding: _VERDICTS.index(finding.verdict)),
        )

    @property
    def verdict(self) -> str:
        """The worst of all."""
        return self.findings[0].verdict if self.findings else _VERDICTS[-1]


def _left_out(detector: "VAEDetector", frame: pd.DataFrame) -> dict[str, str]:
    """Columns of the fit and of the table that the model does not use, with the reason."""
    known = {*detector.schema_.names, *detector.schema_.left_out}
    reasons = dict(detector.schema_.left_out)
    reasons.update((name, _NOT_IN_FIT) for name in frame.columns if name not in known)
    return {shorten(name, MOST): shorten(reason, LONGEST) for name, reason in reasons.items()}
