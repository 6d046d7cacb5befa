"""``vae-anomaly info``: what a model file holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from vae_anomaly_cli import options
from vae_anomaly_cli.errors import naming, user_errors

if TYPE_CHECKING:
    from vae_anomaly import VAEDetector

EXAMPLES = """Examples:

vae-anomaly info data.vae

vae-anomaly info data.vae --json"""


@user_errors
def info(model: options.SavedModel, as_json: options.Json = False) -> None:
    """Show what MODEL was fitted to, its size, its threshold and the versions that made it."""
    from vae_anomaly import load

    with naming(model):
        facts = describe(load(model, device="cpu"))
    if as_json:
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        typer.echo(f"{name:<{width}}  {as_text(value)}")


def describe(detector: VAEDetector) -> dict[str, Any]:
    """What is worth knowing of a fitted detector, in plain types."""
    parameters = detector.get_params()
    return {
        "setting": "novelty detection" if parameters["novelty"] else "outlier detection",
        "rows": detector.n_samples_fit_,
        **(_table(detector) if parameters["image_shape"] is None else _images(detector)),
        "threshold": -float(detector.offset_),
        "contamination": parameters["contamination"],
        "bound": parameters["bound"],
        "purpose": parameters["purpose"],
        "n_components": detector.n_components_,
        "n_estimators": detector.n_estimators_,
        "hidden_layer_sizes": list(detector.hidden_layer_sizes_),
        "likelihood": detector.likelihood_,
        "prior": detector.prior_,
        "n_iter": detector.n_iter_,
        "batch_size": detector.batch_size_,
        "versions": dict(detector.versions_),
    }


def _table(detector: VAEDetector) -> dict[str, Any]:
    return {
        "columns": {str(column["name"]): column["kind"] for column in detector.schema_.to_json()["columns"]},
        "left_out": {str(name): reason for name, reason in detector.schema_.left_out.items()},
    }


def _images(detector: VAEDetector) -> dict[str, Any]:
    return {
        "image_shape": list(detector.get_params()["image_shape"]),
        "pixel_range": detector.schema_.to_json()["range"],
    }


def as_text(value: object) -> str:
    """A fact in one line."""
    match value:
        case dict():
            return ", ".join(f"{name} ({detail})" for name, detail in value.items()) or "none"
        case list():
            return ", ".join(map(str, value)) or "none"
        case float():
            return f"{value:.4f}"
        case _:
            return str(value)
