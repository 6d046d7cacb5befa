"""
Missing cells: fill them from the other columns
===============================================

A fifth of the cells of the diabetes table is removed. A representation fills them with the values expected given the
other columns; the error is measured against the values that were removed.
"""

import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes
from sklearn.impute import SimpleImputer

from vae_anomaly import VAEDetector

patients = load_diabetes(as_frame=True, scaled=False).data
is_gone = np.random.default_rng(0).random(patients.shape) < 0.2
holes = patients.mask(is_gone)
encoder = VAEDetector(purpose="representation", random_state=0).fit(holes)
filled = {
    "vae-anomaly": encoder.impute(holes).to_numpy(),
    "median of the column": SimpleImputer(strategy="median").fit_transform(holes),
}
scale = patients.std().to_numpy()
pd.Series(
    {name: np.sqrt((((table - patients) / scale)[is_gone] ** 2).mean(axis=None)) for name, table in filled.items()},
    name="error in standard deviations",
).round(3).to_frame()

# %%
# What the table has and what the model reconstructs, column by column:

figure = encoder.plot.reconstructions(holes)
