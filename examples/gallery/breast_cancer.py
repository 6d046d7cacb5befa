"""
Labels to check against: how well is the ranking?
=================================================

Cell nuclei of 357 benign and 30 malignant samples, without their labels. The labels only measure the ranking,
compared with scikit-learn's IsolationForest.
"""

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score

from vae_anomaly import VAEDetector

data = load_breast_cancer(as_frame=True)
benign, malignant = (np.flatnonzero(data.target == label) for label in (1, 0))
rows = np.concatenate([benign, malignant[:30]])
X, is_malignant = data.data.iloc[rows], np.arange(len(rows)) >= len(benign)
detector = VAEDetector(random_state=0).fit(X)
scores = {
    "vae-anomaly": detector.anomaly_score(X),
    "IsolationForest": -IsolationForest(random_state=0).fit(X).score_samples(X),
}
pd.DataFrame(
    {
        name: {
            "AUROC": roc_auc_score(is_malignant, found),
            "average precision": average_precision_score(is_malignant, found),
        }
        for name, found in scores.items()
    }
).round(3)

# %%
# The scores of all samples, with the line from which on rows are flagged:

figure = detector.plot.scores(X)
