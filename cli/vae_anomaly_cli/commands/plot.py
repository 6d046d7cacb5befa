"""``vae-anomaly plot``: pictures of a model and of data under it, one command per picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from vae_anomaly_cli import options
from vae_anomaly_cli.commands.explain import read_explained
from vae_anomaly_cli.commands.fit import read_or_fit, refuse_fitting
from vae_anomaly_cli.errors import naming, refuse_given, user_errors
from vae_anomaly_cli.groups import Fitting, Reading, grouped, option_names
from vae_anomaly_cli.inputs import TableInput, read_input, read_model, select_columns
from vae_anomaly_cli.output import check_picture_output, phase, plain_warnings, remark

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXAMPLES = """\
vae-anomaly plot scores data.csv --output scores.png
vae-anomaly plot reasons data.csv --row 17 --output reasons.png
vae-anomaly plot history --model data.vae --output history.png
vae-anomaly plot latents data.csv --model data.vae --output latents.png
vae-anomaly plot samples data.csv --model data.vae --output samples.png
vae-anomaly plot reconstructions digits/ --model digits.vae -o digits.svg
vae-anomaly plot traversal --model data.vae --output traversal.pdf"""
FILE_OPTIONS = {**option_names(Reading), "skip_bad": "--skip-bad"}

app = typer.Typer(
    cls=options.Commands,
    help="Draw scores and reasons, a model, or rows or images as the model represents them.",
    no_args_is_help=True,
    epilog=options.epilog(EXAMPLES),
)


@app.command(
    cls=options.Command,
    epilog=options.epilog(
        "vae-anomaly plot scores data.csv --output scores.png\n"
        "vae-anomaly plot scores new.csv --model data.vae --output scores.svg"
    ),
)
@user_errors
@grouped
def scores(
    context: typer.Context,
    file: options.File,
    output: options.PictureOut,
    *,
    model: options.OptionalModel = None,
    exclude: options.Exclude = None,
    fitting: Fitting,
    device: options.Device = "auto",
    skip_bad: options.SkipBad = False,
    quiet: options.Quiet = False,
    reading: Reading,
) -> None:
    """Draw the distribution of the scores of FILE, with the line from which rows or images are flagged."""
    check_picture_output(output, inputs=(file, model))
    refuse_fitting(context, model)

    with plain_warnings(quiet=quiet):
        with naming(file), phase(f"reading {file}", quiet=quiet):
            source = read_input(context, file, exclude or [], [], reading, skip_bad=skip_bad)
        detector = read_or_fit(file, source, model, exclude, fitting, device, quiet=quiet)

        from vae_anomaly.plots import plot_scores

        with naming(file), phase("drawing", quiet=quiet):
            rows = source.rows_for(detector)
            figure = plot_scores(detector, rows)
    write_picture(figure, output, f"scores of {len(rows):,} {source.noun}.", quiet=quiet)


@app.command(
    cls=options.Command,
    epilog=options.epilog(
        "vae-anomaly plot reasons data.csv --output reasons.png\n"
        "vae-anomaly plot reasons data.csv --row 17 --output reasons.png\n"
        "vae-anomaly plot reasons new.csv --row 17 --model data.vae -o reasons.svg"
    ),
)
@user_errors
@grouped
def reasons(
    context: typer.Context,
    file: options.Table,
    output: options.PictureOut,
    *,
    row: options.DrawnRow = None,
    model: options.OptionalModel = None,
    exclude: options.Exclude = None,
    fitting: Fitting,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    reading: Reading,
) -> None:
    """Draw what each column adds to the score of one row of FILE, with the values seen and expected."""
    check_picture_output(output, inputs=(file, model))
    refuse_fitting(context, model)

    with plain_warnings(quiet=quiet):
        with naming(file), phase(f"reading {file}", quiet=quiet):
            source = read_explained(context, file, exclude or [], [], [row or 1], reading)
        detector = read_or_fit(file, source, model, exclude, fitting, device, quiet=quiet)

        from vae_anomaly.plots import plot_reasons

        with naming(file), phase("drawing", quiet=quiet):
            rows = source.rows_for(detector)
            number = row or int(detector.score_samples(rows).argmin()) + 1
            figure = plot_reasons(detector, rows.iloc[[number - 1]].set_axis([number]))
    write_picture(figure, output, f"reasons of row {number:,}.", quiet=quiet)


@app.command(
    cls=options.Command, epilog=options.epilog("vae-anomaly plot history --model data.vae --output history.png")
)
@user_errors
def history(model: options.Model, output: options.PictureOut, quiet: options.Quiet = False) -> None:
    """Draw the course of the fit: the ELBO and its two terms over the steps."""
    check_picture_output(output, inputs=(model,))

    from vae_anomaly.plots import plot_history

    with plain_warnings(quiet=quiet):
        detector = read_model(model, "cpu")
        with naming(model):
            figure = plot_history(detector)
    write_picture(figure, output, f"history of {detector.n_iter_} steps.", quiet=quiet)


@app.command(
    cls=options.Command,
    epilog=options.epilog(
        "vae-anomaly plot latents data.csv --model data.vae --output latents.png\n"
        "vae-anomaly plot latents data.csv --model data.vae --color species -o map.png\n"
        "vae-anomaly plot latents digits/ --model digits.vae --output latents.png"
    ),
)
@user_errors
@grouped
def latents(
    context: typer.Context,
    file: options.File,
    model: options.Model,
    output: options.PictureOut,
    *,
    color: options.Color = None,
    device: options.Device = "auto",
    skip_bad: options.SkipBad = False,
    quiet: options.Quiet = False,
    reading: Reading,
) -> None:
    """Draw the rows or images of FILE on the two latents of largest KL, and the KL of each latent."""
    check_picture_output(output, inputs=(file, model))

    with plain_warnings(quiet=quiet):
        with naming(file), phase(f"reading {file}", quiet=quiet):
            source = read_input(context, file, [], [], reading, skip_bad=skip_bad)
            if color is not None and isinstance(source, TableInput):
                select_columns(source.rows, [color], "--color")
        detector = read_model(model, device)

        from vae_anomaly.plots import plot_latents

        with naming(file):
            rows = source.rows_for(detector)
            figure = plot_latents(detector, rows, color=color)
    write_picture(figure, output, f"latent means of {len(rows)} {source.noun}.", quiet=quiet)


@app.command(
    cls=options.Command,
    epilog=options.epilog(
        "vae-anomaly plot samples --model data.vae --output samples.png\n"
        "vae-anomaly plot samples data.csv --model data.vae --rows 5000 -o samples.png\n"
        "vae-anomaly plot samples digits/ --model digits.vae --output samples.png"
    ),
)
@user_errors
@grouped
def samples(
    context: typer.Context,
    model: options.Model,
    output: options.PictureOut,
    *,
    file: options.ComparedFile = None,
    rows: options.SampleRows = None,
    seed: options.SampleSeed = 0,
    device: options.Device = "auto",
    skip_bad: options.SkipBad = False,
    quiet: options.Quiet = False,
    reading: Reading,
) -> None:
    """Draw the distribution of generated rows, or generated images, next to those of FILE if it is given."""
    check_picture_output(output, inputs=(file, model))
    if file is None:
        refuse_given(context, FILE_OPTIONS, "it applies to FILE, and there is none; leave it out.")

    with plain_warnings(quiet=quiet):
        source = None
        if file is not None:
            with naming(file), phase(f"reading {file}", quiet=quiet):
                source = read_input(context, file, [], [], reading, skip_bad=skip_bad)
        detector = read_model(model, device)

        from vae_anomaly.plots import plot_samples

        with naming(model if file is None else file):
            compared = None if source is None else source.rows_for(detector)
            figure = plot_samples(detector, compared, n_samples=rows, random_state=seed)
    write_picture(figure, output, f"samples of {model}.", quiet=quiet)


@app.command(
    cls=options.Command,
    epilog=options.epilog(
        "vae-anomaly plot reconstructions data.csv --model data.vae -o columns.png\n"
        "vae-anomaly plot reconstructions digits/ --model digits.vae -o digits.png"
    ),
)
@user_errors
@grouped
def reconstructions(
    context: typer.Context,
    file: options.File,
    model: options.Model,
    output: options.PictureOut,
    *,
    device: options.Device = "auto",
    skip_bad: options.SkipBad = False,
    quiet: options.Quiet = False,
    reading: Reading,
) -> None:
    """Draw each column of FILE against its reconstruction, or images above their reconstructions."""
    check_picture_output(output, inputs=(file, model))

    with plain_warnings(quiet=quiet):
        with naming(file), phase(f"reading {file}", quiet=quiet):
            source = read_input(context, file, [], [], reading, skip_bad=skip_bad)
        detector = read_model(model, device)

        from vae_anomaly.plots import plot_reconstructions

        with naming(file):
            rows = source.rows_for(detector)
            figure = plot_reconstructions(detector, rows)
    write_picture(figure, output, f"{len(rows)} {source.noun} and their reconstructions.", quiet=quiet)


@app.command(
    cls=options.Command,
    epilog=options.epilog(
        "vae-anomaly plot traversal --model data.vae --output traversal.png\n"
        "vae-anomaly plot traversal --model data.vae -d 3 -d 0 --span 2 -o walks.png"
    ),
)
@user_errors
def traversal(
    model: options.Model,
    output: options.PictureOut,
    dimensions: options.Dimensions = None,
    span: options.Span = 3.0,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Draw how a row or image changes along one latent, with the others at their means."""
    check_picture_output(output, inputs=(model,))
    draw_traversal(model, output, dimensions, span, device, quiet=quiet)


def draw_traversal(
    model: str, output: str, dimensions: list[int] | None, span: float, device: str, *, quiet: bool
) -> None:
    """Write the picture of traversals."""
    with plain_warnings(quiet=quiet):
        detector = read_model(model, device)

        from vae_anomaly.plots import plot_traversal

        with naming(model):
            figure = plot_traversal(detector, dimensions=dimensions or None, span=span)
    write_picture(figure, output, f"traversals of the latents of {model}.", quiet=quiet)


def write_picture(figure: Figure, output: str, message: str, *, quiet: bool) -> None:
    """Write a picture, with one line about it on standard error."""
    from vae_anomaly.plots import write_figure

    with plain_warnings(quiet=quiet):
        write_figure(figure, output)
    remark(f"{output}: {message}", quiet=quiet)
