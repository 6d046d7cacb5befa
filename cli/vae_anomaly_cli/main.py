"""The command ``vae-anomaly``: its commands and common options."""

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from vae_anomaly_cli.commands import (
    benchmark,
    explain,
    export,
    features,
    fit,
    generate,
    info,
    monitor,
    plot,
    register,
    report,
    score,
    serve,
    suggest,
    traverse,
    update,
)
from vae_anomaly_cli.errors import termination_as_ctrl_c
from vae_anomaly_cli.options import Command, Commands, epilog, paragraphs
from vae_anomaly_cli.output import buffer_standard_output

EXAMPLES = """\
vae-anomaly score data.csv                          # most anomalous rows
vae-anomaly score data.csv --output scores.csv      # all rows, with reasons
vae-anomaly report data.csv --output report.html    # a page to share
vae-anomaly explain data.csv --row 17               # a row, cell by cell
vae-anomaly suggest data.csv                        # corrections

vae-anomaly fit normal.csv --novelty --output normal.vae
vae-anomaly score new.csv --model normal.vae --top 20
vae-anomaly monitor new.csv --model normal.vae
vae-anomaly update new.csv --model normal.vae --output normal.vae

`vae-anomaly COMMAND --help` has the options and more examples of a command.

Exit status: 0 done, 1 error in the data or the model, 2 wrong usage; 3 if `monitor` finds drift, or
`score --fail-if-anomalies` flags a row."""

app = typer.Typer(
    name="vae-anomaly",
    cls=Commands,
    help="Find anomalous rows of a table, or anomalous images of a folder, with variational autoencoders.",
    epilog=epilog(EXAMPLES),
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals hold the user's data
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vae-anomaly {version('vae-anomaly')}")
        raise typer.Exit


@app.callback()
def common(
    _version: Annotated[
        bool, typer.Option("--version", "-V", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Find anomalous rows of a table, or anomalous images of a folder, with variational autoencoders."""


def _add(command: Callable[..., None], examples: str, panel: str | None = None) -> None:
    """Add a command."""
    help_text = paragraphs(command.__doc__ or "")
    app.command(cls=Command, help=help_text, epilog=epilog(examples), rich_help_panel=panel)(command)


_add(score.score, score.EXAMPLES)
_add(fit.fit, fit.EXAMPLES)
_add(update.update, update.EXAMPLES)
_add(explain.explain, explain.EXAMPLES)
_add(suggest.suggest, suggest.EXAMPLES)
_add(monitor.monitor, monitor.EXAMPLES)
_add(report.report, report.EXAMPLES)
_add(benchmark.benchmark, benchmark.EXAMPLES)
_add(features.features, features.EXAMPLES)
_add(generate.generate, generate.EXAMPLES)
_add(traverse.traverse, traverse.EXAMPLES)
_add(info.info, info.EXAMPLES)
_add(export.export, export.EXAMPLES)
_add(register.register, register.EXAMPLES, panel="MLflow")
_add(serve.serve, serve.EXAMPLES, panel="MLflow")
app.add_typer(plot.app, name="plot", rich_help_panel="Pictures")


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line with the given arguments, or with those of the process."""
    buffer_standard_output()
    with termination_as_ctrl_c():
        # the arguments as they stand go along, for pages that name their command
        app(args=args, prog_name="vae-anomaly", obj=[*(sys.argv[1:] if args is None else args)])
