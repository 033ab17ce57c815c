"""Arms of a measurement in turns, so that whatever else the machine does hits all alike.

    seconds = in_turns({"reference": reference, "ours": ours}, rounds=5, what="chain rule")     # {"ours": array of 5}
    faster = spread(seconds["reference"] / seconds["ours"])                                     # round by round
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from unmask.bench.kit.clock import timed
from unmask.terminal import say

Arm = TypeVar("Arm")


def moved(arms: Sequence[Arm], shift: int) -> list[Arm]:
    """Those from place `shift` on (counted round the end), then those before it."""
    place = shift % len(arms)
    return [*arms[place:], *arms[:place]]


def in_turns(calls: Mapping[str, Callable[[], Any]], rounds: int, what: str) -> dict[str, np.ndarray]:
    """Seconds of each call in every round, in an order that moves; a line on stderr a round."""
    names, seconds = list(calls), {name: [0.0] * rounds for name in calls}
    for index in range(rounds):
        for name in moved(names, index):
            seconds[name][index] = timed(calls[name])[1]
        times = ", ".join(f"{name} {seconds[name][index]:.2f} s" for name in names)
        say(f"bench: {what}, round {index + 1} of {rounds}: {times}")
    return {name: np.array(taken) for name, taken in seconds.items()}
