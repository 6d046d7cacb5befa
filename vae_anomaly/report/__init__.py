"""The report: one HTML page about the rows that a detector finds anomalous in a table.

The page needs only a browser. Its charts are HTML and SVG of our own: a plotting library would add megabytes of script,
or pictures that adapt neither to the width of a phone nor to a dark screen. `check_path` and `require_jinja` are here,
and `write_report` is resolved when it is first used, so that the command line can check its options before it imports
anything heavy.
"""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from vae_anomaly.errors import DataError
from vae_anomaly.lazy import lazy_names, require_extra

if TYPE_CHECKING:
    from vae_anomaly.report.page import write_report

__all__ = ["check_path", "require_jinja", "write_report"]


__getattr__, __dir__ = lazy_names(__name__, {"write_report": "page"})


def require_jinja() -> None:
    """Raise a MissingExtraError with the install command if Jinja2 is missing."""
    require_extra("report", "The report needs Jinja2", "jinja2")


def check_path(path: str | PathLike[str]) -> None:
    """Raise a DataError if the file's suffix is not that of an HTML page."""
    if Path(path).suffix.lower() not in {".html", ".htm"}:
        raise DataError(f"The report is HTML; {str(path)!r} has another suffix. Choose a name that ends in .html.")
