"""
A business export: invoices with three errors
=============================================

An export as accounting programs write it: semicolons, decimal commas, dates with the day first. Three invoices are
wrong: a tax of the wrong rate, an amount in cents, and a vendor in the wrong category.
"""

from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pandas as pd

from vae_anomaly import VAEDetector, read_table

rng = np.random.default_rng(0)
kinds = {
    "Paper Ltd": ("office", 40),
    "Train AG": ("travel", 120),
    "Cloud Inc": ("software", 300),
    "Bean Street": ("rent", 2100),
}
vendor = rng.choice(list(kinds), 1200, p=[0.4, 0.3, 0.2, 0.1])
net = np.array([kinds[name][1] for name in vendor]) * rng.lognormal(0, 0.15, 1200)
table = pd.DataFrame(
    {
        "number": [f"R-{i:05d}" for i in range(1200)],
        "date": (pd.Timestamp("2025-01-02") + pd.to_timedelta(np.sort(rng.integers(0, 360, 1200)), "D")).strftime(
            "%d.%m.%Y"
        ),
        "vendor": vendor,
        "category": [kinds[name][0] for name in vendor],
        "net": net.round(2),
        "tax": (net * np.where(vendor == "Train AG", 0.07, 0.19)).round(2),
    }
)
table.loc[100, "tax"] = round(table.loc[100, "net"] * 0.5, 2)
table.loc[500, ["net", "tax"]] *= 100
table.loc[900, "category"] = "rent" if table.loc[900, "category"] != "rent" else "travel"
export = Path(mkdtemp()) / "export.csv"
table.to_csv(export, sep=";", decimal=",", index=False)
print(export.read_text()[:180])

# %%
# `read_table` finds out how the file is written; a note on the identifiers is a warning.

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    invoices = read_table(export)
    detector = VAEDetector(random_state=0).fit(invoices)
found = invoices.assign(score=detector.anomaly_score(invoices).round(1), reason=detector.reasons(invoices))
found.nlargest(5, "score")[["vendor", "category", "net", "tax", "score", "reason"]]

# %%
# The tax of the wrong rate in detail:

figure = detector.plot.reasons(invoices.iloc[[100]])
