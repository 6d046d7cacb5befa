"""The README's picture of a terminal: what a command prints there, drawn as an SVG by rich.

``python docs/terminal_picture.py`` draws it anew.
"""

import os
import pty
import re
import shlex
import subprocess
import sys
from contextlib import suppress
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "examples" / "score.svg"
COMMAND = "vae-anomaly score examples/diamonds.csv --top 6"
WIDTH = 100  # characters
CHARACTER = 12.2  # their width in rich's pictures
THEME = TerminalTheme(
    (13, 17, 23),
    (230, 237, 243),
    [(72, 79, 88), (255, 123, 114), (63, 185, 80), (210, 153, 34), (88, 166, 255), (188, 140, 255), (57, 197, 207)]
    + [(177, 186, 196)],
)
FONTS = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def terminal_output(command: str) -> str:
    """What a command shows on a terminal, its colours included, then its remarks."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(WIDTH), "TERM": "xterm-256color", "CUDA_VISIBLE_DEVICES": ""}
    words = [sys.executable, "-m", "vae_anomaly_cli", *shlex.split(command)[1:]]
    process = subprocess.Popen(words, stdout=theirs, stderr=subprocess.PIPE, cwd=ROOT, env=environment, text=True)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # Linux reports the closed end so
        while chunk := os.read(ours, 65536):
            shown += chunk
    os.close(ours)
    remarks = process.communicate()[1]
    if process.returncode:
        raise SystemExit(remarks)
    return shown.decode().replace("\r\n", "\n") + remarks


def drawn(command: str, output: str) -> str:
    """SVG of a terminal after a command; no font is fetched, and the same text gives the same bytes."""
    console = Console(file=StringIO(), record=True, width=WIDTH, force_terminal=True, color_system="truecolor")
    console.print(Text.assemble(("$ ", "green"), (command, "bold")))
    console.print(Text.from_ansi(output.rstrip()), highlight=False)
    svg = console.export_svg(title="", theme=THEME, unique_id="score")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace("Fira Code, monospace", FONTS)
    return "".join(f"{line.rstrip()}\n" for line in svg.splitlines())


def text_of(svg: str) -> str:
    """The text that a picture of a terminal shows, line by line."""
    lines: dict[float, str] = {}
    for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        if text := (element.text or "").replace("\xa0", " ").rstrip():
            line = lines.get(y := float(element.attrib["y"]), "")
            lines[y] = line.ljust(round(float(element.attrib["x"]) / CHARACTER)) + text
    return "".join(f"{lines[y].rstrip()}\n" for y in sorted(lines))


if __name__ == "__main__":
    PICTURE.write_text(drawn(COMMAND, terminal_output(COMMAND)))
