"""Imports at first use: public names of a package, so that importing it loads little, and packages of extras."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from vae_anomaly.errors import MissingExtraError


def lazy_names(
    package: str, modules: Mapping[str, str], *, require: Callable[[], None] = lambda: None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Functions ``__getattr__`` and ``__dir__`` of a package.

    Parameters
    ----------
    package : str
        ``__name__`` of the package.
    modules : mapping of str to str
        For each public name the module in the package that defines it.
    require : callable
        Called before an import; raises if an optional dependency is missing.

    Examples
    --------
    >>> from vae_anomaly.lazy import lazy_names
    >>> get, names = lazy_names("vae_anomaly", {"one_thread": "parallel"})
    >>> get("one_thread").__module__
    'vae_anomaly.parallel'
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        require()
        return getattr(import_module(f"{package}.{modules[name]}"), name)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules})

    return get, names


def require_extra(extra: str, need: str, *modules: str) -> None:
    """Import optional ``modules``; if one is missing, raise a MissingExtraError with the ``need`` and the remedy.

    A ``{}`` in the need stands for the name of the missing package.

    Examples
    --------
    >>> from vae_anomaly.lazy import require_extra
    >>> require_extra("x", "X needs {}", "nothing")
    Traceback (most recent call last):
    vae_anomaly.errors.MissingExtraError: X needs nothing, which is not installed. Run: pip install "vae-anomaly[x]"
    """
    try:
        for module in modules:
            import_module(module)
    except ModuleNotFoundError as error:
        message = f'{need.format(error.name)}, which is not installed. Run: pip install "vae-anomaly[{extra}]"'
        raise MissingExtraError(message) from error
