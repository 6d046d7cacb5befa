"""What a report needs, checked before anything slow begins; nothing heavy is imported here."""

from importlib import import_module
from os import PathLike
from pathlib import Path

from vae_anomaly.errors import DataError, MissingExtraError


def require_jinja() -> None:
    """Say which command installs Jinja2 where it is missing, before anything slow: a MissingExtraError."""
    try:
        import_module("jinja2")
    except ModuleNotFoundError as error:
        message = 'The report needs Jinja2, which is not installed. Run: pip install "vae-anomaly[report]"'
        raise MissingExtraError(message) from error


def check_path(path: str | PathLike[str]) -> None:
    """Refuse a file whose suffix is not that of a page."""
    if Path(path).suffix.lower() not in {".html", ".htm"}:
        raise DataError(f"The report is HTML; {str(path)!r} has another suffix. Choose a name that ends in .html.")
