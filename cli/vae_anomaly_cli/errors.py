"""Errors as messages and exit statuses: 0 done, 1 error in the data or the model, 2 wrong usage.

An interrupted command exits with 130, one that was terminated by SIGTERM with 143; neither leaves anything behind.

Status 3 is no error: `monitor` has found drift, or `score --fail-if-anomalies` anomalies.
"""

import functools
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn, ParamSpec, TypeVar

import typer

from vae_anomaly.errors import DeviceError, OutputError, VaeAnomalyError
from vae_anomaly.formatting import without_password
from vae_anomaly_cli.memory import check_address_space
from vae_anomaly_cli.output import remark

FOUND = 3
NO_MEMORY = "bad_alloc", "failed to map segment", "Cannot allocate memory"  # in errors of compiled code

P = ParamSpec("P")
R = TypeVar("R")


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does."""


@contextmanager
def termination_as_ctrl_c() -> Iterator[None]:
    """Have SIGTERM raise an error, so that temporary files and locks are removed; not if it is ignored or handled."""

    def terminate(_number: int, _frame: object) -> NoReturn:
        raise Terminated

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def user_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Command that ends with one line on standard error, not a traceback, for errors that the user can fix."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            check_address_space()
            return command(*args, **kwargs)
        except VaeAnomalyError as error:
            end(f"error: {error}", 2 if isinstance(error, DeviceError) else 1, error)
        except BrokenPipeError as error:  # the reader has closed the pipe, as `| head` does
            forget_standard_output()
            raise typer.Exit(0) from error
        except OSError as error:
            is_broken = is_standard_output_broken()
            where = f"{error.filename}: " if error.filename else "standard output: " if is_broken else ""
            end(f"error: {where}{error.strerror or error}.", 1, error)
        except (MemoryError, RuntimeError, ImportError) as error:
            if not isinstance(error, MemoryError) and not any(sign in str(error) for sign in NO_MEMORY):
                raise
            end("error: there is not enough memory for these rows; use fewer at a time.", 1, error)
        except KeyboardInterrupt as error:
            end("interrupted", 143 if isinstance(error, Terminated) else 130, error)

    return wrapper


def refuse_given(context: typer.Context, options: Mapping[str, str], reason: str) -> None:
    """Raise an error for options (parameter name to option) that were given although they do not apply."""
    for option in given_options(context, options):
        raise typer.BadParameter(reason, param_hint=option)


def given_options(context: typer.Context, options: Mapping[str, str]) -> list[str]:
    """Those of the options (parameter name to option) that stand on the command line."""
    sources = {option: context.get_parameter_source(parameter) for parameter, option in options.items()}
    return [option for option, source in sources.items() if source is not None and source.name == "COMMANDLINE"]


def refuse_several(options: Mapping[str, object]) -> None:
    """Raise an error if more than one of these options, which exclude one another, has a value."""
    given = [option for option, value in options.items() if value is not None]
    if len(given) > 1:
        raise typer.BadParameter("these exclude one another; leave out all but one.", param_hint=" and ".join(given))


def end(message: str, status: int, cause: BaseException) -> NoReturn:
    """Print one line on standard error and exit."""
    remark(message, quiet=False)
    is_standard_output_broken()
    raise typer.Exit(status) from cause


def is_standard_output_broken() -> bool:
    """Whether what is left to print cannot be printed; it is discarded then."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        forget_standard_output()
        return True
    return False


def forget_standard_output() -> None:
    """Discard buffered output, or the interpreter complains about the closed pipe when it exits."""
    with suppress(OSError, ValueError):  # a standard output without a file descriptor has no pipe to close
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def naming(source: str) -> Iterator[None]:
    """Prefix errors with the file if they do not name it: the library knows columns and rows, not files."""
    try:
        yield
    except (DeviceError, OutputError):
        raise
    except VaeAnomalyError as error:
        name = "standard input" if source == "-" else without_password(source)
        known = f"{re.escape(name)}|{re.escape(str(Path(name)))}"  # a folder loses the slash at its end
        if re.search(rf"(^|['\"/])({known})(?!\w)", str(error), re.IGNORECASE):  # not just any word of the message
            raise
        raise type(error)(f"{name}: {error}") from error
