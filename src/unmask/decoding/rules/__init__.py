"""Which positions are written, how many a step, what is taken back, and guidance: small registered rules.

A file in this folder is found by being here: it registers its rules (`ORDERS`, `QUOTAS`, `REVISIONS`, `ELIGIBLE`,
`STATISTICS`) when it is imported, which happens with the package.
"""

from __future__ import annotations

import importlib
import pkgutil

# Ours in the order in which lists show them; any others behind them.
OURS = ("statistics", "orders", "quotas", "remdm", "p2", "edit", "eligible")


def discover() -> None:
    found = sorted(module.name for module in pkgutil.iter_modules(__path__))
    for name in (*OURS, *(name for name in found if name not in OURS)):
        importlib.import_module(f"{__name__}.{name}")


discover()
