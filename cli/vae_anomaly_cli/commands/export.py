"""``vae-anomaly export``: a fitted model as an ONNX graph, to score without Python or torch."""

from __future__ import annotations

from vae_anomaly_cli import options
from vae_anomaly_cli.errors import naming, user_errors
from vae_anomaly_cli.models import read_fitted
from vae_anomaly_cli.output import plain_warnings, remark
from vae_anomaly_cli.paths import check_output

EXAMPLES = """Example:

vae-anomaly export data.vae --output data.onnx"""


@user_errors
def export(model: options.SavedModel, output: options.GraphOut, quiet: options.Quiet = False) -> None:
    """Write MODEL as an ONNX graph from the columns, as numbers, to anomaly_score and is_anomaly.

    What the numbers are stands in the metadata of the graph; examples/score_onnx.py reads it, and scores a table.
    The graph is written only if it scores as MODEL does. It takes every row for a new one.
    """
    check_output(output, inputs=(model,))

    with plain_warnings(quiet=quiet):
        detector = read_fitted(model, "cpu")

        from vae_anomaly.integrations.onnx import export as write_graph

        with naming(model):
            difference = write_graph(detector, output)
    columns = len(detector.schema_.names)
    remark(f"{output}: scores of {columns} columns, as {model} has them to {difference:.0e} of a score.", quiet=quiet)
