"""Names of a package that are imported on first use, so that importing the package costs nothing.

lazily(__name__, {"generate": "unmask.decoding.generate"})          # at the end of the package's __init__
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any


def lazily(package: str, homes: Mapping[str, str]) -> None:
    """Makes names of a package out of those of its modules; a function may be called as the module it stands in."""

    class Lazy(ModuleType):
        def __setattr__(self, name: str, value: Any) -> None:
            # Importing `package.generate` would put the module where the function of that name is looked up.
            if not (name in homes and isinstance(value, ModuleType)):
                super().__setattr__(name, value)

        def __getattr__(self, name: str) -> Any:
            if name not in homes:
                raise AttributeError(f"module {package!r} has no attribute {name!r}")
            return getattr(importlib.import_module(homes[name]), name)

        def __dir__(self) -> list[str]:
            return sorted(self.__dict__.get("__all__", homes))

    sys.modules[package].__class__ = Lazy
