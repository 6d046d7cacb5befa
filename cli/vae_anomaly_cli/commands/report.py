"""``vae-anomaly report``: write one HTML page about the anomalies in a table."""

from __future__ import annotations

import hashlib
import re
import shlex
from pathlib import Path

import typer

from vae_anomaly.formatting import without_password
from vae_anomaly.report import require_jinja
from vae_anomaly_cli import options
from vae_anomaly_cli.commands.fit import read_or_fit, refuse_fitting
from vae_anomaly_cli.errors import naming, refuse_several, user_errors
from vae_anomaly_cli.groups import Fitting, Flagging, Reading, grouped, option_names
from vae_anomaly_cli.inputs import read_input
from vae_anomaly_cli.output import check_page_output, phase, plain_warnings, remark

EXAMPLES = """\
vae-anomaly report data.csv --output report.html
vae-anomaly report new.csv --model normal.vae --keep id --output report.html
vae-anomaly report new.csv --model normal.vae --fdr 0.05 --output report.html"""


@user_errors
@grouped
def report(
    context: typer.Context,
    file: options.File,
    output: options.PageOut,
    *,
    model: options.OptionalModel = None,
    title: options.Title = None,
    noun: options.Noun = None,
    keep: options.Keep = None,
    top: options.TopRows = 100,
    flagging: Flagging,
    exclude: options.Exclude = None,
    fitting: Fitting,
    device: options.Device = "auto",
    skip_bad: options.SkipBad = False,
    quiet: options.Quiet = False,
    reading: Reading,
) -> None:
    """Write an HTML page about the anomalies in FILE, for any browser, also offline.

    Without --model, a model is fitted to FILE itself; with one, the rows are also compared with the training rows.

    The page says how many rows need a look, groups them by what they have in common, and lists them with reasons. A
    reviewer can give each a verdict and download the verdicts and the rows as CSV. The distribution of the scores, the
    checks of the model, the columns and the origin of the page follow.
    """
    refuse_fitting(context, model)
    refuse_several({name: flagging.rule[parameter] for parameter, name in option_names(Flagging).items()})
    check_page_output(output, inputs=(file, model))
    require_jinja()

    with plain_warnings(quiet=quiet):
        with naming(file), phase(f"reading {file}", quiet=quiet):
            source = read_input(context, file, exclude or [], keep or [], reading, skip_bad=skip_bad)
        detector = read_or_fit(file, source, model, exclude, fitting, device, quiet=quiet)
        with naming(file), phase(f"writing {output}", quiet=quiet):
            from vae_anomaly.report import write_report

            rows = source.rows_for(detector)
            write_report(
                detector,
                rows,
                output,
                title=f"Anomalous {source.noun} of {_name(file)}" if title is None else title,
                noun=noun or _noun(file, source.noun),
                origin=_origin(file, model, context.find_root().obj),
                keep=source.identifiers(),
                top=top,
                **flagging.rule,
                compare=model is not None,
            )
    remark(f"{output}: report on {len(rows)} {source.noun}.", quiet=quiet)


def _name(file: str) -> str:
    return "standard input" if file == "-" else Path(without_password(file)).name


def _noun(file: str, noun: str) -> str:
    """What the rows are: the name of a file if it is one plural, such as invoices.csv."""
    words = re.findall(r"[^\W\d_]+", _name(file).partition(".")[0])
    is_plural = noun == "rows" and len(words) == 1 and re.fullmatch(r"\w{2,}[^\Wsu]s", words[0])
    return words[0].lower() if is_plural and words[0].lower() not in ("analysis", "news", "series") else noun


def _origin(file: str, model: str | None, arguments: list[str]) -> dict[str, str]:
    """Where the page comes from: file, model, their digests, and the command."""
    found = {
        "File": without_password(file),
        "SHA-256 of the file": _digest(file),
        "Model": f"fitted to {_name(file)}" if model is None else model,
        "SHA-256 of the model": "" if model is None else _digest(model),
        "Command": without_password(shlex.join(["vae-anomaly", *arguments])),
    }
    return {name: text for name, text in found.items() if text}


def _digest(path: str) -> str:
    """SHA-256 of a file; empty if it is none, such as a folder or a database."""
    if not Path(path).is_file():
        return ""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
