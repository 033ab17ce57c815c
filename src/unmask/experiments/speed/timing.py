"""How long a text takes: arms in turns, ratios to the ARM within a round, medians over rounds.

    timings(store, models, settings, prompts, plan)      # {batch: {name: {"ratio": {...}, "passes": ...}}}

The protocol is that of `unmask bench decode`: loading is not timed, all arms are warm, they take turns in an order that
moves on every round, the ARM has its preallocated cache, and all write the same number of tokens. With one thread the
clock is the process's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from unmask.bench.decode.settings import Setting
from unmask.bench.kit.clock import timed
from unmask.bench.kit.spread import spread
from unmask.bench.kit.turns import moved
from unmask.evaluation.request_store import RequestStore, request_key
from unmask.experiments.speed.plan import ARM, Plan
from unmask.experiments.speed.texts import Writer
from unmask.model.folder import Model
from unmask.terminal import say

Arms = dict[str, Writer]  # by role and setting


def timings(
    store: RequestStore,
    models: Mapping[str, Model],
    settings: Mapping[str, Sequence[Setting]],
    prompts: Sequence[list[int]],
    plan: Plan,
) -> dict[str, dict[str, dict[str, Any]]]:
    """By batch and ``role: setting``, at temperature 1: seconds over the ARM's (median and quartiles), passes.

    models, settings: by role; the ARM's one setting is the baseline. prompts: of the first template.
    """
    arms: Arms = {
        f"{role}: {setting.name}": Writer(models[role], setting.at(1.0), banned=False)
        for role, own in settings.items()
        for setting in own
    }
    base = next(name for name in arms if name.startswith(f"{ARM}: "))
    by_batch: dict[str, dict[str, dict[str, Any]]] = {}
    for batch in plan.batches:
        turns = [_round(store, arms, prompts, plan, batch, index) for index in range(plan.rounds)]
        seconds = {name: np.array([turn[name][0] for turn in turns]) for name in arms}
        by_batch[str(batch)] = {
            name: {
                "ratio": spread(own / seconds[base]),
                "seconds": float(np.median(own)),
                "passes": float(np.mean([turn[name][1] for turn in turns])),
            }
            for name, own in seconds.items()
        }
    return by_batch


def _round(
    store: RequestStore, arms: Arms, prompts: Sequence[list[int]], plan: Plan, batch: int, index: int
) -> dict[str, list[float]]:
    """(seconds, passes) of every arm for the same prompts."""
    names = list(arms)
    key = request_key("time", names, batch, index, plan.length, torch.get_num_threads())
    if (known := store.get(key)) is not None:
        return dict(known)
    rows = [prompts[(index * batch + i) % len(prompts)] for i in range(batch)]
    if index == 0:
        for writer in arms.values():
            writer.generate(rows[:1], plan.written, index)
    times = {}
    for name in moved(names, index * max(1, len(names) // plan.rounds)):
        written, seconds = timed(partial(arms[name].generate, rows, plan.written, index))
        times[name] = [seconds, float(np.mean([row.nfe for row in written]))]
    store.put(key, times)
    say(f"speed: times of batch {batch}: round {index + 1} of {plan.rounds}")
    return times
