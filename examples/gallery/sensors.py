"""
Sensors: a fault in time, and drift
===================================

Six readings of a machine every minute, driven by load and outside temperature. The first half is known to be normal. In
the second half a sensor sticks for 40 minutes, and later a bearing runs warmer.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vae_anomaly import VAEDetector

rng = np.random.default_rng(0)
minutes = np.arange(2000)
load = 50 + 30 * np.sin(minutes / 60) + rng.normal(0, 3, 2000)
outside = 15 + 5 * np.sin(minutes / 130) + rng.normal(0, 0.3, 2000)
readings = pd.DataFrame(
    {
        "power": 2 * load + rng.normal(0, 2, 2000),
        "flow": 0.5 * load + rng.normal(0, 1, 2000),
        "pressure": 1 + 0.02 * load + rng.normal(0, 0.02, 2000),
        "bearing": 30 + 0.3 * load + 0.8 * outside + rng.normal(0, 0.7, 2000),
        "exhaust": 60 + 0.8 * load + outside + rng.normal(0, 1, 2000),
        "outside": outside,
    }
)
readings.loc[1300:1339, "flow"] = readings.loc[1300, "flow"]
readings.loc[1700:, "bearing"] += 5
detector = VAEDetector(novelty=True, random_state=0).fit(readings[:1000])
later = readings[1000:]
scores = detector.anomaly_score(later)

# %%
# The scores over time, with the line from which on rows are flagged:

figure = Figure(figsize=(7, 2.8), layout="constrained")
axes = figure.subplots()
axes.plot(later.index, scores, ".", markersize=3)
axes.axhline(-detector.offset_, color="black", linewidth=1)
axes.set_xlabel("minute")
axes.set_title("anomaly score in nats", loc="left")

# %%
# Which sensor is it?

detector.reasons(later.loc[[1320, 1339, 1800, 1900]]).to_frame()

# %%
# The last 300 minutes are no longer of the same kind as training:

moved = detector.drift(later[-300:], ordered=False, random_state=0).columns
moved[moved["drifted"]]["message"].to_frame()
