"""All arguments and options, each defined once as a type that commands use."""

from enum import StrEnum
from math import isfinite
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

FIT = "Fit"
FLAG = "Flagged rows (at most one of these)"
ROWS = "Output"
PICTURE = "Picture"
READING = "Reading of FILE"
TRACK = "MLflow tracking"
CLUSTER = "Several machines"


class FlagsWithoutType:
    """Help that states no type beside a flag, which takes no value."""

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters, that of the help included."""
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if getattr(parameter, "is_flag", False):
                parameter.metavar = ""
        return parameters


class Command(FlagsWithoutType, TyperCommand):
    """A command."""


class Commands(FlagsWithoutType, TyperGroup):
    """All commands."""


def paragraphs(text: str) -> str:
    """Text of a help whose lines are joined to paragraphs, which the terminal then wraps."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def epilog(examples: str) -> str:
    """End of a help: blocks of commands, one a line, and then notes."""
    parts = examples.split("\n\n")
    blocks = [part for part in parts if part.startswith(("vae-anomaly", "curl"))]
    return "\n\n".join(["Examples:", *blocks, *map(paragraphs, parts[len(blocks) :])])


class Purpose(StrEnum):
    """Purpose of a model."""

    detection = "detection"
    representation = "representation"


class Bound(StrEnum):
    """Bound on the log density that scores a row."""

    elbo = "elbo"
    iwae = "iwae"


class Engine(StrEnum):
    """What runs work on several machines."""

    ray = "ray"


class Calibration(StrEnum):
    """Reference scores that p-values use."""

    leave_one_out = "leave_one_out"
    split_off = "split"  # str has a method of the shorter name
    cross = "cross"


def fraction_or_auto(text: str) -> float | str:
    """Contamination: ``auto``, or a fraction above 0 and up to 0.5."""
    if text == "auto":
        return text
    try:
        fraction = float(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is neither 'auto' nor a number.") from error
    if not 0 < fraction <= 0.5:
        raise typer.BadParameter(f"{text} is not above 0 and up to 0.5.")
    return fraction


def _check_contamination(text: str) -> str:
    fraction_or_auto(text)
    return text


KINDS = ("number", "category", "flag", "date", "text", "ignore")


def kinds_of(texts: list[str] | None) -> dict[str, str] | None:
    """Kinds by column, given texts such as ``account=category``; None if there are none."""
    parts = (text.rpartition("=") for text in texts or [])
    return {column: kind for column, _, kind in parts} or None


def _check_kinds(texts: list[str] | None) -> list[str] | None:
    for column, kind in (kinds_of(texts) or {}).items():
        if not column:
            raise typer.BadParameter(f"{kind!r} is no column and kind, such as account=category.")
        if kind not in KINDS:
            raise typer.BadParameter(f"{kind!r} is no kind of column; the kinds are {', '.join(KINDS)}.")
    return texts


def _check_probability(number: float | None) -> float | None:
    if number is not None and not 0 < number < 1:
        raise typer.BadParameter(f"{number} is not between 0 and 1.")
    return number


def _check_decimal(sign: str | None) -> str | None:
    if sign not in (None, ".", ","):
        raise typer.BadParameter(f"{sign!r} is neither '.' nor ','.")
    return sign


def _check_thousands(sign: str | None) -> str | None:
    if sign is not None and (len(sign) != 1 or sign.isalnum() or sign in "+-%"):
        raise typer.BadParameter(f"{sign!r} is no sign between thousands, such as ',' or ' '.")
    return sign


def _check_finite(number: float) -> float:
    if not isfinite(number):
        raise typer.BadParameter(f"{number} is not finite.")
    return number


Table = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="Table: CSV, JSON, Excel, ODS, Parquet, Feather, SQLite or DuckDB, detected by content, also compressed; "
        "- is standard input; or the URL of a database.",
        show_default=False,
    ),
]
ComparedFile = Annotated[
    str | None,
    typer.Argument(
        metavar="FILE",
        help="Data to compare the samples with: a table (CSV, JSON, Excel, Parquet, ...; - is standard input), or "
        "images (a folder, an image file, or an IDX file).",
        show_default=False,
    ),
]
ModelFile = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="Model file written by `fit`, or a model in MLflow's store, such as models:/NAME@champion.",
        show_default=False,
    ),
]
File = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="Table: CSV, JSON, Excel, ODS, Parquet, Feather, SQLite or DuckDB, detected by content, also compressed; "
        "- is standard input; or the URL of a database. Or images: a folder, an image file, or an IDX file.",
        show_default=False,
    ),
]
OptionalModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="Use this model instead of fitting one: a file written by `fit`, or a model in MLflow's store, such as "
        "models:/NAME@champion.",
        show_default=False,
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="Model to use: a file written by `fit`, or a model in MLflow's store, such as models:/NAME@champion.",
        show_default=False,
    ),
]
ModelOut = Annotated[
    str, typer.Option("--output", "-o", metavar="MODEL", help="Model file to write.", show_default=False)
]
GraphOut = Annotated[
    str, typer.Option("--output", "-o", metavar="FILE", help="ONNX file to write.", show_default=False)
]
TableOut = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="File to write: .csv, .tsv, .parquet, .jsonl, .xlsx or .ods; - writes CSV to standard output.",
        rich_help_panel=ROWS,
        show_default=False,
    ),
]
SamplesOut = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="File to write: .csv, .tsv, .parquet, .jsonl, .xlsx or .ods, or .png for a grid of images; - writes "
        "CSV to standard output.",
        rich_help_panel=ROWS,
        show_default=False,
    ),
]
Keep = Annotated[
    list[str] | None,
    typer.Option(
        "--keep",
        "-k",
        metavar="COLUMN",
        help="Also write this column as it stands in the file, to identify rows. Repeat for more; '*' is all columns.",
        rich_help_panel=ROWS,
        show_default=False,
    ),
]
Append = Annotated[
    bool,
    typer.Option(
        "--append",
        help="Write all columns of FILE as they stand there, then those of the scores.",
        rich_help_panel=ROWS,
    ),
]
Sort = Annotated[
    bool,
    typer.Option("--sort", help="Rank the rows, most anomalous first, instead of FILE's order.", rich_help_panel=ROWS),
]
Digits = Annotated[
    int,
    typer.Option(
        "--digits",
        metavar="N",
        min=1,
        max=17,
        help="Significant digits of scores and p-values; 17 are exact.",
        rich_help_panel=ROWS,
    ),
]
FailIfAnomalies = Annotated[
    bool, typer.Option("--fail-if-anomalies", help="Exit with status 3 if a row is flagged.", rich_help_panel=FLAG)
]
Duplicates = Annotated[
    bool,
    typer.Option(
        "--duplicates",
        help="Add the column duplicate_of: the number of the earlier row that a row repeats, exactly or in every "
        "column but identifiers and those of --exclude.",
        rich_help_panel=ROWS,
    ),
]
Top = Annotated[
    int | None,
    typer.Option(
        "--top",
        "-n",
        metavar="N",
        min=1,
        help="Only the N most anomalous rows, ranked.",
        show_default=False,
        rich_help_panel=ROWS,
    ),
]
MaxChanges = Annotated[
    int,
    typer.Option("--most", metavar="N", min=1, help="Change at most N cells of a row.", rich_help_panel=ROWS),
]
RowNumbers = Annotated[
    list[int] | None,
    typer.Option(
        "--row",
        "-r",
        metavar="N",
        min=1,
        help="Explain this row; 1 is the first row of data. Repeat for more rows.",
        show_default=False,
        rich_help_panel=ROWS,
    ),
]
DrawnRow = Annotated[
    int | None,
    typer.Option(
        "--row",
        "-r",
        metavar="N",
        min=1,
        help="Row to draw; 1 is the first row of data. The default is the most anomalous row.",
        show_default=False,
        rich_help_panel=ROWS,
    ),
]
TopRows = Annotated[
    int,
    typer.Option(
        "--top",
        "-n",
        metavar="N",
        min=1,
        max=500,
        help="List the N most anomalous rows, with reasons.",
        rich_help_panel=ROWS,
    ),
]
Rows = Annotated[
    int,
    typer.Option(
        "--rows",
        "-n",
        metavar="N",
        min=1,
        max=10**12,
        help="Number of rows to generate.",
        show_default=False,
        rich_help_panel=ROWS,
    ),
]
PageOut = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="HTML file to write.",
        rich_help_panel=ROWS,
        show_default=False,
    ),
]
Noun = Annotated[
    str | None,
    typer.Option(
        "--noun",
        metavar="WORD",
        help="What the rows are, in the plural, such as invoices; the default is FILE's name if it is a plural.",
        rich_help_panel=ROWS,
        show_default=False,
    ),
]
Title = Annotated[
    str | None,
    typer.Option(
        "--title",
        metavar="TEXT",
        help="Title of the page; the default names FILE.",
        rich_help_panel=ROWS,
        show_default=False,
    ),
]
PictureOut = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Picture to write: .png, .svg or .pdf.",
        rich_help_panel=PICTURE,
        show_default=False,
    ),
]
TraversalOut = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="File to write: a table (.csv, .tsv, .parquet, .jsonl, .xlsx, .ods) or a picture (.png, .svg, .pdf); - "
        "writes CSV to standard output.",
        rich_help_panel=ROWS,
        show_default=False,
    ),
]
SampleRows = Annotated[
    int | None,
    typer.Option(
        "--rows",
        "-n",
        metavar="N",
        min=1,
        help="Number of samples; the default is 1,000 rows or 64 images.",
        rich_help_panel=PICTURE,
        show_default=False,
    ),
]
Color = Annotated[
    str | None,
    typer.Option(
        "--color",
        "-c",
        metavar="COLUMN",
        help="Colour the rows by this column, even one that the model does not use; the default is the anomaly score.",
        rich_help_panel=PICTURE,
        show_default=False,
    ),
]
Dimensions = Annotated[
    list[int] | None,
    typer.Option(
        "--dimension",
        "-d",
        metavar="K",
        min=0,
        help="Vary this latent, counted from 0. Repeat for more; the default is up to 6 active latents of largest KL.",
        show_default=False,
    ),
]
Span = Annotated[
    float,
    typer.Option(
        "--span",
        metavar="S",
        min=0,
        callback=_check_finite,
        help="Distance to either side of the mean, in standard deviations of the latent.",
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        "-x",
        metavar="COLUMN",
        help="Hide this column from the model, for instance a label or an identifier. Repeat for more columns.",
        show_default=False,
    ),
]
Kind = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        metavar="COLUMN=KIND",
        callback=_check_kinds,
        help="Take this column for a number, category (account=category), flag, date or text (of which only the shape "
        "counts), or ignore it. Repeat for more columns.",
        rich_help_panel=FIT,
        show_default=False,
    ),
]
Label = Annotated[
    str,
    typer.Option(
        "--label",
        "-l",
        metavar="COLUMN",
        help="Column that marks the anomalous rows; it is hidden from all methods.",
        show_default=False,
    ),
]
AnomalyValues = Annotated[
    list[str] | None,
    typer.Option(
        "--anomaly-values",
        metavar="VALUE",
        help="Label of anomalous rows. Repeat for more; the default is true and every number but 0.",
        show_default=False,
    ),
]
Seeds = Annotated[
    int,
    typer.Option(
        "--seeds",
        metavar="N",
        min=1,
        help="Number of seeds to measure with: --seed and those after it.",
        rich_help_panel=FIT,
    ),
]
BenchmarkNovelty = Annotated[
    bool,
    typer.Option(
        "--novelty",
        help="Train on half of the normal rows, and score the other half and all anomalous rows. Without it, train on "
        "all rows and score them.",
        rich_help_panel=FIT,
    ),
]
Stream = Annotated[
    bool,
    typer.Option(
        "--stream",
        help="Read, score and write piece by piece, for tables larger than memory. FILE may also be a folder of "
        "tables, or a pattern in quotes. Rows keep their order. After an interruption, the same command continues.",
        rich_help_panel=ROWS,
    ),
]
StreamFit = Annotated[
    bool,
    typer.Option(
        "--stream",
        help="Read FILE piece by piece, for tables larger than memory; the model is the same. Always on for folders of "
        "tables, patterns in quotes and files above 256 MB.",
        rich_help_panel=FIT,
    ),
]
EngineName = Annotated[
    Engine | None,
    typer.Option(
        "--engine",
        help="Read and score the files of FILE, usually a folder, on a cluster, each by a worker, which has to see it "
        "under the same name. Model and output are those of one machine. Needs the extra ray.",
        rich_help_panel=CLUSTER,
        show_default=False,
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        help="Address of the cluster, or auto for the one that this machine belongs to. By default, all processors of "
        "this machine.",
        rich_help_panel=CLUSTER,
        show_default=False,
    ),
]
SkipBad = Annotated[
    bool,
    typer.Option(
        "--skip-bad",
        help="Skip images of a folder that cannot be read or differ from the most common size, with a warning.",
    ),
]
PurposeName = Annotated[
    Purpose,
    typer.Option(
        "--purpose",
        help="detection finds anomalous rows; representation learns latent features, for `features`, and new rows, for "
        "`generate`.",
        rich_help_panel=FIT,
    ),
]
Novelty = Annotated[
    bool,
    typer.Option(
        "--novelty",
        help="The training rows are all normal. Without it, some of them may be anomalous.",
        rich_help_panel=FIT,
    ),
]
Contamination = Annotated[
    str,
    typer.Option(
        "--contamination",
        metavar="X",
        callback=_check_contamination,
        help="Fraction of the training rows to flag, above 0 and up to 0.5; auto flags rows that at most 1 % of normal "
        "rows equal.",
        rich_help_panel=FIT,
    ),
]
CalibrationName = Annotated[
    Calibration,
    typer.Option(
        "--calibration",
        metavar="HOW",
        help="Reference scores for p-values: leave_one_out, of each training row without itself; split, of a fifth of "
        "the rows, held out from training; or cross, of all rows, cross-fitted, which takes five more fits.",
        rich_help_panel=FIT,
    ),
]
Checkpoint = Annotated[
    str | None,
    typer.Option(
        "--checkpoint",
        metavar="FOLDER",
        help="Save the state of the fit in this folder. After an interruption, the same command continues there and "
        "writes the same model.",
        rich_help_panel=FIT,
        show_default=False,
    ),
]
Fdr = Annotated[
    float | None,
    typer.Option(
        "--fdr",
        metavar="X",
        callback=_check_probability,
        help="Flag rows such that the expected fraction of normal rows among the flagged ones is at most X.",
        rich_help_panel=FLAG,
        show_default=False,
    ),
]
Alerts = Annotated[
    int | None,
    typer.Option(
        "--alerts",
        metavar="N",
        min=0,
        help="Flag the N most anomalous rows.",
        rich_help_panel=FLAG,
        show_default=False,
    ),
]
FalseAlarmRate = Annotated[
    float | None,
    typer.Option(
        "--false-alarm-rate",
        metavar="X",
        callback=_check_probability,
        help="Flag at most this fraction of the normal rows; 0.01 is the default rule.",
        rich_help_panel=FLAG,
        show_default=False,
    ),
]
BoundName = Annotated[
    Bound,
    typer.Option(
        "--bound",
        metavar="BOUND",
        help="Bound on the log density used as the score: elbo is faster, iwae is tighter.",
        rich_help_panel=FIT,
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed",
        metavar="N",
        min=0,
        max=2**32 - 1,
        help="Random seed: the same seed and table give the same result.",
        rich_help_panel=FIT,
    ),
]
SampleSeed = Annotated[
    int,
    typer.Option(
        "--seed",
        metavar="N",
        min=0,
        max=2**32 - 1,
        help="Random seed: the same seed and model give the same rows.",
        rich_help_panel=ROWS,
    ),
]
DriftSeed = Annotated[
    int,
    typer.Option(
        "--seed",
        metavar="N",
        min=0,
        max=2**32 - 1,
        help="Random seed: the same seed, model and file give the same result.",
    ),
]
Level = Annotated[
    float,
    typer.Option(
        "--level",
        metavar="P",
        callback=_check_probability,
        help="Largest probability of an alarm if nothing has changed.",
    ),
]
Unordered = Annotated[
    bool,
    typer.Option(
        "--unordered",
        help="Do not look for a change along FILE: the rows are sorted, or their order has no meaning.",
    ),
]
Track = Annotated[
    bool,
    typer.Option(
        "--track",
        help="Log this run in MLflow's store: MLFLOW_TRACKING_URI, or mlflow.db in the current folder.",
        rich_help_panel=TRACK,
    ),
]
Experiment = Annotated[
    str | None,
    typer.Option(
        "--experiment",
        metavar="NAME",
        help="Experiment of the run, created if it does not exist. Implies --track.",
        show_default=False,
        rich_help_panel=TRACK,
    ),
]
RunName = Annotated[
    str | None,
    typer.Option(
        "--run-name",
        metavar="NAME",
        help="Name of the run. Implies --track.",
        show_default=False,
        rich_help_panel=TRACK,
    ),
]
TrackRequired = Annotated[
    bool,
    typer.Option(
        "--track-required",
        help="Fail if the store does not answer; the default is to continue without tracking. Implies --track.",
        rich_help_panel=TRACK,
    ),
]
RegisteredName = Annotated[
    str,
    typer.Option(
        "--name",
        metavar="NAME",
        help="Name in the registry; the model becomes a new version of it.",
        show_default=False,
    ),
]
Alias = Annotated[
    str | None,
    typer.Option(
        "--alias",
        metavar="ALIAS",
        help="Alias for the new version, for models:/NAME@ALIAS; for instance champion.",
        show_default=False,
    ),
]
Host = Annotated[
    str,
    typer.Option("--host", metavar="H", help="Address to listen on; 0.0.0.0 accepts other machines."),
]
Port = Annotated[int, typer.Option("--port", metavar="N", min=1, max=65535, help="Port to listen on.")]
MaxMegabytes = Annotated[
    float,
    typer.Option("--max-body", metavar="MB", min=0.001, help="Largest size of a request, in megabytes."),
]
MaxRows = Annotated[
    int, typer.Option("--max-rows", metavar="N", min=1, help="Most rows of a request; a tenth with reasons.")
]
MaxRequests = Annotated[
    int,
    typer.Option("--max-requests", metavar="N", min=1, help="Most requests at a time; others get status 503."),
]
TokenFile = Annotated[
    str | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="File with the token that clients must send as 'Authorization: Bearer TOKEN'.",
    ),
]
Device = Annotated[str, typer.Option("--device", metavar="D", help="Device for computations: auto, cpu or cuda.")]
Encoding = Annotated[
    str, typer.Option("--encoding", metavar="E", help="Character encoding of text.", rich_help_panel=READING)
]
Missing = Annotated[
    list[str] | None,
    typer.Option(
        "--missing",
        metavar="TEXT",
        help="Text that marks a missing cell, such as '?', besides NA, null, NaN and the like. Repeatable.",
        rich_help_panel=READING,
        show_default=False,
    ),
]
TableName = Annotated[
    str | None,
    typer.Option(
        "--table",
        metavar="NAME",
        help="Sheet of a spreadsheet, or table of a database, with more than one.",
        rich_help_panel=READING,
        show_default=False,
    ),
]
Query = Annotated[
    str | None,
    typer.Option(
        "--query",
        metavar="SQL",
        help="Query whose rows are read from a database, FILE or a URL, which is opened for reading only.",
        rich_help_panel=READING,
        show_default=False,
    ),
]
Decimal = Annotated[
    str | None,
    typer.Option(
        "--decimal",
        metavar="SIGN",
        callback=_check_decimal,
        help="Decimal sign of numbers in text, . or ,; the default is what each column shows.",
        rich_help_panel=READING,
        show_default=False,
    ),
]
Thousands = Annotated[
    str | None,
    typer.Option(
        "--thousands",
        metavar="SIGN",
        callback=_check_thousands,
        help="Sign between thousands, such as ' '; the default is what the file shows.",
        rich_help_panel=READING,
        show_default=False,
    ),
]
DayFirst = Annotated[
    bool | None,
    typer.Option(
        "--dayfirst/--monthfirst",
        help="Whether 03/04/2024 is in April or in March; the default is what each column shows.",
        rich_help_panel=READING,
        show_default=False,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only: no progress, warnings or remarks.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
JsonSummary = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print the summary as JSON on standard output; the table is written only with --output FILE.",
        rich_help_panel=ROWS,
    ),
]
