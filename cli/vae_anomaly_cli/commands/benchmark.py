"""``vae-anomaly benchmark``: compare the detector with those of scikit-learn on a labelled table."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from vae_anomaly.formatting import number
from vae_anomaly_cli import options
from vae_anomaly_cli.errors import naming, user_errors
from vae_anomaly_cli.groups import Reading, Tracking, grouped
from vae_anomaly_cli.inputs import drop_columns, select_columns
from vae_anomaly_cli.output import (
    check_summary_output,
    check_table_output,
    is_terminal,
    plain_warnings,
    print_json,
    remark,
    watched,
    write_rows,
)
from vae_anomaly_cli.tracking import new_comparison_tracker, report_run

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = """\
vae-anomaly benchmark labelled.csv --label fault
vae-anomaly benchmark labelled.csv --label state --anomaly-values broken
vae-anomaly benchmark labelled.csv --label fault --exclude id --seeds 5
vae-anomaly benchmark labelled.csv --label fault --novelty --output figures.csv

AUROC is the probability that an anomalous row scores above a normal one; chance gives 0.5. For average precision,
chance gives the fraction of anomalous rows."""


@user_errors
@grouped
def benchmark(
    file: options.Table,
    label: options.Label,
    *,
    anomaly_values: options.AnomalyValues = None,
    output: options.TableOut = None,
    exclude: options.Exclude = None,
    kind: options.Kind = None,
    novelty: options.BenchmarkNovelty = False,
    seeds: options.Seeds = 1,
    seed: options.Seed = 0,
    as_json: options.JsonSummary = False,
    device: options.Device = "auto",
    tracking: Tracking,
    quiet: options.Quiet = False,
    reading: Reading,
) -> None:
    """Measure how well this detector and three of scikit-learn find labelled anomalies.

    The others are IsolationForest, LocalOutlierFactor and the mean distance to the 5 nearest rows, on standardised
    numbers, with missing cells set to the median and categories one-hot encoded. All use their defaults.

    The output has the columns method, seed, auroc, average_precision, fit_seconds and score_seconds; a deterministic
    method has one seed. A terminal shows the means over the seeds, best first.
    """
    check_table_output(output, inputs=(file,))
    check_summary_output(output, as_json=as_json)
    tracker = new_comparison_tracker(file, tracking)
    with plain_warnings(quiet=quiet), naming(file):
        import pandas as pd

        from vae_anomaly import read_table
        from vae_anomaly.comparison import Comparison, anomaly_labels

        rows_read = read_table(file, **reading.options)
        is_anomaly = anomaly_labels(select_columns(rows_read, [label], "--label")[label], anomaly_values or [])
        rows = drop_columns(rows_read, [label, *(exclude or [])], "--exclude")
        comparison = Comparison(rows, is_anomaly, novelty=novelty, device=device, kinds=options.kinds_of(kind))
        measured = None
        if tracker is not None:
            values = anomaly_values or "true or not 0"
            tracker.begin(rows_read, {"label": label, "anomaly_values": values, "novelty": novelty, "seeds": seeds})
        try:
            plan = comparison.plan([(seed + more) % 2**32 for more in range(seeds)])
            names = [f"{method}, seed {used}" for method, used in plan]
            measured = pd.DataFrame([comparison.measure(*step) for step in watched(plan, names, quiet=quiet)])
        finally:
            if tracker is not None:
                tracker.end(measured)
    if as_json:
        facts = {"rows": len(rows_read), "anomalous": is_anomaly.sum(), "chance": comparison.anomaly_fraction}
        print_json({**facts, "measured": measured.to_dict("records")})
    if output is None and not as_json and is_terminal(sys.stdout):
        _show(measured)
    elif output is not None or not as_json:
        write_rows(measured, output, f"{len(measured)} rows written.", quiet=quiet)
    how = "trained on half of the normal rows, all others scored" if novelty else "trained on all rows, all scored"
    chance = f"chance gives an average precision of {number(comparison.anomaly_fraction, 2)}"
    remark(f"{is_anomaly.sum()} of {len(rows_read)} rows are anomalous; {how}; {chance}.", quiet=quiet)
    report_run(tracker, quiet=quiet)


def _show(measured: pd.DataFrame) -> None:
    """Draw the means over the seeds on the terminal, best first, with standard deviations if there are several."""
    from rich.console import Console
    from rich.table import Table

    table = Table("method")
    for name in ("AUROC", "average precision", "fit, s", "score, s"):
        table.add_column(name, justify="right")
    by_method = dict(list(measured.groupby("method")))
    for method in sorted(by_method, key=lambda method: -by_method[method]["auroc"].mean()):
        figures = by_method[method]
        metrics = [_with_spread(figures[name]) for name in ("auroc", "average_precision")]
        table.add_row(
            str(method), *metrics, *(f"{figures[name].mean():.2f}" for name in ("fit_seconds", "score_seconds"))
        )
    Console().print(table)


def _with_spread(figures: pd.Series) -> str:
    return f"{figures.mean():.3f}" + (f" ± {figures.std():.3f}" if len(figures) > 1 else "")
