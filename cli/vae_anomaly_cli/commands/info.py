"""``vae-anomaly info``: content of a model file, and checks of the model."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import typer

from vae_anomaly.formatting import printable
from vae_anomaly_cli import options
from vae_anomaly_cli.errors import naming, user_errors
from vae_anomaly_cli.inputs import read_model
from vae_anomaly_cli.output import is_terminal, print_json

if TYPE_CHECKING:
    import pandas as pd

    from vae_anomaly import VAEDetector

EXAMPLES = """\
vae-anomaly info data.vae
vae-anomaly info data.vae --json"""
STYLES = {"good": "green", "look": "yellow", "bad": "bold red"}


@user_errors
def info(model: options.ModelFile, as_json: options.Json = False) -> None:
    """Describe MODEL and check how good it is.

    The verdict of each check is good, look (a person should judge) or bad (the model does not serve its purpose).
    """
    detector = read_model(model, "cpu")
    with naming(model):
        facts, findings = describe(detector), as_plain(detector.diagnose())
    if as_json:
        print_json({**facts, "findings": findings})
        return
    texts = {name: printable(as_text(value)) for name, value in facts.items()}
    draw(texts, findings) if is_terminal(sys.stdout) else write(texts, findings)


def write(facts: dict[str, str], findings: list[dict[str, Any]]) -> None:
    """Print one line per fact, then one per check."""
    width = max(map(len, facts))
    for name, text in facts.items():
        typer.echo(f"{name:<{width}}  {text}")
    typer.echo()
    width = max(len(found["check"]) for found in findings)
    for found in findings:
        typer.echo(f"{found['verdict']}  {found['check']:<{width}}  {printable(found['message'])}")


def draw(facts: dict[str, str], findings: list[dict[str, Any]]) -> None:
    """Draw the same on a terminal: verdicts in colour, long texts wrapped between words."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    known, checked = Table.grid(padding=(0, 2)), Table.grid(padding=(0, 2))
    for name, text in facts.items():
        known.add_row(Text(name), Text(text))
    for found in findings:
        verdict, name = Text(found["verdict"], style=STYLES[found["verdict"]]), found["check"].replace("_", " ")
        checked.add_row(verdict, Text(name, no_wrap=True), Text(printable(found["message"])))
    console = Console()
    console.print(known)
    console.print()
    console.print(checked)


def as_plain(findings: pd.DataFrame) -> list[dict[str, Any]]:
    """Checks as JSON values: a value that could not be measured is null."""
    rows = [{str(name): value for name, value in row.items()} for row in findings.to_dict("records")]
    return [{**row, "value": None if math.isnan(row["value"]) else row["value"]} for row in rows]


def describe(detector: VAEDetector) -> dict[str, Any]:
    """Facts about a fitted detector, in plain types."""
    from vae_anomaly.scoring.decide import FlaggingRule

    parameters = detector.get_params()
    return {
        "setting": "novelty detection" if parameters["novelty"] else "outlier detection",
        "rows": detector.n_samples_fit_,
        **(_table(detector) if parameters["image_shape"] is None else _images(detector)),
        "threshold": -float(detector.offset_),
        "false_alarm_rate": detector.false_alarm_rate_,
        "rule": FlaggingRule().sentence(
            detector.false_alarm_rate_, "row" if parameters["image_shape"] is None else "image"
        ),
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
    schema = detector.schema_
    reasons = {str(name): reason for name, reason in schema.reasons.items()}
    return {
        "columns": {str(column["name"]): column["kind"] for column in schema.to_json()["columns"]},
        **({"reasons": reasons} if reasons else {}),
        "left_out": {str(name): reason for name, reason in schema.left_out.items()},
    }


def _images(detector: VAEDetector) -> dict[str, Any]:
    return {
        "image_shape": list(detector.get_params()["image_shape"]),
        "pixel_range": detector.schema_.to_json()["range"],
    }


def as_text(value: object) -> str:
    """Fact in one line."""
    match value:
        case dict():
            return ", ".join(f"{name} ({detail})" for name, detail in value.items()) or "none"
        case list():
            return ", ".join(map(str, value)) or "none"
        case float():
            return f"{value:.4f}"
        case _:
            return str(value)
