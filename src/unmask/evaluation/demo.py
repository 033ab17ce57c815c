"""The demo under its old name, for one release: `unmask experiment demo` with the same options.

    python -m unmask.evaluation.demo --out runs/demo

It lies in a room above this one now, so nothing here imports it before it is asked for.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from unmask.terminal import say

MOVED = "unmask.evaluation.demo is now `unmask experiment demo`{}; this name goes in the next release"


def __getattr__(name: str) -> Any:
    """What the module held, from where it is now."""
    home = None if name.startswith("__") else importlib.import_module("unmask.experiments.demo.run")
    if home is None or not hasattr(home, name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(MOVED.format(f" (from Python {home.__name__})"), DeprecationWarning, stacklevel=2)
    return getattr(home, name)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the demo and exits with its status."""
    say(f"unmask: warning: {MOVED.format('')}")
    importlib.import_module("unmask.cli").main(["experiment", "demo", *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    main()
