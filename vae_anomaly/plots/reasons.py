"""The reasons for the score of one row: a bar for each column, with the value seen and those expected."""

from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from vae_anomaly.data.parse import as_frame, index_of, is_frame
from vae_anomaly.errors import DataError
from vae_anomaly.explain.shown import ShownReason, ShownRows
from vae_anomaly.formatting import counted, listed, nats, shorten, with_minus, wrapped
from vae_anomaly.plots.figures import ACCENT, MEDIUM, QUIET, SMALL, TABLE, new_figure, require_fitted, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vae_anomaly.detector import VAEDetector


def plot_reasons(detector: "VAEDetector", row: Any, *, max_columns: int = 10) -> "Figure":
    """
    Draw how much each column of one row adds to its score, with the value seen and the value expected.

    Parameters
    ----------
    detector : VAEDetector
        Fitted to a table.
    row : DataFrame, Series or array-like
        One row: ``X.iloc[[7]]``, ``X.iloc[7]``, or (columns,) numbers.
    max_columns : int
        Columns to draw, the most surprising first.

    Returns
    -------
    Figure
        A bar is the surprise of a column in nats: what it adds to the score, less what it usually adds. The reasons in
        words stand below the bars.

    Raises
    ------
    DataError
        ``row`` is more than one row, does not fit the model, or the model is of images.
    MissingExtraError
        matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from vae_anomaly import VAEDetector
    >>> from vae_anomaly.plots import plot_reasons
    >>> X = np.random.default_rng(0).normal(size=(300, 2)) @ [[1, 0.9], [0, 0.1]]
    >>> detector = VAEDetector(random_state=0).fit(X)
    >>> [text.get_text() for text in plot_reasons(detector, [1.0, -0.9]).axes[0].get_yticklabels()][:2]
    ['x0', 'x1']
    """
    require_fitted(detector)
    if detector.image_shape is not None:
        raise DataError("The reasons of an image are pixels. Use plot.reconstructions, or write a report.")
    rows = _one_row(row)
    index = index_of(rows)
    name = "The row" if index is None else f"Row {index[0]}"
    reasons = ShownRows.of(detector.model_, rows).reasons(0, max_columns)
    score, threshold = float(detector.anomaly_score(rows)[0]), -float(detector.offset_)
    side = "beyond" if score > threshold else "within"
    title = f"{name}: score {with_minus(nats(score))}, {side} the line at {with_minus(nats(threshold))}"
    figure = new_figure(title, 1.5 + 0.36 * len(reasons.shown))
    axes = figure.subplots()
    words = fill(shorten(reasons.in_words, 500), 120).replace("$", r"\$")
    figure.supxlabel(words, x=0.01, ha="left", fontsize=MEDIUM, color=QUIET)
    _draw_bars(axes, reasons.shown)
    others = f"; {counted(reasons.n_others, 'other columns')} together {with_minus(nats(reasons.others))}"
    note = others if reasons.n_others else ""
    axes.set_xlabel(f"surprise, nats: what a column adds beyond the usual{note}", fontsize=MEDIUM)
    return figure


def _one_row(row: Any) -> Any:
    """A frame or an array (1, columns)."""
    if isinstance(row, pd.Series):
        return row.to_frame().T.infer_objects()
    rows = row if is_frame(row) else np.atleast_2d(np.asarray(row))
    if len(rows) != 1:
        raise DataError(f"plot.reasons draws one row; there are {len(rows):,}. Choose one, such as X.iloc[[7]].")
    return as_frame(rows) if is_frame(rows) else rows


def _draw_bars(axes: "Axes", shown: list[ShownReason]) -> None:
    """Bars with the columns on their left, and on the right what was seen and expected."""
    positions = range(len(shown))
    sizes = [reason.nats for reason in shown]
    axes.barh(positions, sizes, 0.62, color=[ACCENT if size > 0 else TABLE for size in sizes])
    style_axes(axes, ticks=6)
    axes.set_yticks(positions, [wrapped(reason.column, 32, 2) for reason in shown], fontsize=MEDIUM)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    values = axes.twinx()
    values.spines[:].set_visible(False)
    values.set_ylim(axes.get_ylim())
    values.set_yticks(positions, [_seen_and_expected(reason) for reason in shown], fontsize=SMALL)
    values.tick_params(axis="y", length=0)


def _seen_and_expected(reason: ShownReason) -> str:
    expected = reason.range or reason.expected
    seen = reason.seen if reason.seen in ("", "missing") else f"seen {shorten(reason.seen, 30)}"
    parts = [seen, expected and f"expected {shorten(expected, 40)}"]
    return listed(part for part in parts if part).replace("$", r"\$")
