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
from unmask.experiments.speed.texts import Writer, at
from unmask.model.folder import Model
from unmask.terminal import say

Arms = dict[tuple[str, str], Writer]


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
        (role, setting.name): Writer(models[role], at(setting, 1.0), banned=False)
        for role, own in settings.items()
        for setting in own
    }
    base = next(key for key in arms if key[0] == ARM)
    by_batch: dict[str, dict[str, dict[str, Any]]] = {}
    for batch in plan.batches:
        turns = [_round(store, arms, prompts, plan, batch, index) for index in range(plan.rounds)]
        by_batch[str(batch)] = {
            f"{role}: {name}": {
                "ratio": spread(np.array([t[f"{role}: {name}"][0] / t[f"{base[0]}: {base[1]}"][0] for t in turns])),
                "seconds": float(np.median([t[f"{role}: {name}"][0] for t in turns])),
                "passes": float(np.mean([t[f"{role}: {name}"][1] for t in turns])),
            }
            for role, name in arms
        }
    return by_batch


def _round(
    store: RequestStore, arms: Arms, prompts: Sequence[list[int]], plan: Plan, batch: int, index: int
) -> dict[str, list[float]]:
    """(seconds, passes) of every arm for the same prompts."""
    names = [f"{role}: {name}" for role, name in arms]
    key = request_key("time", names, batch, index, plan.length, torch.get_num_threads())
    if (known := store.get(key)) is not None:
        return dict(known)
    rows = [prompts[(index * batch + i) % len(prompts)] for i in range(batch)]
    keys = list(arms)
    if index == 0:
        for writer in arms.values():
            writer.generate(rows[:1], plan.written, index)
    times = {}
    for role, name in moved(keys, index * max(1, len(keys) // plan.rounds)):
        written, seconds = timed(partial(arms[role, name].generate, rows, plan.written, index))
        times[f"{role}: {name}"] = [seconds, float(np.mean([row.nfe for row in written]))]
    store.put(key, times)
    say(f"speed: times of batch {batch}: round {index + 1} of {plan.rounds}")
    return times
