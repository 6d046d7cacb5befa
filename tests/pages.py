"""Markdown pages, run: their Python in one namespace a page, their commands on a terminal or in a shell.

What stands in a ``text`` block is what the Python before it prints, and a ``console`` block shows the output of its
commands; ``sh`` blocks only have to succeed. Commands run in this process, which is ten times as fast as starting one
each; pipelines, and commands that are not ours, run in a shell.
"""

import ast
import contextlib
import importlib.util
import io
import os
import re
import shlex
import sys
import warnings
from pathlib import Path

from terminal import in_process, in_shell

BLOCK = re.compile(r"^```(python|console|text|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CHAINED = re.compile(r"[|<>;&]|\\$", re.MULTILINE)
ENVIRONMENT = {
    "COLUMNS": "100",
    "TERM": "xterm",
    "CUDA_VISIBLE_DEVICES": "",  # a GPU draws other random numbers
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
}


def run(page: str, name: str, *, shell: bool = True) -> str:
    """The page with the output of this machine; ``sh`` blocks are left as they are without a ``shell``."""
    namespace: dict[str, object] = {"__name__": "page"}
    printed: str | None = ""

    def block(found: re.Match[str]) -> str:
        nonlocal printed
        kind, content = found.groups()
        match kind:
            case "python":
                assert not printed, f"{name} does not show {printed!r}"
                printed = printed_by(content, name, namespace)
            case "text":
                content, printed = content if printed is None else printed, ""
            case "console":
                commands = re.findall(r"^\$ (.*)$", content, re.MULTILINE)
                content = "".join(f"$ {command}\n{output_of(command)}" for command in commands)
            case "sh" if shell:
                for command in [content] if CHAINED.search(content) else content.splitlines():
                    run_command(command)
        return f"```{kind}\n{content}```"

    return BLOCK.sub(block, page)


def printed_by(python: str, name: str, namespace: dict[str, object]) -> str | None:
    """What a block prints; None if it imports what is not installed, and is left out."""
    imports = [node for node in ast.walk(ast.parse(python)) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = [alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module for node in imports if isinstance(node, ast.ImportFrom) and node.module]
    if not all(importlib.util.find_spec(module.partition(".")[0]) for module in modules):
        return None
    with contextlib.redirect_stdout(io.StringIO()) as stream, warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        exec(compile(python, name, "exec"), namespace)
    return stream.getvalue()


def run_command(command: str) -> None:
    """Run one of our commands in this process, and all else in a shell; it must succeed."""
    if CHAINED.search(command) or not command.startswith("vae-anomaly "):
        status, _, errors = in_shell(f"set -eo pipefail; {command}")
        assert status == 0, f"{command}: {errors}"
        assert "error" not in errors
    elif command.strip():
        output_of(command)


def output_of(command: str) -> str:
    """Terminal output, then remarks, of a command; ``COMMAND || OTHER`` runs the other one after a failure."""
    ours, _, otherwise = command.partition(" || ")
    if not ours.startswith("vae-anomaly ") or "|" in ours:
        status, shown, err = in_shell(command)
    else:
        status, shown, err = in_process(*shlex.split(ours)[1:])
        if otherwise:
            status, more, _ = in_shell(f"(exit {status}) || {otherwise}")
            shown += more
    assert status == 0, err
    return shown + err
