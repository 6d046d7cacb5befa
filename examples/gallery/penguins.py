"""
Measurements: penguins that need a second look
==============================================

344 penguins, measured in Antarctica. Which of them are unusual, and why?
"""

import pandas as pd

from vae_anomaly import VAEDetector

penguins = pd.read_csv("../penguins.csv")
detector = VAEDetector(random_state=0).fit(penguins)
found = penguins.assign(score=detector.anomaly_score(penguins).round(1), reason=detector.reasons(penguins))
found.nlargest(6, "score")[["species", "sex", "score", "reason"]]

# %%
# Two birds were not measured at all. Others are large or small for their species. The histogram shows how far they are
# from all others.

figure = detector.plot.scores(penguins)

# %%
# One row in detail: a female Chinstrap with a bill of 58 mm.

reasons_of_a_row = detector.plot.reasons(penguins.iloc[[293]])
