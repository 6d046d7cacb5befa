"""``vae-anomaly serve``: answer HTTP requests with the scores of a model."""

from __future__ import annotations

import os
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from vae_anomaly.errors import DataError
from vae_anomaly_cli import options
from vae_anomaly_cli.errors import user_errors
from vae_anomaly_cli.inputs import read_model
from vae_anomaly_cli.output import remark
from vae_anomaly_cli.tracking import quiet_mlflow

EXAMPLES = """\
vae-anomaly serve data.vae
vae-anomaly serve models:/sensors@champion --port 8080
vae-anomaly serve data.vae --host 0.0.0.0 --token-file token.txt
curl --data-binary @new.csv -H "Content-Type: text/csv" \\
  http://127.0.0.1:5001/invocations
curl --data-binary @new.csv -H "Content-Type: text/csv" \\
  -H "Authorization: Bearer $(cat token.txt)" \\
  http://127.0.0.1:5001/invocations

A request is CSV, or JSON such as {"dataframe_records": [{"height": 171, "colour": "red"}], "params": {"fdr": 0.05}}."""
MEGABYTE = 1_000_000
TOKEN = "VAE_ANOMALY_TOKEN"


@user_errors
def serve(
    model: options.ModelFile,
    host: options.Host = "127.0.0.1",
    port: options.Port = 5001,
    token_file: options.TokenFile = None,
    max_body: options.MaxMegabytes = 16.0,
    max_rows: options.MaxRows = 100_000,
    max_requests: options.MaxRequests = 64,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Serve MODEL over HTTP, with the addresses and answers of MLflow's model server, until stopped.

    The addresses are POST /invocations and GET /ping, /health and /version. A request is CSV or JSON, read like a file;
    the answer is JSON with anomaly_score, p_value, severity and is_anomaly for each row. In JSON, params may contain
    explain (true adds reasons for flagged rows), and one of fdr, alerts and false_alarm_rate.

    With a token, from --token-file or the environment variable VAE_ANOMALY_TOKEN, requests without it get status 401,
    except /ping and /health. Requests are not encrypted: for other machines, put a server with TLS in front.
    """
    quiet_mlflow()
    token = _token(token_file)

    from vae_anomaly.integrations.mlflow import Limits
    from vae_anomaly.integrations.mlflow import serve as serve_model

    detector = read_model(model, device)
    if token is None and not _is_this_machine(host):
        remark(f"warning: whoever reaches {host}:{port} can send requests. Ask for a token: --token-file.", quiet=quiet)
    remark(f"{model}: served at http://{host}:{port}/invocations; Ctrl-C stops it.", quiet=quiet)
    limits = Limits(body=round(max_body * MEGABYTE), rows=max_rows, requests=max_requests)
    with suppress(KeyboardInterrupt):  # SIGTERM and Ctrl-C are how a service ends
        serve_model(detector, host=host, port=port, limits=limits, token=token)
    remark(f"{model}: stopped.", quiet=quiet)


def _token(file: str | None) -> str | None:
    """The token that clients must send, None if there is none."""
    found = os.environ.get(TOKEN) if file is None else Path(file).read_text(errors="replace")
    if found is None:
        return None
    where, token = TOKEN if file is None else file, found.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise DataError(f"{where} must have one token, without spaces. Make one: openssl rand -hex 32.")
    return token


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
