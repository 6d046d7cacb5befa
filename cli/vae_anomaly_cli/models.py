"""The model that a command uses, read from its file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vae_anomaly_cli.errors import naming

if TYPE_CHECKING:
    from vae_anomaly import VAEDetector


def read_fitted(model: str, device: str) -> VAEDetector:
    """Load MODEL; this brings torch, which takes seconds, so that data is read first: its faults are told sooner."""
    from vae_anomaly import load

    with naming(model):
        return load(model, device=device)
