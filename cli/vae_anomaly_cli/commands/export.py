"""``vae-anomaly export``: write a fitted model as an ONNX graph, which scores without Python or torch."""

from __future__ import annotations

from vae_anomaly_cli import options
from vae_anomaly_cli.errors import naming, user_errors
from vae_anomaly_cli.inputs import read_model
from vae_anomaly_cli.output import check_output, plain_warnings, remark

EXAMPLES = """\
vae-anomaly export data.vae --output data.onnx"""


@user_errors
def export(model: options.ModelFile, output: options.GraphOut, quiet: options.Quiet = False) -> None:
    """Write MODEL as an ONNX graph, which scores without Python.

    The input of the graph is the columns, encoded as numbers; the outputs are anomaly_score and is_anomaly. The
    metadata of the graph describes the encoding; examples/score_onnx.py reads it and scores a table. The graph is
    written only if its scores match those of MODEL. It treats every row as new.
    """
    check_output(output, inputs=(model,))

    with plain_warnings(quiet=quiet):
        detector = read_model(model, "cpu")

        from vae_anomaly.integrations.onnx import export as write_graph

        with naming(model):
            difference = write_graph(detector, output)
    columns = len(detector.schema_.names)
    message = f"graph of {columns} columns; its scores match those of {model} to a relative error of {difference:.0e}."
    remark(f"{output}: {message}", quiet=quiet)
