"""Pages of the site that are made at build time: one for each command, and copies of pages outside ``docs``."""

import os
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import typer

from vae_anomaly_cli.main import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)\s#]+)")
PANELS = {"Options": "Options"}


def write_all(folder: Path) -> None:
    """Write them below ``folder``."""
    group: Any = typer.main.get_command(app)
    commands = dict(leaves(group, "vae-anomaly"))
    pages = {f"commands/{page_name(name)}.md": command_page(name, command) for name, command in commands.items()}
    for original, name in copied_pages().items():
        pages[name] = original.read_text()
        for picture in original.parent.glob("*.png") if "results" in name else ():
            write_if_changed(folder / "results" / picture.name, picture.read_bytes())
    for name, text in pages.items():
        write_if_changed(folder / name, text.encode())


def copied_pages() -> dict[Path, str]:
    """Pages outside ``docs``, and their names below the folder of generated pages."""
    results = (ROOT / "benchmarks" / "results").glob("*.md")
    named = {page: f"results/{'index.md' if page.name == 'README.md' else page.name}" for page in sorted(results)}
    return {**named, ROOT / "CHANGELOG.md": "changes.md", ROOT / "CONTRIBUTING.md": "contributing.md"}


def point_into_site(app: Any, name: str, source: list[str]) -> None:
    """Let links of a page, which are right in the repository, point to pages of the site."""
    generated = DOCS / "generated"
    copies = {page.resolve(): generated / copy for page, copy in copied_pages().items()}
    originals = {copy.with_suffix(""): page for page, copy in copies.items()}
    page = DOCS / name
    home = originals.get(page, page).parent

    def target(found: re.Match[str]) -> str:
        meant = (home / found[1]).resolve()
        return os.path.relpath(copies.get(meant, meant), page.parent)

    if str(app.env.doc2path(name)).endswith(".md"):
        source[0] = LINK.sub(target, source[0])


def write_if_changed(path: Path, content: bytes) -> None:
    """Leave an equal file as it is: Sphinx then does not read it again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_bytes() != content:
        path.write_bytes(content)


def leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """All commands below a group, by their whole names."""
    below = getattr(command, "commands", None)
    if below is None:
        yield name, command
    else:
        for part, one in below.items():
            yield from leaves(one, f"{name} {part}")


def page_name(command: str) -> str:
    """Name of the page of a command: ``plot-latents`` for ``vae-anomaly plot latents``."""
    return command.partition(" ")[2].replace(" ", "-")


def command_page(name: str, command: Any) -> str:
    """Usage, help, arguments and options by panel, and examples."""
    context = command.make_context(name, [], resilient_parsing=True)
    usage = command.get_usage(context).removeprefix("Usage: ")
    panels: dict[str, list[str]] = {}
    for parameter in command.get_params(context):
        if not getattr(parameter, "hidden", False):
            panel = getattr(parameter, "rich_help_panel", None)
            usual = "Options" if parameter.param_type_name == "option" else "Arguments"
            panels.setdefault(panel or usual, []).append(described(parameter, context))
    parts = [f"# {name}", f"```text\n{usage}\n```", escaped(command.help or ""), f"```{{program}} {name}\n```"]
    for panel, options in panels.items():
        parts += [f"## {panel}", *options]
    return "\n\n".join([*parts, *examples(command.epilog or "")]) + "\n"


def described(parameter: Any, context: Any) -> str:
    """An argument or option: its names, what it takes, its help and its default."""
    takes = "" if getattr(parameter, "is_flag", False) else parameter.metavar or parameter.display_type(context)
    takes = str(takes).strip("<>{}[]")
    is_option = parameter.param_type_name == "option"
    names = [f"{option} {takes}".strip() for option in parameter.opts] if is_option else [takes]
    names += list(parameter.secondary_opts)
    remarks = [escaped(getattr(parameter, "help", None) or "")]
    if is_option and parameter.required:
        remarks.append("Required.")
    if is_option and parameter.show_default and parameter.default not in (None, False):
        default = parameter.default.value if isinstance(parameter.default, Enum) else parameter.default
        remarks.append(f"Default: `{default}`.")
    return f"```{{option}} {', '.join(names)}\n{' '.join(remarks)}\n```"


def examples(epilog: str) -> list[str]:
    """Commands in the epilog as a block, other lines as text."""
    lines = [line.strip() for line in epilog.splitlines()]
    commands = [line for line in lines if line and not line.endswith(":") and re.search(r"\bvae-anomaly\b", line)]
    others = [line for line in lines if line and line not in commands and line != "Examples:"]
    return ["## Examples", "```sh\n" + "\n".join(commands) + "\n```", *map(escaped, others)] if commands else []


def escaped(text: str) -> str:
    """Help as Markdown: only its `code` is marked up; options are code as well."""
    text = re.sub(r"([*_<>\[\]])", r"\\\1", text)
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part.replace("\\", "") if part.startswith("`") else re.sub(r"(?<![\w`-])(--[a-z][\w-]*)", r"`\1`", part)
        for part in parts
    )
