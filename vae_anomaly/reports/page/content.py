"""What the page says of a table and its model, gathered and put into words; the template only lays it out."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vae_anomaly.errors import DataError
from vae_anomaly.reports.labels import counted, share, short_text
from vae_anomaly.reports.page.columns import SCORE, Moved, UsedColumn, moved, used_columns
from vae_anomaly.reports.page.histogram import Histogram
from vae_anomaly.reports.page.oddest import OddRow, oddest_places, oddest_rows
from vae_anomaly.reports.page.rule import Rule
from vae_anomaly.reports.page.scatter import Scatter
from vae_anomaly.reports.page.words import LONGEST, MOST

if TYPE_CHECKING:
    from vae_anomaly.detector import VAEDetector

_VERDICTS = ("bad", "look", "good")
_NOT_IN_FIT = "was not there when the model was fitted"


@dataclass(frozen=True)
class Finding:
    """One thing that the model says of itself; ``verdict`` is "good", "look" or "bad"."""

    check: str
    verdict: str
    sentence: str


@dataclass(frozen=True)
class Content:
    """Everything on the page.

    ``unit`` is that of the scores; a ``noun`` has ``part``s: rows columns, images pixels. ``columns`` has no pixels.
    """

    title: str
    version: str
    unit: str
    noun: str
    part: str
    n_rows: int
    n_trained: int
    novelty: bool
    n_flagged: int
    flagged_share: str
    rule: str
    n_missing: int
    missing_share: str
    n_columns: int
    n_moved: int
    left_out: dict[str, str]
    histogram: Histogram
    median: float
    trained_median: float | None
    kept: list[str]
    rows: list[OddRow]
    scatter: Scatter
    findings: list[Finding]
    columns: list[UsedColumn]
    score_moved: Moved | None
    compared: bool

    @property
    def worst(self) -> str:
        """The worst verdict on the model."""
        return min((finding.verdict for finding in self.findings), key=_VERDICTS.index, default="good")


def gather(
    detector: "VAEDetector",
    X: pd.DataFrame | np.ndarray,
    *,
    title: str,
    kept: pd.DataFrame,
    top: int,
    rule: Rule,
    compare: bool,
) -> Content:
    """Score the table, explain its oddest rows, and say what there is to say of table and model."""
    frame = _under_names_of_the_fit(X)
    rows = _without_strangers(detector, X)
    detected = rule.apply(detector, rows)
    scores = detected["anomaly_score"].to_numpy(dtype=np.float64)
    odd = detected["is_anomaly"].to_numpy(dtype=bool)
    drift = detector.drift(rows, ordered=False, random_state=0).columns if compare else None
    names = detector.schema_.names
    n_missing = int(frame[names].isna().to_numpy().sum())
    training = -detector._fitted.reference.scores if compare else None
    image_shape = detector.image_shape
    noun = "row" if image_shape is None else "image"
    unit = "nats" if detector.variational else "squared errors"
    return Content(
        title=title,
        version=version("vae-anomaly"),
        unit=unit,
        noun=noun,
        part="column" if image_shape is None else "pixel",
        n_rows=len(scores),
        n_trained=detector.n_samples_fit_,
        novelty=detector.novelty,
        n_flagged=int(odd.sum()),
        flagged_share=share(odd.mean()),
        rule=rule.in_words(detector, noun, unit),
        n_missing=n_missing,
        missing_share=share(n_missing / (len(scores) * len(names))),
        n_columns=len(names),
        n_moved=0 if drift is None else int(drift["drifted"].drop(SCORE).sum()),
        left_out=_left_out(detector, frame),
        histogram=Histogram.of(scores, training, rule.line(detector, detected)),
        median=float(np.median(scores)),
        trained_median=None if training is None else float(np.median(training)),
        kept=[short_text(name, MOST) for name in kept.columns],
        rows=oddest_rows(detector, rows, frame, detected, kept, top),
        scatter=Scatter.of(detector, rows, scores, odd, oddest_places(detected, top)),
        findings=_findings(detector.diagnose()),
        columns=used_columns(detector, frame, drift) if image_shape is None else [],
        score_moved=moved(drift, SCORE),
        compared=compare,
    )


def kept_columns(X: pd.DataFrame | np.ndarray, keep: Sequence[str] | pd.DataFrame | None) -> pd.DataFrame:
    """The columns to know a row by: named ones of the table, or a frame of their own with as many rows."""
    if isinstance(keep, pd.DataFrame):
        if len(keep) != len(X):
            raise DataError(f"keep has {counted(len(keep), 'rows')}, and the table {len(X):,}. Give one for each row.")
        return keep
    names = list(keep or [])
    if names and not isinstance(X, pd.DataFrame):
        raise DataError("keep names columns, but X is an array without names. Give a DataFrame of the columns instead.")
    frame = X if isinstance(X, pd.DataFrame) else pd.DataFrame(index=range(len(X)))
    if lacking := [name for name in names if name not in frame.columns]:
        raise DataError(f"There is no column {lacking[0]!r} for keep. Name columns of X, or give a DataFrame of them.")
    return frame[names]


def _under_names_of_the_fit(rows: pd.DataFrame | np.ndarray) -> pd.DataFrame:
    """The table as a frame; columns of an array get the names that the model gave them."""
    if isinstance(rows, pd.DataFrame):
        return rows
    return pd.DataFrame(rows, columns=[f"x{place}" for place in range(rows.shape[1])], copy=False)


def _without_strangers(detector: "VAEDetector", rows: pd.DataFrame | np.ndarray) -> pd.DataFrame | np.ndarray:
    """The table without columns that the model never saw: the page names them, so that nobody need be warned."""
    if not isinstance(rows, pd.DataFrame):
        return rows
    known = {*detector.schema_.names, *detector.schema_.left_out}
    return rows[[name for name in rows.columns if name in known]]


def _left_out(detector: "VAEDetector", frame: pd.DataFrame) -> dict[str, str]:
    """Columns of the fit and of the table that the model does not use, with the reason."""
    known = {*detector.schema_.names, *detector.schema_.left_out}
    reasons = dict(detector.schema_.left_out)
    reasons.update((name, _NOT_IN_FIT) for name in frame.columns if name not in known)
    return {short_text(name, MOST): short_text(reason, LONGEST) for name, reason in reasons.items()}


def _findings(diagnosis: pd.DataFrame) -> list[Finding]:
    """The worst first."""
    found = [
        Finding(short_text(check, MOST), str(verdict), short_text(sentence, LONGEST))
        for check, verdict, sentence in diagnosis[["check", "verdict", "sentence"]].itertuples(index=False)
    ]
    return sorted(found, key=lambda finding: _VERDICTS.index(finding.verdict))
