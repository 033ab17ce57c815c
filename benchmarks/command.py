"""The command line of a benchmark: its options, and its result in words or as JSON.

    begin(EngineBenchOptions)                       # python -m benchmarks.engine
    return written({**head("llama", options, model), "speedup": 1.3}, options.out)

Lines, statuses and `--json` are those of `unmask`: results on stdout, progress on stderr, 2 and one line for bad input.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, NoReturn

import torch

from unmask.cli import main, perform
from unmask.evaluation.provenance import model_facts
from unmask.files import write_whole
from unmask.model.folder import Model
from unmask.options import Options
from unmask.provenance import versions


def begin(cls: type[Options], name: str, argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the benchmark of these options, of that module, and exits with its status."""
    main(argv, partial(perform, cls, command=f"python -m benchmarks.{name}"))


def head(kind: str, options: Any, model: Model) -> dict[str, Any]:
    """What a benchmark's result says before its numbers: what was asked, of which model, with what."""
    facts = {"model": model_facts(model), "versions": versions(), "threads": torch.get_num_threads()}
    return {"schema_version": 1, "kind": f"unmask-bench-{kind}", "options": asdict(options), **facts}


def written(result: dict[str, Any], out: str | None) -> dict[str, Any]:
    """The result, which is written as JSON where that is asked for."""
    if out is not None:
        write_whole(out, json.dumps(result, indent=1) + "\n")
    return result
