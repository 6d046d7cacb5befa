"""``vae-anomaly benchmark``: how our detector fares beside scikit-learn's on the user's own labelled table."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from vae_anomaly_cli import options
from vae_anomaly_cli.columns import leave_out, pick
from vae_anomaly_cli.errors import naming, user_errors
from vae_anomaly_cli.output import is_terminal, plain_warnings, remark, watched, write_rows
from vae_anomaly_cli.paths import check_table_output
from vae_anomaly_cli.tracking import new_comparison_tracker, tell_run

if TYPE_CHECKING:
    import pandas as pd

    from vae_anomaly.comparison import Comparison

EXAMPLES = """Examples:

vae-anomaly benchmark labelled.csv --label fault

vae-anomaly benchmark labelled.csv --label state --odd broken --odd worn --exclude id --seeds 5

vae-anomaly benchmark labelled.parquet --label fault --novelty --output figures.csv --track

AUROC is the share of pairs, an odd row and a normal one, in which the odd row has the higher score; by chance 0.5.
Average precision is, by chance, the share of odd rows."""


@user_errors
def benchmark(
    file: options.Table,
    label: options.Label,
    odd: options.OddValues = None,
    output: options.TableOut = None,
    exclude: options.Exclude = None,
    novelty: options.HeldOut = False,
    seeds: options.Seeds = 1,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    encoding: options.Encoding = "utf-8",
    track: options.Track = False,
    experiment: options.Experiment = None,
    run_name: options.RunName = None,
    track_required: options.TrackRequired = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure how well the odd rows of FILE are found, by this detector and by three of scikit-learn's.

    The others are IsolationForest, LocalOutlierFactor and the mean distance to the 5 nearest rows, on standardised
    numbers, with gaps filled by the median and categories as indicators. All have their defaults.

    Written are the columns method, seed, auroc, average_precision, fit_seconds and score_seconds; a method that draws
    nothing has one seed. On a terminal, the means over the seeds are shown, best first.
    """
    check_table_output(output, inputs=(file,))
    tracker = new_comparison_tracker(
        file, track=track, experiment=experiment, run_name=run_name, required=track_required
    )
    with plain_warnings(quiet=quiet), naming(file):
        from vae_anomaly import read_table
        from vae_anomaly.comparison import Comparison, anomaly_labels

        table = read_table(file, encoding=encoding)
        is_odd = anomaly_labels(pick(table, [label], "--label")[label], odd or [])
        rows = leave_out(table, [label, *(exclude or [])], "--exclude")
        comparison = Comparison(rows, is_odd, novelty=novelty, device=device)
        measured = None
        if tracker is not None:
            tracker.begin(table, {"label": label, "odd": odd or "true or not 0", "novelty": novelty, "seeds": seeds})
        try:
            measured = _measure(comparison, [(seed + more) % 2**32 for more in range(seeds)], quiet=quiet)
        finally:
            if tracker is not None:
                tracker.end(measured)
    if output is None and is_terminal(sys.stdout):
        _show(measured)
    else:
        write_rows(measured, output, f"{len(measured)} rows written.", quiet=quiet)
    how = "half of the normal rows learned from, all others scored" if novelty else "every row learned from and scored"
    chance = f"chance gives an average precision of {comparison.odd_share:.2g}"
    remark(f"{is_odd.sum()} of {len(table)} rows are odd; {how}; {chance}.", quiet=quiet)
    tell_run(tracker, quiet=quiet)


def _measure(comparison: Comparison, seeds: list[int], *, quiet: bool) -> pd.DataFrame:
    import pandas as pd

    plan = comparison.plan(seeds)
    names = [f"{method}, seed {seed}" for method, seed in plan]
    return pd.DataFrame([comparison.measure(*asked) for asked in watched(plan, names, quiet=quiet)])


def _show(measured: pd.DataFrame) -> None:
    """Draw the means over seeds on the terminal, best first, with the deviations where there are several seeds."""
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
