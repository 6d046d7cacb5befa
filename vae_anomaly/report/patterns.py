"""Patterns: anomalous rows grouped by what leads their reasons, so that twenty alarms read as their three causes."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from vae_anomaly.explain.explanation import LATENT, TOGETHER
from vae_anomaly.explain.shown import ShownRows
from vae_anomaly.formatting import is_missing, quoted, shorten

FARTHEST = 0.4  # cosine distance of the surprise of two groups by column, up to which they are one
LEADING = 0.2  # of the surprise of a pattern, from which a column leads it
HIGHER, LOWER, EITHER = "is higher than expected", "is lower than expected", "is higher or lower than expected"
SHARED = 0.5  # of the rows of a pattern, from which it is said what they have in common


@dataclass(frozen=True, eq=False)
class Pattern:
    """Anomalous rows of which the same columns lead the reasons.

    ``members`` are their positions among the explained rows, most anomalous first; ``columns`` lead, up to three;
    ``remarks`` say what the rows have in common.
    """

    members: np.ndarray
    columns: list[str | int]
    remarks: list[str]

    @property
    def title(self) -> str:
        """The leading columns."""
        names = [TOGETHER if name == LATENT else shorten(name, 60) for name in self.columns]
        return _joined(names)


def _joined(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def find_patterns(shown: ShownRows) -> list[Pattern]:
    """Patterns of explained rows, which come most anomalous first: those of most rows first, then single rows."""
    groups = group_rows(shown.shares)
    patterns = [Pattern(members, *_in_common(shown, members)) for members in groups]
    return sorted(patterns, key=lambda pattern: (-len(pattern.members), int(pattern.members[0])))


def group_rows(shares: np.ndarray) -> list[np.ndarray]:
    """Groups of rows in which the surprise is in the same columns: average linkage of cosine distances.

    Parameters
    ----------
    shares : ndarray
        (rows, columns), as `ShownRows.shares`.

    Examples
    --------
    >>> shares = np.array([[0.9, 0.1, 0.0], [0.0, 0.2, 0.8], [0.8, 0.2, 0.0]])
    >>> [rows.tolist() for rows in group_rows(shares)]
    [[0, 2], [1]]
    """
    if len(shares) < 2:
        return [np.arange(len(shares))] if len(shares) else []
    without = shares.sum(axis=1) == 0  # no column is surprising: a cosine needs a direction
    directions = np.column_stack([shares, without])
    labels = fcluster(linkage(directions, "average", metric="cosine"), FARTHEST, "distance")
    return [np.flatnonzero(labels == group) for group in dict.fromkeys(labels.tolist())]


def _in_common(shown: ShownRows, members: np.ndarray) -> tuple[list[str | int], list[str]]:
    """Leading columns of some rows, and remarks on them."""
    mean = shown.shares[members].mean(axis=0)
    order = [index for index in np.argsort(-mean, kind="stable").tolist()[:3] if mean[index] >= LEADING]
    order = order or [int(mean.argmax())]
    names = [shown.found.surprise.columns[index] for index in order]
    if len(members) < 2:
        return names, []
    said: dict[str, list[str]] = {}  # columns of which the same is said
    for name in names:
        if name != LATENT and (text := _remark(shown, members, name)):
            said.setdefault(text, []).append(shorten(name, 60))
    several = {text: text.replace("is ", "are ", 1) for text in said}
    return names, [f"{_joined(found)} {text if len(found) == 1 else several[text]}" for text, found in said.items()]


def _remark(shown: ShownRows, members: np.ndarray, name: Any) -> str:
    """What most of the rows have in common in one column; empty if nothing."""
    value, low, high = (figure[name].iloc[members].tolist() for figure in _figures(shown))
    counts = Counter(_side(*cells) for cells in zip(value, low, high, strict=True))
    counts.update(f"is {quoted(cell)}" for cell in value if not is_missing(cell) and not isinstance(cell, float))
    least = max(2.0, SHARED * len(members))
    if max(counts[HIGHER], counts[LOWER]) < least:
        counts[EITHER] = counts[HIGHER] + counts[LOWER]
    del counts[""]
    said, number = max(counts.items(), key=lambda item: (item[1], item[0] in (HIGHER, LOWER)))
    if number < least:
        return ""
    often = "all" if number == len(members) else f"{number:,} of {len(members):,}"
    return f"{said} in {often}"


def _figures(shown: ShownRows) -> tuple[Any, Any, Any]:
    return shown.found.value, shown.found.low, shown.found.high


def _side(value: Any, low: Any, high: Any) -> str:
    """Whether a cell is missing, above or below what is expected; empty if none of these."""
    if is_missing(value):
        return "is missing"
    try:
        return HIGHER if value > high else LOWER if value < low else ""
    except TypeError:  # a column without a range, or an unreadable cell
        return ""
