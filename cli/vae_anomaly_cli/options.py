"""Every argument and option, defined once; commands name them by type."""

from enum import StrEnum
from math import isfinite
from typing import Annotated

import typer

FIT = "How to fit"
FLAG = "Which rows to flag"
ROWS = "What to write"
PICTURE = "What to draw"
TRACK = "Where to track it, with MLflow"


class Purpose(StrEnum):
    """What a model is for."""

    detection = "detection"
    representation = "representation"


class Bound(StrEnum):
    """Which bound on the log density scores a row."""

    elbo = "elbo"
    iwae = "iwae"


class Calibration(StrEnum):
    """Whose scores new rows are held against."""

    leave_one_out = "leave_one_out"
    split_off = "split"  # str has a method of the shorter name
    cross = "cross"


def share_or_auto(text: str) -> float | str:
    """Read a contamination: ``auto``, or a share above 0 and up to 0.5."""
    if text == "auto":
        return text
    try:
        share = float(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is neither 'auto' nor a number.") from error
    if not 0 < share <= 0.5:
        raise typer.BadParameter(f"{text} is not a share above 0 and up to 0.5.")
    return share


def _checked(text: str) -> str:
    share_or_auto(text)
    return text


def _open_share(number: float | None) -> float | None:
    if number is not None and not 0 < number < 1:
        raise typer.BadParameter(f"{number} is not a number between 0 and 1.")
    return number


def _finite(number: float) -> float:
    if not isfinite(number):
        raise typer.BadParameter(f"{number} is not finite.")
    return number


def _level(number: float) -> float:
    if not 0 < number < 1:
        raise typer.BadParameter(f"{number} is not a probability above 0 and below 1.")
    return number


Table = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="The table: CSV, TSV or Parquet, known by content (.gz and .zst are unpacked); - is standard input.",
        show_default=False,
    ),
]
OptionalFile = Annotated[
    str | None,
    typer.Argument(
        metavar="[FILE]",
        help="What to set beside the samples: a table (CSV, TSV or Parquet; - is standard input), or images "
        "(a folder, an image file, or an IDX file).",
        show_default=False,
    ),
]
SavedModel = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A model file that `fit` wrote, or one in MLflow's store, such as models:/NAME@champion.",
        show_default=False,
    ),
]
File = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="A table: CSV, TSV or Parquet, known by content (.gz and .zst are unpacked); - is standard input. "
        "Or images: a folder, an image file, or an IDX file.",
        show_default=False,
    ),
]
ModelIn = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="Score with this model, that `fit` wrote, instead of fitting; or with one in MLflow's store, such as "
        "models:/NAME@champion.",
        show_default=False,
    ),
]
FittedModel = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="The model to use: a file that `fit` wrote, or one in MLflow's store, such as models:/NAME@champion.",
        show_default=False,
    ),
]
ModelOut = Annotated[
    str, typer.Option("--output", "-o", metavar="MODEL", help="Where to write the model.", show_default=False)
]
GraphOut = Annotated[
    str, typer.Option("--output", "-o", metavar="FILE", help="Where to write the ONNX graph.", show_default=False)
]
TableOut = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Where to write all rows: .csv, .tsv, .parquet or .jsonl, by suffix; - writes CSV to standard output.",
        rich_help_panel=ROWS,
        show_default=False,
    ),
]
DrawnOut = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Where to write all rows: .csv, .tsv, .parquet or .jsonl, by suffix; - writes CSV to standard output; "
        ".png shows images side by side.",
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
        help="Write this column of the table as well, to know a row by. Repeat for more.",
        rich_help_panel=ROWS,
        show_default=False,
    ),
]
Top = Annotated[
    int | None,
    typer.Option(
        "--top", "-n", metavar="N", min=1, help="Only the N oddest rows.", show_default=False, rich_help_panel=ROWS
    ),
]
MostChanges = Annotated[
    int,
    typer.Option("--most", metavar="N", min=1, help="Change so many cells of a row, at most.", rich_help_panel=ROWS),
]
RowNumbers = Annotated[
    list[int] | None,
    typer.Option(
        "--row",
        "-r",
        metavar="N",
        min=1,
        help="Explain this row; 1 is the first row of data. Repeat for more.",
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
        help="How many of the oddest rows to list with their reasons.",
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
        help="How many rows to draw.",
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
        help="Where to write the page: a name that ends in .html.",
        rich_help_panel=ROWS,
        show_default=False,
    ),
]
Title = Annotated[
    str | None,
    typer.Option(
        "--title",
        metavar="TEXT",
        help="What stands above the page; by default it names FILE.",
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
        help="Where to write the picture: .png, .svg or .pdf, by suffix.",
        rich_help_panel=PICTURE,
        show_default=False,
    ),
]
WalkOut = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Where to write: a picture (.png, .svg, .pdf) or a table (.csv, .tsv, .parquet, .jsonl), by suffix; "
        "- writes CSV to standard output.",
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
        help="How many rows to draw: 1,000, or 64 images, unless told otherwise.",
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
        help="Colour the rows by this column of the table, whether the model uses it or not; else by anomaly score.",
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
        help="Walk along this latent, from 0. Repeat for more; else the active ones that say most, at most 6.",
        show_default=False,
    ),
]
Span = Annotated[
    float,
    typer.Option(
        "--span",
        metavar="S",
        min=0,
        callback=_finite,
        help="How far a walk goes to either side, in deviations of the latent's codes.",
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        "-x",
        metavar="COLUMN",
        help="Hide this column from the model, for instance a label or an identifier. Repeat for more.",
        show_default=False,
    ),
]
Label = Annotated[
    str,
    typer.Option(
        "--label",
        "-l",
        metavar="COLUMN",
        help="The column that says which rows are odd; no method sees it.",
        show_default=False,
    ),
]
OddValues = Annotated[
    list[str] | None,
    typer.Option(
        "--odd",
        metavar="VALUE",
        help="A label that means odd. Repeat for more; without it, true and every number but 0.",
        show_default=False,
    ),
]
Seeds = Annotated[
    int,
    typer.Option(
        "--seeds",
        metavar="N",
        min=1,
        help="Measure with so many seeds, --seed and those after it.",
        rich_help_panel=FIT,
    ),
]
HeldOut = Annotated[
    bool,
    typer.Option(
        "--novelty",
        help="Learn from a half of the normal rows, and score the other half and all odd rows. Without it, every row "
        "is learned from and scored.",
        rich_help_panel=FIT,
    ),
]
Stream = Annotated[
    bool,
    typer.Option(
        "--stream",
        help="Read, score and write piece by piece, for what does not fit in memory: FILE may also be a folder of "
        "tables, or a pattern in quotes. Rows keep their order; interrupted, the same command goes on.",
        rich_help_panel=ROWS,
    ),
]
StreamFit = Annotated[
    bool,
    typer.Option(
        "--stream",
        help="Read FILE piece by piece, for what does not fit in memory; the model is the same. Folders of tables, "
        "patterns in quotes and files beyond 256 MB are read so in any case.",
        rich_help_panel=FIT,
    ),
]
SkipBad = Annotated[
    bool,
    typer.Option(
        "--skip-bad",
        help="Leave out the images of a folder that cannot be read or are not of the most common size, with a warning.",
    ),
]
PurposeName = Annotated[
    Purpose,
    typer.Option(
        "--purpose",
        help="What the model is for: detection finds odd rows; representation makes codes, for `features`, "
        "and new rows, for `generate`.",
        rich_help_panel=FIT,
    ),
]
Novelty = Annotated[
    bool,
    typer.Option(
        "--novelty",
        help="All rows that are fitted are normal: learn them thoroughly. Without it, some of them may be odd.",
        rich_help_panel=FIT,
    ),
]
Contamination = Annotated[
    str,
    typer.Option(
        "--contamination",
        metavar="X",
        callback=_checked,
        help="Share of the fitted rows to flag, above 0 and up to 0.5; auto lets the scores decide.",
        rich_help_panel=FIT,
    ),
]
CalibrationName = Annotated[
    Calibration,
    typer.Option(
        "--calibration",
        help="Whose scores p-values rest on: training rows, each left out in turn; a fifth of the rows, split off "
        "before training; or all rows by cross-fitting, which takes five times as long again.",
        rich_help_panel=FIT,
    ),
]
Checkpoint = Annotated[
    str | None,
    typer.Option(
        "--checkpoint",
        metavar="FOLDER",
        help="Keep the state of the fit there. If it is killed, the same command goes on from it and writes the same "
        "model.",
        rich_help_panel=FIT,
        show_default=False,
    ),
]
Fdr = Annotated[
    float | None,
    typer.Option(
        "--fdr",
        metavar="X",
        callback=_open_share,
        help="Flag as many rows as keep the expected share of false alarms among them below X.",
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
        help="Flag the N oddest rows: as many as somebody can look at.",
        rich_help_panel=FLAG,
        show_default=False,
    ),
]
FalseAlarmRate = Annotated[
    float | None,
    typer.Option(
        "--false-alarm-rate",
        metavar="X",
        callback=_open_share,
        help="Flag at most this share of the normal rows.",
        rich_help_panel=FLAG,
        show_default=False,
    ),
]
BoundName = Annotated[
    Bound,
    typer.Option(
        "--bound",
        help="The score's bound on the log density: elbo is quicker, iwae is tighter.",
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
        help="Start of the random numbers: same seed and same table, same result.",
        rich_help_panel=FIT,
    ),
]
DrawSeed = Annotated[
    int,
    typer.Option(
        "--seed",
        metavar="N",
        min=0,
        max=2**32 - 1,
        help="Start of the random numbers: same seed and same model, same rows.",
        rich_help_panel=ROWS,
    ),
]
TestSeed = Annotated[
    int,
    typer.Option(
        "--seed",
        metavar="N",
        min=0,
        max=2**32 - 1,
        help="Start of the random numbers: same seed, same model and same file, same answer.",
    ),
]
Level = Annotated[
    float,
    typer.Option(
        "--level",
        metavar="P",
        callback=_level,
        help="Probability, at most, of an alarm where nothing has changed.",
    ),
]
Unordered = Annotated[
    bool,
    typer.Option(
        "--unordered",
        help="The order of the rows means nothing, or they are sorted: do not look for a change along FILE.",
    ),
]
Track = Annotated[
    bool,
    typer.Option(
        "--track",
        help="Log this run in MLflow's store: MLFLOW_TRACKING_URI, or mlflow.db in this folder.",
        rich_help_panel=TRACK,
    ),
]
Experiment = Annotated[
    str | None,
    typer.Option(
        "--experiment",
        metavar="NAME",
        help="In this experiment, made where it does not exist. Implies --track.",
        show_default=False,
        rich_help_panel=TRACK,
    ),
]
RunName = Annotated[
    str | None,
    typer.Option(
        "--run-name",
        metavar="NAME",
        help="Under this name. Implies --track.",
        show_default=False,
        rich_help_panel=TRACK,
    ),
]
TrackRequired = Annotated[
    bool,
    typer.Option(
        "--track-required",
        help="End with an error where the store does not answer; else the run goes on untracked. Implies --track.",
        rich_help_panel=TRACK,
    ),
]
RegisteredName = Annotated[
    str,
    typer.Option("--name", metavar="NAME", help="The name to register it under, as a new version.", show_default=False),
]
Alias = Annotated[
    str | None,
    typer.Option(
        "--alias",
        metavar="ALIAS",
        help="Have this point at the new version, for models:/NAME@ALIAS; for instance champion.",
        show_default=False,
    ),
]
Host = Annotated[
    str,
    typer.Option("--host", metavar="H", help="The address to listen at; 0.0.0.0 lets other machines in."),
]
Port = Annotated[int, typer.Option("--port", metavar="N", min=1, max=65535, help="The port to listen at.")]
MostMegabytes = Annotated[
    float,
    typer.Option("--max-body", metavar="MB", min=0.001, help="Refuse a request of more megabytes."),
]
Device = Annotated[str, typer.Option("--device", metavar="D", help="Where to compute: auto, cpu or cuda.")]
Encoding = Annotated[str, typer.Option("--encoding", metavar="E", help="Character encoding of a CSV file.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no warnings, no remarks; errors only.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
