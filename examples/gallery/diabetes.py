"""
Typing errors: find them and mend them
======================================

442 patients. Five cells get typing errors: a shifted decimal point, or two digits swapped in size. Are they found, and
what does the model propose instead?
"""

from sklearn.datasets import load_diabetes

from vae_anomaly import VAEDetector

patients = load_diabetes(as_frame=True, scaled=False).data.drop(columns="sex")
wrong = patients.copy()
errors = {(20, "bmi"): 0.1, (77, "bp"): 0.1, (150, "s1"): 10, (233, "s4"): 10, (401, "age"): 0.1}
for (row, column), factor in errors.items():
    wrong.loc[row, column] *= factor
detector = VAEDetector(random_state=0).fit(wrong)
changes = detector.suggest(wrong)
changes["was"] = [patients.loc[row, column] for row, column in zip(changes["row"], changes["column"])]
changes[["row", "column", "value", "suggestion", "was", "anomaly_score", "new_score"]].round(1)

# %%
# How many of the five cells are among the suggestions? A small body mass index and a young age are still possible
# values, and are not flagged.

mended = set(zip(changes["row"], changes["column"]))
print(len(mended & set(errors)), "of 5")

# %%
# The reason for one of them:

figure = detector.plot.reasons(wrong.iloc[[150]])
