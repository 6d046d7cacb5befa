"""``vae-anomaly serve``: answer HTTP requests with the scores of a model."""

from __future__ import annotations

from vae_anomaly_cli import options
from vae_anomaly_cli.errors import user_errors
from vae_anomaly_cli.inputs import read_model
from vae_anomaly_cli.output import remark
from vae_anomaly_cli.tracking import quiet_mlflow

EXAMPLES = """Examples:

vae-anomaly serve data.vae

vae-anomaly serve models:/sensors@champion --port 8080

curl --data-binary @new.csv -H "Content-Type: text/csv" http://127.0.0.1:5001/invocations

A request is CSV, or JSON such as {"dataframe_records": [{"height": 171, "colour": "red"}], "params": {"fdr": 0.05}}."""
MEGABYTE = 1_000_000


@user_errors
def serve(
    model: options.ModelFile,
    host: options.Host = "127.0.0.1",
    port: options.Port = 5001,
    max_body: options.MaxMegabytes = 16.0,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Serve MODEL over HTTP with MLflow's model server, until stopped.

    The addresses are POST /invocations and GET /health. A request is CSV or JSON; the answer is JSON with
    anomaly_score, p_value, severity and is_anomaly for each row. In JSON, params may contain explain (true adds reasons
    for flagged rows), and one of fdr, alerts and false_alarm_rate.

    There is no authentication: stay with 127.0.0.1, or put an authenticating server in front.
    """
    quiet_mlflow()

    from vae_anomaly.integrations.mlflow import serve as serve_model

    detector = read_model(model, device)
    remark(f"{model}: served at http://{host}:{port}/invocations; Ctrl-C stops it.", quiet=quiet)
    serve_model(detector, host=host, port=port, max_bytes=round(max_body * MEGABYTE))
