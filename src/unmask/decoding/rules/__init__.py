"""Which positions are written, how many a step, what is taken back, and guidance: small registered rules.

    from unmask.decoding.rules import ORDERS, Order, parameter        # what a file of rules needs (docs/plugins.md)

A file in this folder is found by being here: it registers its rules when it is imported, which happens with the
package. `python -m unmask.tables docs` then writes the names into help and docs.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from unmask.decoding.rules.answers import Answers, Ranked
from unmask.decoding.rules.eligible import ELIGIBLE, Eligibility
from unmask.decoding.rules.guidance import SCHEDULES, Schedule
from unmask.decoding.rules.law import Law
from unmask.decoding.rules.orders import ORDERS, Judged, Order
from unmask.decoding.rules.quotas import QUOTAS, Adaptive, Quota, longest
from unmask.decoding.rules.registry import Registry, Rule, parameter
from unmask.decoding.rules.revise import REVISIONS, Before, Revision, Step
from unmask.decoding.rules.statistics import STATISTICS, Statistic
from unmask.decoding.state.turn import Turn, stream

__all__ = [
    "ELIGIBLE", "ORDERS", "QUOTAS", "REGISTRIES", "REVISIONS", "SCHEDULES", "STATISTICS",
    "Adaptive", "Answers", "Before", "Eligibility", "Judged", "Law", "Order", "Quota", "Ranked", "Revision", "Rule",
    "Schedule", "Statistic", "Step", "Turn", "longest", "parameter", "stream",
]  # fmt: skip

# By the option that names their rules; no option names a statistic.
REGISTRIES: dict[str, Registry[Any]] = {
    registry.kind: registry for registry in (ORDERS, QUOTAS, ELIGIBLE, REVISIONS, SCHEDULES, STATISTICS)
}

# Ours in the order in which lists show them; any others behind them.
OURS = ("statistics", "orders", "quotas", "remdm", "p2", "edit", "eligible")


def discover() -> None:
    found = sorted(module.name for module in pkgutil.iter_modules(__path__))
    for name in (*OURS, *(name for name in found if name not in OURS)):
        importlib.import_module(f"{__name__}.{name}")


discover()
