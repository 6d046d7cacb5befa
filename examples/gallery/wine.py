"""
Novelty: a wine that the model has never seen
=============================================

178 wines of three cultivars, 13 chemical measurements. The model sees most wines of two cultivars, which are known to
be normal, and scores the others.
"""

import pandas as pd
from sklearn.datasets import load_wine

from vae_anomaly import VAEDetector

wine = load_wine(as_frame=True)
X, cultivar = wine.data, wine.target
known = cultivar != 2
train = X[known].sample(frac=0.7, random_state=0)
detector = VAEDetector(novelty=True, random_state=0).fit(train)
unseen = X.drop(index=train.index)

# %%
# Half of the third cultivar is flagged, and none of the wines of the first two that were held back.

flagged = pd.Series(detector.predict(unseen) == -1, index=unseen.index)
flagged.groupby(cultivar.loc[unseen.index]).agg(["sum", "size"])

# %%
# What is different about them?

detector.reasons(unseen[cultivar.loc[unseen.index] == 2]).head(5).to_frame()

# %%
# The scores of all wines that were held back:

figure = detector.plot.scores(unseen)
