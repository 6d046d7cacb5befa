"""The report page: `write_report` gathers everything that it says in a `Page` and renders ``page.html``."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from importlib.resources import files
from os import PathLike
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from vae_anomaly.data.parse import as_frame, is_frame
from vae_anomaly.errors import DataError
from vae_anomaly.formatting import counted, nats, p_value, percent, shorten, with_minus
from vae_anomaly.io.atomic import whole_file
from vae_anomaly.report import check_path, require_jinja
from vae_anomaly.report.anomalous_rows import AnomalousRows
from vae_anomaly.report.charts import Histogram, Scatter, Timeline
from vae_anomaly.report.facts import ModelFacts, Origin, TableFacts
from vae_anomaly.report.scored_rows import ScoredRows
from vae_anomaly.scoring.decide import MANY, FlaggingRule, hardly_outliers

if TYPE_CHECKING:
    from jinja2 import Template

    from vae_anomaly.detector import VAEDetector

MOST_ROWS = 500
LEAST_SHARE = 0.001  # of the surprise of a row, from which it is a number


def write_report(
    detector: "VAEDetector",
    X: Any,
    path: str | PathLike[str],
    *,
    title: str = "Anomalous rows",
    noun: str | None = None,
    origin: Mapping[str, str] | None = None,
    keep: Sequence[str] | pd.DataFrame | None = None,
    top: int = 100,
    fdr: float | None = None,
    alerts: int | None = None,
    false_alarm_rate: float | None = None,
    compare: bool = True,
) -> None:
    """
    Write what the detector finds in a table as one HTML page, which appears whole or not at all.

    The page is for a reader who decides what to do about the rows. It says how many need a look, groups them by the
    columns that lead their reasons with an example of each pattern, and lists the most anomalous rows with their
    reasons, the rows over time where there is a column of dates, and on the two columns that lead the reasons. A
    reviewer can give each row or pattern a verdict, which the browser keeps, and download the verdicts and the flagged
    rows as CSV. Then come the distribution of the scores, the findings of `VAEDetector.diagnose`, the columns with
    their drift since training, and where the page comes from. It needs no network, and all values of the table are
    escaped.

    Parameters
    ----------
    detector : VAEDetector
        Fitted. For images, the page has pictures instead of reasons by column.
    X : DataFrame or array-like
        (rows, columns).
    path : path-like
        A file whose name ends in ``.html``.
    title : str
        What the page is about, in a line above the heading.
    noun : str, optional
        What the rows are, in the plural, such as "invoices"; by default "rows" or "images".
    origin : mapping of str to str, optional
        Where the page comes from, such as file, digest, model and command, by their names. The date is always there: it
        is now, or that of the environment variable SOURCE_DATE_EPOCH.
    keep : sequence of str or DataFrame, optional
        Columns that identify a row: names of columns of ``X``, which the model need not use, or a frame with as many
        rows.
    top : int
        Number of rows to list with their reasons, from 1 to 500.
    fdr, alerts, false_alarm_rate : optional
        How to flag rows, as in `VAEDetector.detect`; by default as `VAEDetector.predict` does.
    compare : bool
        Whether to compare the rows with the training rows, by `VAEDetector.drift`, which may fit a second model. Pass
        False if they are the same rows: the comparison is then meaningless.

    Raises
    ------
    DataError
        The file has another suffix or no folder, or ``X`` does not fit the model.
    MissingExtraError
        Jinja2 is not installed.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from vae_anomaly import VAEDetector
    >>> from vae_anomaly.report import write_report
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> detector = VAEDetector(max_iter=40, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_report(detector, X, Path(folder, "report.html"), title="Noise", compare=False)
    ...     "<title>Noise</title>" in Path(folder, "report.html").read_text()
    True
    """
    require_jinja()
    check_path(path)
    check_is_fitted(detector)
    if not 1 <= top <= MOST_ROWS:
        raise DataError(f"The report lists from 1 to {MOST_ROWS:,} rows; top={top} was asked for.")
    table = as_frame(X) if is_frame(X) else np.ma.filled(np.ma.asarray(X, dtype=np.float64), np.nan)
    rule = FlaggingRule(fdr, alerts, false_alarm_rate)
    page = Page.of(detector, ScoredRows.of(detector, table, keep, rule), rule, top=top, compare=compare)
    nouns = shorten(noun, 40) if noun else f"{page.table.noun}s"
    text = _render(shorten(title, 120), nouns, page, Origin.now(origin))
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")


@dataclass(frozen=True)
class Page:
    """Everything on the page except its title and origin."""

    version: str
    table: TableFacts
    model: ModelFacts
    n_flagged: int
    rule: str
    remark: str
    histogram: Histogram
    kept: list[str | int]
    anomalous: AnomalousRows
    timeline: Timeline | None
    scatter: Scatter | None

    @classmethod
    def of(cls, detector: "VAEDetector", scored: ScoredRows, rule: FlaggingRule, *, top: int, compare: bool) -> Self:
        """Explain the ``top`` most anomalous rows, and gather the facts and charts of all rows and of the model."""
        drift = detector.drift(scored.rows, ordered=False, random_state=0).columns if compare else None
        training = -detector.model_.reference.scores if compare else None
        table, model = TableFacts.of(detector, scored, drift), ModelFacts.of(detector)
        threshold = -float(detector.offset_) if rule.is_default else None
        if threshold is None and scored.flagged.any():
            threshold = float(scored.scores[scored.flagged].min())
        is_asked = not rule.is_default or detector.contamination != "auto"
        too_many = scored.flagged.mean() > MANY and not is_asked
        anomalous = AnomalousRows.of(detector, scored, top)
        return cls(
            version=version("vae-anomaly"),
            table=table,
            model=model,
            n_flagged=int(scored.flagged.sum()),
            rule=rule.sentence(detector.false_alarm_rate_, table.noun),
            remark=hardly_outliers(f"{table.noun}s") if too_many else "",
            histogram=Histogram.of(scored.scores, training, threshold),
            kept=list(scored.kept.columns),
            anomalous=anomalous,
            timeline=Timeline.of(detector, scored),
            scatter=Scatter.of(detector, scored, anomalous.columns, top) if len(anomalous.columns) == 2 else None,
        )


def _headline(n_flagged: int, n_rows: int, nouns: str) -> str:
    """How many rows need a look.

    Examples
    --------
    >>> _headline(12, 2400, "invoices"), _headline(1, 300, "rows"), _headline(0, 1, "rows")
    ('12 of 2,400 invoices need a look', '1 of 300 rows needs a look', 'None of 1 row needs a look')
    """
    number, verb = f"{n_flagged:,}" if n_flagged else "None", "needs" if n_flagged < 2 else "need"
    return f"{number} of {counted(n_rows, nouns)} {verb} a look"


@cache
def _template() -> "Template":
    """The template, compiled once a process: that takes half a second."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup, escape

    environment = Environment(
        loader=PackageLoader("vae_anomaly.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(counted=counted)
    environment.filters.update(
        nats=lambda value: with_minus(nats(value)),
        percent=percent,
        share=lambda fraction: percent(fraction) if fraction >= LEAST_SHARE else "",
        p_value=p_value,
        short=partial(shorten, most=60),  # a name or a value
        long=partial(shorten, most=600),  # a sentence
        breakable=lambda name: escape(name).replace("_", Markup("_<wbr>")),  # long names break at underlines on a phone
    )
    return environment.get_template("page.html")


def _render(title: str, nouns: str, page: Page, origin: Origin) -> str:
    """HTML of the page; its policy admits only its own script, by the script's digest."""
    from markupsafe import Markup

    folder = files("vae_anomaly.report")
    script, style = (folder.joinpath(name).read_text("utf-8") for name in ("page.js", "page.css"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _template().render(
        title=title,
        headline=_headline(page.n_flagged, page.table.n_rows, nouns),
        key=hashlib.sha256(f"{title}\n{page.anomalous.csv}".encode("utf-8", "replace")).hexdigest(),
        page=page,
        origin=origin,
        script=Markup(script),
        style=Markup(style),
        digest=digest,
    )
