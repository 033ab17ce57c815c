"""Training runs of an experiment in the test's own process: an import of torch for each would take most of the time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from unmask.experiments import workplace
from unmask.training.loop import train
from unmask.training.record import chosen_recipe


def run_here(
    commands: Mapping[str, Sequence[str]], stages: Any, at_once: int, ended: Callable[[str, Any], None]
) -> dict[str, Any]:
    """What `run_together` does with `python -m unmask train RECIPE [--resume ...] --json`."""
    found = {}
    for name, words in commands.items():
        resume = "--resume" in words
        found[name] = train(chosen_recipe(words[4], {}, resume), resume=resume).to_dict()
        ended(name, found[name])
    return found


def patch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workplace, "run_together", run_here)
