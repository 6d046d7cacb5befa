"""
Few labels: latents as features
===============================

A classifier of digits with 50 labels. The latents were learned from all images without labels, so the classifier
has 16 good columns in place of 64 pixels.
"""

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vae_anomaly import VAEDetector

pixels, labels = load_digits(return_X_y=True)
pixels = pixels / 16
encoder = VAEDetector(purpose="representation", random_state=0).fit(pixels)
features = {
    "16 latents": encoder.transform(pixels),
    "16 principal components": PCA(16, random_state=0).fit_transform(pixels),
    "64 pixels": pixels,
}
found = {}
for name, columns in features.items():
    accuracies = []
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(len(pixels))
        few, others = order[:50], order[50:]
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(columns[few], labels[few])
        accuracies.append(model.score(columns[others], labels[others]))
    found[name] = {"mean accuracy": np.mean(accuracies), "over draws of labels": np.std(accuracies)}
pd.DataFrame(found).T.round(3)

# %%
# The two latents that carry most, coloured by digit:

figure = encoder.plot.latents(pixels, color=labels.astype(str))
