"""Write the report: one file that a browser opens without asking anything of any network."""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from vae_anomaly.data.parse import as_frame, is_frame
from vae_anomaly.errors import DataError
from vae_anomaly.formatting import percent, shorten
from vae_anomaly.io.atomic import whole_file
from vae_anomaly.report.content import Content
from vae_anomaly.report.needs import check_path, require_jinja
from vae_anomaly.report.rule import Rule
from vae_anomaly.report.words import nats

if TYPE_CHECKING:
    from vae_anomaly.detector import VAEDetector

MOST_ROWS = 500
_LONGEST_TITLE = 120


def write_report(
    detector: "VAEDetector",
    X: Any,
    path: str | PathLike[str],
    *,
    title: str = "Odd rows",
    keep: Sequence[str] | pd.DataFrame | None = None,
    top: int = 100,
    fdr: float | None = None,
    alerts: int | None = None,
    false_alarm_rate: float | None = None,
    compare: bool = True,
) -> None:
    """
    Write what the detector makes of a table as one HTML page, which appears whole or not at all.

    The page says how many rows are flagged and by which rule, how their scores are distributed, which rows are the
    oddest and why, where they lie among the others, whether the model is any good, and what became of each column since
    training. It needs no network, and everything that the table holds is text in it.

    Parameters
    ----------
    detector : VAEDetector
        Fitted. Of images the page has pictures where tables have reasons by column.
    X : DataFrame or array-like
        (rows, columns).
    path : path-like
        A file whose name ends in ``.html``.
    title : str
        Stands above the page.
    keep : sequence of str or DataFrame, optional
        To know a row by: columns of ``X``, which the model need not use, or a frame with as many rows.
    top : int
        Rows to list with their reasons, from 1 to 500.
    fdr, alerts, false_alarm_rate : optional
        How to flag rows, as in ``detect``; by default those beyond the threshold of the model.
    compare : bool
        Whether to hold the rows against those of training, by `VAEDetector.drift`, which may fit a second model. It
        says nothing where they are the same rows.

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
    ...     "<h1>Noise</h1>" in Path(folder, "report.html").read_text()
    True
    """
    require_jinja()
    check_path(path)
    check_is_fitted(detector)
    if not 1 <= top <= MOST_ROWS:
        raise DataError(f"The report lists from 1 to {MOST_ROWS:,} rows; top={top} was asked for.")
    rows = as_frame(X) if is_frame(X) else np.ma.filled(np.ma.asarray(X, dtype=np.float64), np.nan)
    rule = Rule(fdr, alerts, false_alarm_rate)
    content = Content.of(detector, rows, keep, top=top, rule=rule, compare=compare)
    page = render(shorten(title, _LONGEST_TITLE), content)
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def render(title: str, content: Content) -> str:
    """The page; the script is known to it by its digest, so that no other script would run."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup, escape

    def breakable(name: str) -> Markup:
        """A name that may go on in the next line after an underline, as long names of columns must on a phone."""
        return escape(name).replace("_", Markup("_<wbr>"))

    environment = Environment(
        loader=PackageLoader("vae_anomaly.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(nats=nats, percent=percent, breakable=breakable)
    folder = files("vae_anomaly.report")
    script, style = (folder.joinpath(name).read_text("utf-8") for name in ("page.js", "page.css"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("page.html").render(
        title=title, page=content, script=Markup(script), style=Markup(style), digest=digest
    )
