"""``vae-anomaly score``: how anomalous the rows of a table are, or images."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from vae_anomaly.errors import DataError
from vae_anomaly.formatting import counted, listed, listed_names, printable, without_password
from vae_anomaly_cli import options
from vae_anomaly_cli.commands.fit import read_or_fit, refuse_fitting
from vae_anomaly_cli.errors import FOUND, given_options, naming, refuse_given, refuse_several, user_errors
from vae_anomaly_cli.groups import Cluster, Fitting, Flagging, Reading, Tracking, grouped, option_names
from vae_anomaly_cli.inputs import ALL, ImageInput, TableInput, holds_images, read_input, refuse_output_names
from vae_anomaly_cli.memory import shortage
from vae_anomaly_cli.output import (
    MEASURES,
    SHOWN,
    check_summary_output,
    check_table_output,
    is_terminal,
    phase,
    plain_warnings,
    print_json,
    remark,
    remark_findings,
    remark_rule,
    show_rows,
    with_digits,
    write_rows,
)
from vae_anomaly_cli.spread import SpreadScorer, check_engine, check_scoring, connected
from vae_anomaly_cli.stream import FILE_COLUMNS, StreamedTable, StreamScorer, write_scores
from vae_anomaly_cli.tracking import new_tracker, report_run

if TYPE_CHECKING:
    import pandas as pd

    from vae_anomaly import VAEDetector
    from vae_anomaly.integrations.mlflow import MLflowCallback

EXAMPLES = """\
vae-anomaly score data.csv
vae-anomaly score data.csv --keep id --exclude id --output scores.csv
vae-anomaly score data.csv --append --sort --output scored.csv
vae-anomaly score invoices.csv --kind account=category
vae-anomaly score new.parquet --model normal.vae --top 20
vae-anomaly score new.csv --model normal.vae --fdr 0.05 --output alarms.csv
vae-anomaly score new.csv --model normal.vae --json --fail-if-anomalies
vae-anomaly score new.csv --model models:/sensors@champion --track
vae-anomaly score photos/ --skip-bad --output scores.csv
vae-anomaly score 'logs/*.parquet' --stream --model normal.vae -o scores.csv
zcat data.csv.gz | vae-anomaly score - | head

A terminal shows the most anomalous rows or images; files and pipes get all of them."""
OUTPUT_COLUMNS = ("row", "anomaly_score", "p_value", "severity", "is_anomaly", "reason")
OF_THE_TABLE = {
    "keep": "--keep",
    "append": "--append",
    "sort": "--sort",
    "top": "--top",
    "duplicates": "--duplicates",
    "digits": "--digits",
}
NOT_STREAMED = {
    "sort": "--sort",
    "duplicates": "--duplicates",
    "fdr": "--fdr",
    "alerts": "--alerts",
    **option_names(Tracking),
}
REPEATED = {"exclude": "--exclude", **option_names(Fitting), **option_names(Reading)}  # for other commands


@dataclass(frozen=True)
class Wanted:
    """What is written, and where.

    ``target`` is a file, ``-``, or None for a terminal or a pipe; ``keep`` names columns of the file, ``own`` those of
    the command, and ``rule`` has the options that flag rows.
    """

    target: str | None
    own: tuple[str, ...]
    keep: list[str]
    rule: dict[str, Any]
    append: bool
    sort: bool
    top: int | None
    duplicates: bool
    digits: int
    as_json: bool
    quiet: bool

    @property
    def shows(self) -> bool:
        """True if a person reads the ranking."""
        return self.target is None and not self.as_json and is_terminal(sys.stdout)

    @property
    def option(self) -> str:
        """The option that names the columns of the file to write."""
        return "--append" if self.append else "--keep"

    @property
    def table(self) -> bool:
        """True if a table is shown or written."""
        return self.target is not None or not self.as_json

    def chosen(self, scored: pd.DataFrame) -> pd.DataFrame:
        """The rows to write, in their order."""
        if not (self.sort or self.top or self.shows):
            return scored
        ranking = scored.sort_values("anomaly_score", ascending=False, kind="stable", ignore_index=True)
        return ranking[: self.top or (SHOWN if self.shows else None)]


@user_errors
@grouped
def score(
    context: typer.Context,
    file: options.File,
    *,
    model: options.OptionalModel = None,
    output: options.TableOut = None,
    keep: options.Keep = None,
    append: options.Append = False,
    sort: options.Sort = False,
    top: options.Top = None,
    duplicates: options.Duplicates = False,
    digits: options.Digits = 6,
    as_json: options.JsonSummary = False,
    exclude: options.Exclude = None,
    flagging: Flagging,
    fail_if_anomalies: options.FailIfAnomalies = False,
    fitting: Fitting,
    device: options.Device = "auto",
    stream: options.Stream = False,
    cluster: Cluster,
    skip_bad: options.SkipBad = False,
    tracking: Tracking,
    quiet: options.Quiet = False,
    reading: Reading,
) -> None:
    """Score the rows or images of FILE by how anomalous they are, with reasons.

    Without --model, a model is fitted to FILE itself.

    The output has the rows of FILE in their order: row (1 is the first row of data), anomaly_score (in nats; higher is
    more anomalous), p_value (the probability that a normal row scores at least as high), severity (0 to 100: the
    percentage of the reference scores that are lower), is_anomaly, reason (for flagged rows), and the columns named by
    --keep. --sort ranks the rows, --top ranks the most anomalous ones, and a terminal shows these.

    Rows that repeat an earlier row, exactly or in every column but identifiers, are counted on standard error, unless
    the table has so few different rows that they repeat naturally. --duplicates adds the column duplicate_of after
    is_anomaly: the number of that earlier row.

    Images have a column image after row (the file name, or the number in an IDX file) and no reason.

    With --stream, rows are never all in memory, so repeats are not looked for; with several files, the columns file and
    file_row follow row.

    The exit status is 3 if --fail-if-anomalies is given and a row is flagged.
    """
    check_engine(context, cluster)
    check_scoring(cluster, model, output)
    stream = stream or cluster.is_wanted
    own = (*OUTPUT_COLUMNS, *(FILE_COLUMNS if stream else ()), *(["duplicate_of"] if duplicates else ()))
    rule = flagging.rule
    kept = [ALL] if append else keep or []
    wanted = Wanted(output, own, kept, rule, append, sort, top, duplicates, digits, as_json, quiet)
    refuse_several({"--append": append or None, "--keep": keep})
    refuse_several({name: rule[parameter] for parameter, name in option_names(Flagging).items()})
    refuse_fitting(context, model)
    check_outputs(context, file, model, wanted, stream=stream)
    tracker = new_tracker(file, tracking)
    stream = stream or _only_fits_in_pieces(context, file, kept, model, quiet=quiet)
    with plain_warnings(quiet=quiet):
        with naming(file), phase(f"reading {file}", quiet=quiet):
            source: StreamedTable | TableInput | ImageInput
            if stream:
                source = read_stream(file, exclude or [], reading, wanted, model)
            else:
                source = read_input(context, file, exclude or [], kept, reading, skip_bad=skip_bad)
                refuse_output_names(source.kept.columns if isinstance(source, TableInput) else [], own, wanted.option)
        callbacks = None if tracker is None else [tracker]
        device = "cpu" if cluster.is_wanted else device  # as on the workers
        detector = read_or_fit(file, source, model, exclude, fitting, device, quiet=quiet, callbacks=callbacks)
        if model is None:
            remark_findings(detector, quiet=quiet)
        with naming(file):
            if isinstance(source, StreamedTable):
                with connected(cluster):
                    found = write_stream(source, detector, wanted, cluster)
            else:
                found = write_scored(source, detector, wanted, tracker, model)
    if wanted.table and (stream or wanted.shows or output not in (None, "-")):
        remark(extent(file, source, detector, found.rows), quiet=quiet)
        remark_rule(detector, rule, found.flagged, found.rows, source.noun, quiet=quiet)
        remark(next_steps(context, file, source, model, found, shows=wanted.shows), quiet=quiet)
    if as_json:
        threshold = None if any(value is not None for value in rule.values()) else -float(detector.offset_)
        facts = {"input": without_password(file), "model": model, "output": output}
        print_json({**facts, "rows": found.rows, "flagged": found.flagged, "threshold": threshold, **rule})
    report_run(tracker, quiet=quiet)
    if fail_if_anomalies and found.flagged:
        raise typer.Exit(FOUND)


class Found(NamedTuple):
    """Numbers of rows that were scored and flagged; the most anomalous one, if all were in memory, also in words."""

    rows: int
    flagged: int
    most_anomalous: int | None = None
    sentence: str = ""


def check_outputs(context: typer.Context, file: str, model: str | None, wanted: Wanted, *, stream: bool) -> None:
    """Refuse outputs that cannot be written, and options that exclude one another."""
    refuse_output_names(wanted.keep, wanted.own)
    check_table_output(wanted.target, inputs=(file, model))
    check_summary_output(wanted.target, as_json=wanted.as_json)
    if not wanted.table:
        refuse_given(
            context, OF_THE_TABLE, "it applies to the table, which --json alone does not write; add --output FILE."
        )
    if stream:
        refuse_given(context, NOT_STREAMED, "it needs all rows at once; leave out either it or --stream.")
        refuse_given(context, {"skip_bad": "--skip-bad"}, "it applies to images, and --stream to tables.")


def read_stream(file: str, exclude: list[str], reading: Reading, wanted: Wanted, model: str | None) -> StreamedTable:
    """A table to be read piece by piece."""
    source = StreamedTable.read(file, exclude, wanted.keep, reading)
    refuse_output_names(source.keep, wanted.own, wanted.option)
    check_table_output(wanted.target, inputs=(*source.dataset.files, model))
    return source


def write_stream(source: StreamedTable, detector: VAEDetector, wanted: Wanted, cluster: Cluster) -> Found:
    """Score and write a table piece by piece."""
    kind = SpreadScorer if cluster.is_wanted else StreamScorer
    scorer = kind.of(detector, source, wanted.rule, append=wanted.append, digits=wanted.digits)
    tally = write_scores(scorer, wanted.top, wanted.target, quiet=wanted.quiet, counts_only=not wanted.table)
    return Found(tally.rows, tally.flagged)


def _only_fits_in_pieces(context: typer.Context, file: str, kept: list[str], model: str | None, *, quiet: bool) -> bool:
    """True if the table is too large for the memory, but not its pieces; an error if an option needs all rows."""
    if holds_images(file) or not (lacking := shortage(file, n_kept=inf if ALL in kept else len(kept), model=model)):
        return False
    for option in given_options(context, NOT_STREAMED):
        raise DataError(f"{lacking}. Without {option}, which needs all rows at once, it is scored piece by piece.")
    remark(f"{lacking}: it is scored piece by piece, and repeats are not looked for.", quiet=quiet)
    return True


def write_scored(
    source: TableInput | ImageInput,
    detector: VAEDetector,
    wanted: Wanted,
    tracker: MLflowCallback | None,
    model: str | None,
) -> Found:
    """Score a table or images, and write the scores or show the most anomalous rows."""
    rows = source.rows_for(detector)
    with phase(f"scoring {counted(len(rows), source.noun)}", quiet=wanted.quiet):
        scored = detector.detect(rows, **wanted.rule).reset_index(drop=True)
    scored.insert(0, "row", range(1, len(scored) + 1))
    if tracker is not None:
        tracker.log_scores(scored, rows, model=model)
    with phase("looking for rows that repeat", quiet=wanted.quiet):
        duplicate_of, repeats = source.find_duplicates(detector)
    if wanted.duplicates and duplicate_of is not None:
        scored["duplicate_of"] = duplicate_of.array
    if repeats:
        remark(repeats if wanted.duplicates else f"{repeats}; mark them with --duplicates", quiet=wanted.quiet)
    most_anomalous = int(scored["anomaly_score"].to_numpy().argmax()) + 1
    found = Found(len(scored), int(scored["is_anomaly"].sum()), most_anomalous)
    if not wanted.table:
        return found
    chosen = wanted.chosen(scored)
    explained = chosen["is_anomaly"].to_numpy() | wanted.shows
    with phase(f"finding reasons of {counted(explained.sum(), source.noun)}", quiet=wanted.quiet):
        chosen = source.with_reasons(chosen, detector, explained)
    write_chosen(chosen, source, wanted)
    reasons = dict(zip(chosen["row"], chosen.get("reason", ()), strict=False))  # images have none
    because = f": {printable(reasons[most_anomalous])}" if reasons.get(most_anomalous) else ""
    return found._replace(sentence=f"The most anomalous is {source.name_of(most_anomalous)}{because}.")


def write_chosen(chosen: pd.DataFrame, source: TableInput | ImageInput, wanted: Wanted) -> None:
    """Write chosen rows with their identifiers, or show them."""
    if wanted.shows:
        show_rows(source.with_identifiers(chosen, first=wanted.append), source.uncut)
        return
    written = source.with_identifiers(with_digits(chosen, MEASURES, wanted.digits), first=wanted.append)
    write_rows(written, wanted.target, f"{counted(len(written), 'rows')} written.", quiet=wanted.quiet)


def extent(file: str, source: StreamedTable | TableInput | ImageInput, detector: VAEDetector, n_rows: int) -> str:
    """What was read, and which columns the model does not use."""
    name = "standard input" if file == "-" else without_password(file)
    if isinstance(source, ImageInput):
        return f"{name}: {counted(n_rows, source.noun)} read."
    columns = source.rows.columns
    used = {*(detector.model_.inputs if hasattr(detector, "feature_names_in_") else columns)}
    unused = [column for column in columns if column not in used or column in detector.schema_.left_out]
    without = f", of which the model does not use {listed_names(unused)}" if unused else ""
    return f"{name}: {counted(n_rows, source.noun)} and {counted(len(columns), 'columns')} read{without}."


def next_steps(
    context: typer.Context,
    file: str,
    source: StreamedTable | TableInput | ImageInput,
    model: str | None,
    found: Found,
    *,
    shows: bool,
) -> str:
    """The most anomalous row with its reason, and commands that show more, one a line."""
    most, steps = found.most_anomalous, {}
    again = shlex.join([without_password(file), *([] if model is None else ["--model", model])])
    if file != "-" and isinstance(source, TableInput):
        steps[f"explain {again} --row {most}"] = "that row, cell by cell"
    if file != "-" and most is not None:
        steps[f"report {again} --output report.html"] = "a page to share"
    if file != "-" and shows:
        streamed = " --stream" if isinstance(source, StreamedTable) else ""
        steps[f"score {again}{streamed} --output scores.csv"] = f"all {source.noun}"
    if not steps:
        return found.sentence
    others = given_options(context, REPEATED if model is None else option_names(Reading))
    head = f"Next, with the same {listed(others)}:" if others else "Next:"
    width = max(map(len, steps))
    lines = [f"  vae-anomaly {command:<{width}}  # {what}" for command, what in steps.items()]
    return "\n".join([*([found.sentence] if found.sentence else []), head, *lines])
