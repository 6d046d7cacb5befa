"""The report: one HTML page that says what a detector found in a table, and needs nothing but a browser to read.

`writing` is the entry point; `content` gathers what the page says, `template.html` says it. Everything is drawn before
the page is written, in HTML and SVG of our own: a plotting library would bring megabytes of script, or pictures that
neither follow the width of a phone nor the dark.
"""

from vae_anomaly.report.writing import write_report

__all__ = ["write_report"]
