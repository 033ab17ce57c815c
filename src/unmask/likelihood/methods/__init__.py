"""Ways to estimate a likelihood, a file each: what `unmask.score(method=...)` and `unmask score --method` take.

    NAMES                                   # ("mc-fixed", ...), for help: nothing heavy is imported for them
    method_of("chain-rule").target("random")

A file of this folder is found by being here: the method's name is the file's, with hyphens, and the file holds a
`METHOD`, of the class `Method` (`unmask/likelihood/method.py`), which says what is asked of a model.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

from unmask.errors import UserError, nearest

if TYPE_CHECKING:
    from unmask.likelihood.method import Method

# Ours in the order in which lists show them; any others behind them.
OURS = ("mc-fixed", "mc-bernoulli", "chain-rule", "order-mixture", "exact")
_FOUND = sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))
NAMES = (*OURS, *(name for name in _FOUND if name not in OURS))

WINDOWS = "mc-windows"  # validation's estimator (`likelihood/corpus.py`), of many windows together: none of `score`'s


def of_windows(method: str) -> str:
    """The name of an estimator of windows, which files of 0.1.0 have under that of another one of `score`'s."""
    return WINDOWS if method == "mc-fixed" else method


@cache
def method_of(name: str) -> Method:
    """The method of this name. Raises `UserError` for one that does not exist (listing all)."""
    if name not in NAMES:
        raise UserError(f"method '{name}' is unknown{nearest(name, NAMES)}; methods: {', '.join(NAMES)}")
    found: Method = importlib.import_module(f"{__name__}.{name.replace('-', '_')}").METHOD
    return found
