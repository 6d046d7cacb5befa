"""``vae-anomaly serve``: answer requests over HTTP with the scores of a model."""

from __future__ import annotations

from vae_anomaly_cli import options
from vae_anomaly_cli.errors import user_errors
from vae_anomaly_cli.models import read_fitted
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
    model: options.SavedModel,
    host: options.Host = "127.0.0.1",
    port: options.Port = 5001,
    max_body: options.MostMegabytes = 16.0,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Serve MODEL with MLflow's model server until it is stopped: POST /invocations, and GET /health.

    Rows come as CSV or JSON; the answer is JSON, for each row anomaly_score, p_value and is_anomaly. In JSON, params
    may hold explain (true: reasons of the flagged rows), and one of fdr, alerts and false_alarm_rate.

    Who reaches the address needs no password: stay with 127.0.0.1, or put a server in front that asks for one.
    """
    quiet_mlflow()

    from vae_anomaly.integrations.mlflow import serve as serve_model

    detector = read_fitted(model, device)
    remark(f"{model}: served at http://{host}:{port}/invocations; Ctrl-C stops it.", quiet=quiet)
    serve_model(detector, host=host, port=port, max_bytes=round(max_body * MEGABYTE))
