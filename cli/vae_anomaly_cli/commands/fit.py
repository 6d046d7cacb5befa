"""``vae-anomaly fit``: learn what the rows of a table look like, and keep it in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vae_anomaly_cli import options
from vae_anomaly_cli.columns import leave_out
from vae_anomaly_cli.errors import naming, user_errors
from vae_anomaly_cli.output import plain_warnings, remark, wants_progress
from vae_anomaly_cli.paths import check_output

if TYPE_CHECKING:
    from vae_anomaly import VAEDetector

EXAMPLES = """Examples:

vae-anomaly fit data.csv --output data.vae

vae-anomaly fit normal.csv --novelty --exclude id --output normal.vae

vae-anomaly fit data.parquet --contamination 0.02 --output data.vae"""


@user_errors
def fit(
    table: options.Table,
    output: options.ModelOut,
    exclude: options.Exclude = None,
    novelty: options.Novelty = False,
    contamination: options.Contamination = "auto",
    bound: options.BoundName = options.Bound.elbo,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    encoding: options.Encoding = "utf-8",
    quiet: options.Quiet = False,
) -> None:
    """Fit a model to the rows of FILE and write it, for `score --model` and `info`."""
    check_output(output, inputs=(table,))

    from vae_anomaly import read_table

    with plain_warnings(quiet=quiet), naming(table):
        frame = leave_out(read_table(table, encoding=encoding), exclude or [], "--exclude")
        detector = new_detector(novelty, contamination, bound, seed, device, quiet=quiet).fit(frame)
    detector.save(output)
    remark(
        f"{output}: fitted to {detector.n_samples_fit_} rows, {len(detector.schema_.names)} columns. "
        f"Use it with `vae-anomaly score FILE --model {output}`.",
        quiet=quiet,
    )


def new_detector(
    novelty: bool, contamination: str, bound: options.Bound, seed: int, device: str, *, quiet: bool
) -> VAEDetector:
    """The detector that the options describe, not fitted yet."""
    from vae_anomaly import VAEDetector

    return VAEDetector(
        novelty=novelty,
        contamination=options.share_or_auto(contamination),
        bound=bound.value,
        device=device,
        random_state=seed,
        verbose=wants_progress(quiet=quiet),
    )
