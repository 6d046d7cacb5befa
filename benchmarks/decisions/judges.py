"""Detectors that give p-values: ours, and the library nonconform around a detector.

A judge separates scores from p-values, so that rows are scored once and read by several rules.
"""

from typing import Any, Protocol

import numpy as np

from vae_anomaly import VAEDetector
from vae_anomaly.scoring.calibration import Calibration, calibrate


class Judge(Protocol):
    """Interface of what gives p-values; ``options`` are those of `VAEDetector.p_values`."""

    n_reference: int  # rows that scores are compared with

    def fit(self, x: np.ndarray) -> None:
        """Learn from training rows."""

    def score(self, x: np.ndarray) -> np.ndarray:
        """Score of each row, from which p-values are computed."""

    def p_values(self, scores: np.ndarray, **options: Any) -> np.ndarray:
        """P-value of each row."""

    def contamination(self, **options: Any) -> float:
        """Fraction of the reference rows assumed to be anomalies."""


class DetectorJudge:
    """Our detector."""

    def __init__(self, **parameters: Any):
        self.detector = VAEDetector(**parameters)

    def fit(self, x: np.ndarray) -> None:
        """Learn from training rows."""
        self.detector.fit(x)
        self.n_reference = len(self.detector.model_.reference.scores)

    def score(self, x: np.ndarray) -> np.ndarray:
        """ELBO of each row."""
        return self.detector.score_samples(x)

    def p_values(self, scores: np.ndarray, **options: Any) -> np.ndarray:
        """P-value of each row, as from `VAEDetector.p_values`."""
        return self._calibration(**options).p_values(scores)

    def contamination(self, **options: Any) -> float:
        """Fraction of the reference rows that the calibration leaves out."""
        return self._calibration(**options).contamination

    def _calibration(self, *, contamination: Any = None, extrapolate: bool = False) -> Calibration:
        if contamination is None:
            contamination = 0 if self.detector.novelty else self.detector.contamination
        scores = self.detector.model_.reference.scores
        return calibrate(scores, contamination=contamination, extrapolate=extrapolate)


class NonconformJudge:
    """Split conformal p-values of nonconform around a detector; the library is imported where it is used."""

    def __init__(self, detector: Any, seed: int):
        from nonconform import ConformalDetector, Split

        polarity = "higher_is_normal" if isinstance(detector, VAEDetector) else "auto"
        held_out = Split(n_calib=0.2)  # the same fraction as calibration="split"
        self.model = ConformalDetector(detector, held_out, score_polarity=polarity, seed=seed)

    def fit(self, x: np.ndarray) -> None:
        """Train on four fifths of the rows and calibrate on the rest."""
        self.model.fit(x)
        self.n_reference = len(self.model.calibration_set)

    def score(self, x: np.ndarray) -> np.ndarray:
        """P-value of each row: the library computes scores and p-values at once."""
        return np.asarray(self.model.compute_p_values(x))

    def p_values(self, scores: np.ndarray, **options: Any) -> np.ndarray:
        """``scores``, which are p-values; there are no options."""
        return scores

    def contamination(self, **options: Any) -> float:
        """0, since the library assumes clean reference rows."""
        return 0.0
