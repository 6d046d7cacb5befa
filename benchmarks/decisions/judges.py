"""A wrapper library for conformal anomaly detection, nonconform, as a judge; imported where it is used."""

from typing import Any

import numpy as np

from vae_anomaly import VAEDetector

HELD_OUT = 0.2  # as our own split has it


class Wrapped:
    """Nonconform's split conformal p-values around a detector."""

    def __init__(self, detector: Any, seed: int):
        from nonconform import ConformalDetector, Split

        polarity = "higher_is_normal" if isinstance(detector, VAEDetector) else "auto"
        self.model = ConformalDetector(detector, Split(n_calib=HELD_OUT), score_polarity=polarity, seed=seed)

    def fit(self, x: np.ndarray) -> None:
        """Train on four fifths and calibrate on the rest."""
        self.model.fit(x)

    @property
    def n_reference(self) -> int:
        """Rows held out."""
        return len(self.model.calibration_set)

    def score(self, x: np.ndarray) -> np.ndarray:
        """P-value of each row: the library gives both at once."""
        return np.asarray(self.model.compute_p_values(x))

    def p_values(self, scores: np.ndarray, **how: Any) -> np.ndarray:
        """The same; there are no options."""
        return scores

    def contamination(self, **how: Any) -> float:
        """None is allowed for."""
        return 0.0
