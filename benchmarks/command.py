"""The command line of a benchmark: its options, and its result in words or as JSON.

    begin(EngineBenchOptions)                       # python -m benchmarks.engine

Lines, statuses and `--json` are those of `unmask`: results on stdout, progress on stderr, 2 and one line for bad input.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NoReturn

from unmask.cli import main, perform
from unmask.options import Options


def begin(cls: type[Options], name: str, argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the benchmark of these options, of that module, and exits with its status."""
    main(argv, partial(perform, cls, command=f"python -m benchmarks.{name}"))
