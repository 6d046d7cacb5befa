"""
Network traffic: connections that do not go together
====================================================

2,000 connections of mixed columns: protocol, service, bytes, duration. Among them are ten scans and five uploads that
look like web traffic. No label is used for the fit.
"""

import numpy as np
import pandas as pd

from vae_anomaly import VAEDetector

rng = np.random.default_rng(0)
service = rng.choice(["web", "mail", "name", "shell"], 2000, p=[0.55, 0.2, 0.2, 0.05])
usual = pd.DataFrame(
    {"sent": [2e3, 3e4, 60, 5e3], "received": [4e4, 2e3, 200, 8e3], "seconds": [2, 5, 0.05, 300]},
    index=["web", "mail", "name", "shell"],
).loc[service]
connections = (usual * rng.lognormal(0, 0.5, usual.shape)).round(2).reset_index(drop=True)
connections.insert(0, "service", service)
connections.insert(0, "protocol", np.where(service == "name", "udp", "tcp"))
connections["flag"] = rng.choice(["closed", "reset"], 2000, p=[0.97, 0.03])
scans = rng.choice(2000, 10, replace=False)
connections.loc[scans, ["sent", "received", "seconds"]] = rng.uniform(0.1, 1, (10, 3)).round(2) * [60, 1, 0.1]
uploads = rng.choice(np.flatnonzero((service == "web") & ~np.isin(np.arange(2000), scans)), 5, replace=False)
connections.loc[uploads, ["sent", "received"]] = (rng.lognormal(0, 0.5, (5, 2)) * [4e6, 900]).round(2)
detector = VAEDetector(random_state=0).fit(connections)
found = connections.assign(score=detector.anomaly_score(connections).round(1), reason=detector.reasons(connections))
ranked = found.sort_values("score", ascending=False)
print(ranked.index[:25].isin([*scans, *uploads]).sum(), "of the 15 planted ones are among the first 25 of 2,000")
ranked[["service", "sent", "received", "seconds", "flag", "score", "reason"]].iloc[[0, 5, 10, 12, 14, 16]]

# %%
# The scan that is missing is one of the name service, and looks like its short queries. Why is an upload anomalous?

figure = detector.plot.reasons(connections.loc[[uploads[0]]])
