"""Names that a package imports on first use, so that `python -m package --help` does not wait for torch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module


def exports(package: str, **modules: str) -> Callable[[str], object]:
    """The `__getattr__` of a package.

    Args:
        modules: module of the package -> the names that are taken from it, with spaces between.
    """
    homes = {name: module for module, names in modules.items() for name in names.split()}

    def __getattr__(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return __getattr__
