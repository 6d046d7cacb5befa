"""A table as the numbers that other detectors need: standardised, gaps filled, categories as indicators."""

from typing import Any, Self

import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from vae_anomaly.data.columns import CategoryColumn
from vae_anomaly.data.schema import Schema


class PlainNumbers(TransformerMixin, BaseEstimator):
    """The columns that our detector uses as it sees them: the same are left out, a date is the time elapsed.

    A missing number is the median of training, a missing category has an indicator of its own, one that training has
    not seen has none.
    """

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:
        """Learn the columns of a table."""
        self.schema_ = Schema.learn(X)
        categories = [isinstance(column, CategoryColumn) for column in self.schema_.columns]
        numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
        self.columns_ = make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), categories), remainder=numbers
        ).fit(self.schema_.as_numbers(X))
        return self

    def transform(self, X: pd.DataFrame) -> Any:
        """Give the numbers, (rows, numbers and indicators), sparse where most are 0."""
        return self.columns_.transform(self.schema_.as_numbers(X))
