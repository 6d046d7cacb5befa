"""The map: codes of rows along the two directions in which they differ most, the flagged ones marked."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from vae_anomaly.formatting import percent
from vae_anomaly.report.axes import Axis
from vae_anomaly.report.judged import Judged
from vae_anomaly.report.words import nats

if TYPE_CHECKING:
    from vae_anomaly.detector import VAEDetector

_MOST, _MOST_ODD = 2000, 1000
_MARGIN = 0.04
_SCORE = "anomaly score"


@dataclass(frozen=True)
class Mark:
    """A row that the page lists: its number, its place in percent from the left and the top."""

    row: int
    x: float
    y: float
    remark: str


@dataclass(frozen=True)
class Scatter:
    """Rows on a plane; ``dots`` and ``odd_dots`` are SVG paths of the rows that are not listed."""

    dots: str
    odd_dots: str
    marks: list[Mark]
    x_name: str
    y_name: str
    n_dots: int
    n_odd: int
    n_beyond: int

    @classmethod
    def of(cls, detector: "VAEDetector", judged: Judged, listed: int) -> Self:
        """From a judged table; the page lists so many of its oddest rows."""
        scores, odd = judged.scores, judged.odd
        drawn, noise = _drawn(scores, odd), detector.latents_["posterior_std"].to_numpy()
        points, names = _points(noise, detector.transform(judged.taken(drawn)), scores[drawn], odd[drawn])
        across, upwards = (Axis.over(values, _MARGIN) for values in points.T)
        places = np.column_stack([across.places(points[:, 0]), 100 - upwards.places(points[:, 1])])
        marked = np.isin(drawn, judged.oddest(listed)) & odd[drawn]
        rest = odd[drawn] & ~marked
        return cls(
            dots=_path(places[~odd[drawn]]),
            odd_dots=_path(places[rest]),
            marks=[
                Mark(int(row) + 1, x, y, f"row {row + 1}: {nats(scores[row])}")
                for row, (x, y) in zip(drawn[marked], places[marked].round(1).tolist(), strict=True)
            ][::-1],  # the oddest last: on top
            x_name=names[0],
            y_name=names[1],
            n_dots=int((~odd[drawn]).sum()),
            n_odd=int(odd[drawn].sum()),
            n_beyond=int((across.beyond(points[:, 0]) | upwards.beyond(points[:, 1])).sum()),
        )


def _drawn(scores: np.ndarray, odd: np.ndarray) -> np.ndarray:
    """Places of the rows to draw: flagged ones, the oddest first, then some of the others."""
    flagged = np.flatnonzero(odd)
    flagged = flagged[np.argsort(-scores[flagged], kind="stable")][:_MOST_ODD]
    others = np.flatnonzero(~odd)
    room = _MOST - len(flagged)
    if len(others) > room:
        others = np.sort(np.random.default_rng(0).choice(others, room, replace=False))
    return np.concatenate([flagged, others])


def _points(noise: np.ndarray, codes: np.ndarray, scores: np.ndarray, odd: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Places (rows, 2) along the principal directions of the codes of rows that are not odd, and what the axes are.

    Codes are measured in deviations of the posterior, so that latents that tell much count for much: two latents that
    say the same are one direction. Where there is but one direction, it stands against the score.
    """
    scaled = codes / np.where(noise > 0, noise, 1.0)
    usual = scaled[~odd] if (~odd).sum() > 1 else scaled
    centre = usual.mean(axis=0)
    _, spreads, directions = np.linalg.svd(usual - centre, full_matrices=False)
    parts = spreads**2 / max(float((spreads**2).sum()), np.finfo(np.float64).tiny)
    names = [f"{percent(part)} of the differences" for part in parts[:2]]
    points = (scaled - centre) @ directions[:2].T
    if points.shape[1] == 1:
        return np.column_stack([points[:, 0], scores]), [*names, _SCORE]
    return points, names


def _path(places: np.ndarray) -> str:
    """Lines without length: with round ends and a width that does not scale, they are dots in a drawing that does."""
    return "".join(f"M{x:.1f} {y:.1f}h0" for x, y in places)
