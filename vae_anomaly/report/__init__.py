"""The report: one HTML page that says what a detector found in a table, and needs nothing but a browser to read.

`writing` is the entry point; `content` gathers what the page says, `template.html` says it. Everything is drawn before
the page is written, in HTML and SVG of our own: a plotting library would bring megabytes of script, or pictures that
neither follow the width of a phone nor the dark.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vae_anomaly.report.writing import write_report

__all__ = ["write_report"]


def __getattr__(name: str) -> Any:
    if name != "write_report":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vae_anomaly.report import writing

    return writing.write_report
