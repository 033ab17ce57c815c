"""How long a text takes: arms in turns, ratios to the ARM within a round, medians over rounds.

    timings(store, models, settings, prompts, plan)      # {batch: {name: {"ratio": {...}, "passes": ...}}}

The protocol is that of `unmask bench decode`: loading is not timed, all arms are warm at the batch's own shape, they
take turns in an order that moves on every round, the ARM has its preallocated cache, and all write the same number of
tokens. The ARM, under which every ratio stands, is timed first, in the middle and last of a round, and its mean counts.
With one thread the clock is the process's own.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from unmask.bench.decode.settings import Setting
from unmask.bench.kit.clock import timed
from unmask.bench.kit.spread import spread
from unmask.bench.kit.turns import moved
from unmask.decoding import Generation
from unmask.evaluation.request_store import RequestStore, request_key
from unmask.experiments.speed.plan import ARM, Plan
from unmask.experiments.speed.texts import Writer
from unmask.model.folder import Model
from unmask.scaling.machine import machine
from unmask.statistics import middle
from unmask.terminal import say

DRAWS = 1000
Arms = dict[str, Writer]  # by role and setting


def timings(
    store: RequestStore,
    models: Mapping[str, Model],
    settings: Mapping[str, Sequence[Setting]],
    prompts: Sequence[list[int]],
    plan: Plan,
) -> dict[str, dict[str, dict[str, Any]]]:
    """By batch and ``role: setting``, at temperature 1: seconds over the ARM's (median with its interval over rounds,
    quartiles), passes, and the machine's load in each round.

    models, settings: by role; the ARM's first setting is the baseline. prompts: of the first template.
    """
    arms: Arms = {
        f"{role}: {setting.name}": Writer(models[role], setting.at(1.0), banned=False)
        for role, own in settings.items()
        for setting in own
    }
    base = next(name for name in arms if name.startswith(f"{ARM}: "))
    by_batch: dict[str, dict[str, dict[str, Any]]] = {}
    for batch in plan.batches:
        warm: set[int] = set()
        turns = [_round(store, arms, base, prompts, plan, batch, index, warm) for index in range(plan.rounds)]
        seconds = {name: np.array([turn["times"][name][0] for turn in turns]) for name in arms}
        by_batch[str(batch)] = {
            name: {
                "ratio": with_interval(own / seconds[base]),
                "seconds": float(np.median(own)),
                "passes": float(np.mean([turn["times"][name][1] for turn in turns])),
                "load": [turn["load"] for turn in turns],
            }
            for name, own in seconds.items()
        }
    return by_batch


def with_interval(ratios_R: np.ndarray) -> dict[str, Any]:
    """Median and quartiles, and the interval of the median: rounds drawn again."""
    drawn = np.random.default_rng(0).integers(0, len(ratios_R), (DRAWS, len(ratios_R)))
    low, high = middle(np.median(ratios_R[drawn], axis=1))
    return {**spread(ratios_R), "low": low, "high": high}


def _round(
    store: RequestStore, arms: Arms, base: str, prompts: Sequence[list[int]], plan: Plan, batch: int, index: int,
    warm: set[int],
) -> dict[str, Any]:  # fmt: skip
    """times: (seconds of a call, passes) of every arm for the same prompts; load: of the machine, as it began."""
    names = list(arms)
    # Rounds of another machine have other ratios, so a folder that is taken elsewhere is timed anew.
    where = [machine(), str(arms[base].model.device), torch.__version__, torch.get_num_threads()]
    key = request_key("time", names, batch, index, plan.length, plan.timed_texts, where)
    if (known := store.get(key)) is not None:
        return dict(known)
    sets = max(1, math.ceil(plan.timed_texts / batch))
    rows = [[prompts[((index * sets + k) * batch + i) % len(prompts)] for i in range(batch)] for k in range(sets)]
    if batch not in warm:  # a run that goes on is cold too
        for writer in arms.values():
            writer.generate(rows[0], plan.written, index)
        warm.add(batch)
    load = os.getloadavg()[0]
    others = moved([name for name in names if name != base], index * max(1, len(names) // plan.rounds))
    half = len(others) // 2
    seconds: dict[str, list[float]] = {name: [] for name in names}
    passes = {}
    for name in (base, *others[:half], base, *others[half:], base):
        written, taken = timed(partial(_write, arms[name], rows, plan.written, index))
        seconds[name].append(taken / sets)
        passes[name] = float(np.mean([row.nfe for row in written]))
    found = {"times": {name: [float(np.mean(seconds[name])), passes[name]] for name in names}, "load": load}
    store.put(key, found)
    say(f"speed: times of batch {batch}: round {index + 1} of {plan.rounds}, load {load:.1f}")
    return found


def _write(writer: Writer, sets: Sequence[list[list[int]]], length: int, seed: int) -> list[Generation]:
    return [row for rows in sets for row in writer.generate(rows, length, seed)]
