"""``vae-anomaly plot``: pictures of a model and of what it makes of a table, each a command of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from vae_anomaly_cli import options
from vae_anomaly_cli.columns import pick
from vae_anomaly_cli.errors import naming, user_errors
from vae_anomaly_cli.output import plain_warnings, remark
from vae_anomaly_cli.paths import check_picture_output

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from vae_anomaly import VAEDetector

EXAMPLES = """Examples:

vae-anomaly plot history --model data.vae --output history.png

vae-anomaly plot latents data.csv --model data.vae --output latents.png

vae-anomaly plot samples data.csv --model data.vae --output samples.png

vae-anomaly plot reconstructions data.csv --model data.vae --output reconstructions.svg

vae-anomaly plot traversal --model data.vae --output traversal.pdf"""

app = typer.Typer(help="Draw a model, and what it makes of a table.", no_args_is_help=True, epilog=EXAMPLES)


@app.command(epilog="Example:\n\nvae-anomaly plot history --model data.vae --output history.png")
@user_errors
def history(model: options.FittedModel, output: options.PictureOut, quiet: options.Quiet = False) -> None:
    """Draw how the fit went: the ELBO over the steps, and its two terms."""
    check_picture_output(output, inputs=(model,))

    from vae_anomaly.reports import plot_history

    with plain_warnings(quiet=quiet), naming(model):
        detector = _load(model, "cpu")
        figure = plot_history(detector)
    write_picture(figure, output, f"{detector.n_iter_} steps of the fit drawn.", quiet=quiet)


@app.command(
    epilog="Examples:\n\nvae-anomaly plot latents data.csv --model data.vae --output latents.png\n\n"
    "vae-anomaly plot latents data.csv --model data.vae --color species --output latents.png"
)
@user_errors
def latents(
    table: options.Table,
    model: options.FittedModel,
    output: options.PictureOut,
    color: options.Color = None,
    device: options.Device = "auto",
    encoding: options.Encoding = "utf-8",
    quiet: options.Quiet = False,
) -> None:
    """Draw the codes of the rows of FILE on the two latents of largest KL, and the KL of each latent."""
    check_picture_output(output, inputs=(table, model))

    with plain_warnings(quiet=quiet):
        frame = _read(table, encoding)
        with naming(table):
            pick(frame, [color] if color else [], "--color")
        detector = _load(model, device)

        from vae_anomaly.reports import plot_latents

        with naming(table):
            figure = plot_latents(detector, frame, color=color)
    write_picture(figure, output, f"the codes of {len(frame)} rows drawn.", quiet=quiet)


@app.command(
    epilog="Examples:\n\nvae-anomaly plot samples --model data.vae --output samples.png\n\n"
    "vae-anomaly plot samples data.csv --model data.vae --rows 5000 --seed 1 --output samples.png"
)
@user_errors
def samples(
    model: options.FittedModel,
    output: options.PictureOut,
    table: options.OptionalTable = None,
    rows: options.SampleRows = None,
    seed: options.DrawSeed = 0,
    device: options.Device = "auto",
    encoding: options.Encoding = "utf-8",
    quiet: options.Quiet = False,
) -> None:
    """Draw how the columns of new rows out of the model are distributed, beside those of FILE where it is given."""
    check_picture_output(output, inputs=(table, model))

    with plain_warnings(quiet=quiet):
        frame = None if table is None else _read(table, encoding)
        detector = _load(model, device)

        from vae_anomaly.reports import plot_samples

        with naming(model if table is None else table):
            figure = plot_samples(detector, frame, n_samples=rows, random_state=seed)
    write_picture(figure, output, f"samples out of {model} drawn.", quiet=quiet)


@app.command(
    epilog="Example:\n\nvae-anomaly plot reconstructions data.csv --model data.vae --output reconstructions.png"
)
@user_errors
def reconstructions(
    table: options.Table,
    model: options.FittedModel,
    output: options.PictureOut,
    device: options.Device = "auto",
    encoding: options.Encoding = "utf-8",
    quiet: options.Quiet = False,
) -> None:
    """Draw each column of FILE against what the model makes of it."""
    check_picture_output(output, inputs=(table, model))

    with plain_warnings(quiet=quiet):
        frame = _read(table, encoding)
        detector = _load(model, device)

        from vae_anomaly.reports import plot_reconstructions

        with naming(table):
            figure = plot_reconstructions(detector, frame)
    write_picture(figure, output, f"{len(frame)} rows and what the model makes of them drawn.", quiet=quiet)


@app.command(
    epilog="Examples:\n\nvae-anomaly plot traversal --model data.vae --output traversal.png\n\n"
    "vae-anomaly plot traversal --model data.vae --dimension 3 --dimension 0 --span 2 --output traversal.png"
)
@user_errors
def traversal(
    model: options.FittedModel,
    output: options.PictureOut,
    dimensions: options.Dimensions = None,
    span: options.Span = 3.0,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Draw what moves in the table when one latent does, the others held at their means."""
    check_picture_output(output, inputs=(model,))
    draw_traversal(model, output, dimensions, span, device, quiet=quiet)


def draw_traversal(
    model: str, output: str, dimensions: list[int] | None, span: float, device: str, *, quiet: bool
) -> None:
    """Write the picture of walks along latents."""
    with plain_warnings(quiet=quiet), naming(model):
        detector = _load(model, device)

        from vae_anomaly.reports import plot_traversal

        figure = plot_traversal(detector, dimensions=dimensions or None, span=span)
    write_picture(figure, output, f"walks along the latents of {model} drawn.", quiet=quiet)


def write_picture(figure: Figure, output: str, told: str, *, quiet: bool) -> None:
    """Write a picture, with one line that tells of it."""
    from vae_anomaly.reports import write_figure

    with plain_warnings(quiet=quiet):
        write_figure(figure, output)
    remark(f"{output}: {told}", quiet=quiet)


def _read(table: str, encoding: str) -> pd.DataFrame:
    from vae_anomaly import read_table

    with naming(table):
        return read_table(table, encoding=encoding)


def _load(model: str, device: str) -> VAEDetector:
    from vae_anomaly import load

    with naming(model):
        return load(model, device=device)
