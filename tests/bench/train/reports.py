"""A report of `unmask bench train`, of turns set by hand: our arm twice as fast as a plain one, and two ranks."""

from __future__ import annotations

from typing import Any

from unmask.bench.train.measure import summary
from unmask.bench.train.options import BenchOptions

FACTS = {"bare": 10 * 2**20, "exactness": 1e-4, "parameters": 1234, "device": "cpu", "processes": 1}
SECONDS = {"ours": (1.0, 1.25), "plain": (2.0, 2.5), "2 ranks": (0.5, 1.0)}


def turn(seconds: float, losses: list[float]) -> dict[str, Any]:
    """Two steps of 1,000 tokens in all that need 1 GFLOP, where products reach 5 GFLOP/s."""
    fixed = {"tokens": 1000, "flops": 1e9, "waited": 0.01, "peak": 5e9, "memory": 100 * 2**20}
    return {"seconds": seconds, "losses": losses, **fixed}


def report(**more: Any) -> dict[str, Any]:
    """As `bench_train` makes it, of one size."""
    turns = {
        name: [turn(took, [3.0 - index, 2.5 - index]) for index, took in enumerate(rounds)]
        for name, rounds in SECONDS.items()
    }
    found = summary(turns, {name: FACTS for name in turns}, ["ours"]) | more
    settings = vars(BenchOptions(size=["6M"], threads=2, rounds=2, steps=2).resolved())
    machine = {"cpu": "a processor", "cores": 2}
    return {"settings": settings, "machine": machine, "versions": {"torch": "2.9"}, "sizes": {"6M": found}}
