"""From errors to exit statuses: 0 done, 1 the data or the model is at fault, 2 wrong usage, 130 interrupted.

Status 3, drift, is no error: the command `monitor` gives it.
"""

import functools
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn, ParamSpec, TypeVar

import typer

from vae_anomaly.errors import DeviceError, OutputError, VaeAnomalyError

P = ParamSpec("P")
R = TypeVar("R")


def user_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Let a command end in one sentence on standard error, never in a traceback, where the user can mend it."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except VaeAnomalyError as error:
            end(f"error: {error}", 2 if isinstance(error, DeviceError) else 1, error)
        except BrokenPipeError as error:  # the reader has seen enough: `| head`
            forget_standard_output()
            raise typer.Exit(0) from error
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            end(f"error: {place}{error.strerror or error}.", 1, error)
        except MemoryError as error:
            end("error: there is not enough memory for so many rows; take fewer at a time.", 1, error)
        except KeyboardInterrupt as error:
            end("interrupted", 130, error)

    return wrapper


def refuse_given(context: typer.Context, options: Mapping[str, str], reason: str) -> None:
    """Refuse options, by their parameters' names, that were given on the command line though they have no meaning."""
    for parameter, option in options.items():
        source = context.get_parameter_source(parameter)
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(reason, param_hint=option)


def end(message: str, status: int, cause: BaseException) -> NoReturn:
    """Say one line on standard error and exit."""
    typer.echo(message, err=True)
    raise typer.Exit(status) from cause


def forget_standard_output() -> None:
    """Send what is still buffered nowhere, or the interpreter complains about the closed pipe when it exits."""
    with suppress(OSError, ValueError):  # a standard output without a file descriptor has no pipe to close
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def naming(source: str) -> Iterator[None]:
    """Put the file in front of an error that does not name it: the library knows columns and rows, not files."""
    try:
        yield
    except (DeviceError, OutputError):
        raise
    except VaeAnomalyError as error:
        name = "standard input" if source == "-" else source
        as_path = re.escape(str(Path(name)))  # a folder loses the slash at its end
        if re.search(rf"(^|['\"/]){as_path}(?!\w)", str(error), re.IGNORECASE):  # not just any word of the message
            raise
        raise type(error)(f"{name}: {error}") from error
