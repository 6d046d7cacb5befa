"""Public names of a package that are imported when they are first used, so that importing the package loads little."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


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
