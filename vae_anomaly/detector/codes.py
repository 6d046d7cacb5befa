"""What the code of a row is good for: features, rows out of the model, missing cells, walks along a latent."""

from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array

from vae_anomaly.detector.rows import Rows, index_of, unmasked
from vae_anomaly.errors import DataError, NoDensityError
from vae_anomaly.inference.completion import complete
from vae_anomaly.tables import as_frame, fill, is_frame


class Codes(Rows, ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """A detector as a transformer and as a source of rows."""

    def transform(self, X: Any) -> np.ndarray:
        """Codes of the rows: posterior means of the first member, (rows, n_components_)."""
        return self._checked().scorer.encode(self._encoded(X))

    def inverse_transform(self, Z: Any) -> pd.DataFrame | np.ndarray:
        """Expected rows for codes (rows, n_components_), in the table's own columns and types."""
        fitted = self._checked()
        codes = check_array(Z, dtype=np.float64)
        if codes.shape[1] != fitted.design.n_components:
            raise DataError(
                f"Codes have {codes.shape[1]} columns; this model has {fitted.design.n_components} latents."
            )
        return self._decoded(fitted.scorer.decode(codes))

    def reconstruct(self, X: Any) -> pd.DataFrame | np.ndarray:
        """What the model makes of each row: ``inverse_transform(transform(X))``, missing cells filled in."""
        scorer = self._checked().scorer
        return self._decoded(scorer.decode(scorer.encode(self._encoded(X))), index_of(X))

    def impute(self, X: Any) -> pd.DataFrame | np.ndarray:
        """The rows with every missing cell filled by what the model expects beside the observed ones.

        Fit with ``purpose="representation"`` for this: the other models know less of how columns depend on one another.

        Parameters
        ----------
        X : DataFrame or array-like
            (rows, columns).

        Returns
        -------
        DataFrame or ndarray
            A copy in which observed cells, and columns that the model does not use, are as they were. Filled numbers
            stay within the range of the training rows.

        Examples
        --------
        >>> import numpy as np
        >>> from vae_anomaly import VAEDetector
        >>> x = np.random.default_rng(0).normal(size=(500, 1))
        >>> detector = VAEDetector(purpose="representation", random_state=0).fit(np.hstack([x, 3 * x]))
        >>> detector.impute([[1.0, np.nan]]).round()
        array([[1., 3.]])
        """
        fitted = self._checked()
        x = self._encoded(X)
        filled = fitted.schema.decode(complete(fitted.scorer, x, *fitted.extent))
        missing = fitted.schema.missing(x)
        if not fitted.frame or not is_frame(X):
            table = np.array(unmasked(X), dtype=np.float64)
            used = [fitted.inputs.index(name) for name in fitted.schema.names]
            table[:, used] = np.where(missing, filled.to_numpy(dtype=np.float64), table[:, used])
            return table
        frame = as_frame(X).copy()
        for place, name in enumerate(fitted.schema.names):
            frame[name] = fill(frame[name], filled[name], missing[:, place])
        return frame

    def traverse(
        self, dimension: int, *, span: float = 3.0, n_samples: int = 11, X: Any = None
    ) -> pd.DataFrame | np.ndarray:
        """What the model expects along one latent, the others held still.

        Parameters
        ----------
        dimension : int
            The latent, from 0; `latents_` tells which are in use.
        span : float
            How far the walk goes to either side of the latent's mean, in standard deviations of its codes.
        n_samples : int
            Rows of the walk.
        X : DataFrame or array-like, optional
            (1, columns): a row whose code holds the other latents. Without it they are at their means.

        Returns
        -------
        DataFrame or ndarray
            (n_samples, columns), in the table's own columns and types; a frame's index is the latent's value.
        """
        fitted = self._checked()
        n_components = fitted.design.n_components
        if not isinstance(dimension, Integral) or not 0 <= dimension < n_components:
            raise DataError(f"There is no latent {dimension!r}; this model has 0 to {n_components - 1}.")
        if not isinstance(n_samples, Integral) or n_samples < 1 or not (np.isfinite(span) and span >= 0):
            raise ValueError(f"A walk takes a span from 0 and n_samples from 1. Got {span!r} and {n_samples!r}.")
        still = np.array([fitted.latents.mean]) if X is None else self.transform(X)
        if len(still) != 1:
            raise DataError(f"A walk starts at one row; X has {len(still)}.")
        walk = np.repeat(still, n_samples, axis=0)
        steps = np.linspace(-span, span, n_samples)
        walk[:, dimension] = fitted.latents.mean[dimension] + steps * fitted.latents.reach[dimension]
        index = pd.Index(walk[:, dimension], name=self.get_feature_names_out()[dimension])
        return self._decoded(fitted.scorer.decode(walk), index)

    def sample(self, n_samples: int = 1, *, random_state: int | np.random.RandomState | None = None) -> Any:
        """Draw new rows from the model: a code from the prior, cells from the decoder.

        Parameters
        ----------
        n_samples : int
            Rows to draw.
        random_state : int, RandomState or None
            Same number, same rows.

        Returns
        -------
        DataFrame or ndarray
            (n_samples, columns), like the training table.

        Raises
        ------
        NoDensityError
            The model is a plain autoencoder.
        """
        fitted = self._checked()
        if not fitted.design.variational:
            raise NoDensityError(
                "A plain autoencoder (variational=False) has no density to draw from. Fit with variational=True."
            )
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(f"n_samples must be a whole number from 1 up. Got {n_samples!r}.")
        seed = check_random_state(random_state).randint(2**31 - 1)
        return self._decoded(fitted.scorer.sample(n_samples, seed))
