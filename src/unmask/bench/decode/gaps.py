"""The second table of `unmask bench decode`: gaps of held-out text, how well and how fast they are filled.

    rows = gaps(bench)

A masked model sees both sides of a gap and may fill it in one pass; its twin continues what stands before, which is all
it can. Temperature 0. Exact match and a judge's bits per byte of the text from the gap on; times in turns, as for
continuations.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from unmask.bench.decode.settings import Setting
from unmask.bench.decode.shared import BASELINE, Bench, chosen, in_type, shared_context
from unmask.bench.kit.clock import timed
from unmask.bench.kit.spread import spread
from unmask.bench.kit.turns import moved
from unmask.errors import UserError
from unmask.evaluation.generation_quality import fill_gaps, held_out, infilled, judged, spans
from unmask.model.folder import Model
from unmask.terminal import say

CONTEXT = 256  # tokens of a piece, at most
JUDGED = 128  # pieces whose text the judge reads


def gap_settings(span: int) -> list[Setting]:
    """Ways to fill a gap of so many tokens, from one pass to one a token; duplicates of short gaps are left out."""
    settings = [Setting("confidence, 1 step", {"order": "confidence", "steps": 1})]
    if span > 2:
        steps = math.ceil(span / 2)
        settings.append(Setting(f"confidence, {steps} steps", {"order": "confidence", "steps": steps}))
    orders = ("confidence", "margin", "entropy", "left-to-right", "random") if span > 1 else ()
    settings += [Setting(f"{order}, {span} steps", {"order": order, "steps": span}) for order in orders]
    settings += [Setting(f"threshold {t:g}", {"order": "confidence", "quota": f"threshold:{t:g}"}) for t in (0.9, 0.5)]
    settings.append(Setting("confidence, 1 step, edit:0.5", {"order": "confidence", "steps": 1, "revise": "edit:0.5"}))
    guided = {"order": "confidence", "steps": span, "guidance": 0.5}
    return [*settings, Setting(f"confidence, {span} steps, guidance 0.5", guided)]


def gaps(bench: Bench) -> dict[str, Any]:
    """A row a setting, and what the judge says of the text as it was."""
    options = bench.options
    pieces = held_out(bench.data, options.gaps, min(shared_context(bench.mdm, bench.arm), CONTEXT))
    wanted = [setting for setting in gap_settings(options.span) if chosen(setting.name, options.only)]
    arms: list[tuple[Setting, Model]] = [(setting, bench.mdm) for setting in wanted]
    for dtype, (model, _) in bench.others.items():
        arms += [(dataclasses.replace(s, name=in_type(s.name, dtype, options)), model) for s in wanted]
    if bench.arm is not None:
        arms.append((Setting(BASELINE, {"eos": "fill"}), bench.arm))
    rows = {}
    for setting, model in arms:
        key, row = bench.known("gaps", len(pieces[0]), options.span, options.gaps, setting.name, setting.to_dict())
        if row is None:
            say(f"bench: gaps of {options.span} tokens: {setting.name}")
            row = quality(bench, model, pieces, setting)
            bench.store.put(key, row)
        rows[setting.name] = {"setting": setting.name, "kind": model.kind, **row, "speed": {}}
    for batch in options.batch:
        for name, speed in speeds(bench, arms, pieces, batch).items():
            rows[name]["speed"][str(batch)] = speed
    real = None
    if bench.judge is not None:
        starts = spans(pieces, options.span, options.seed)[:JUDGED]
        wholes = [(bench.mdm, list(piece), at) for piece, at in zip(pieces[:JUDGED], starts, strict=False)]
        real = judged(bench.judge, wholes).to_dict()
    return {"span": options.span, "pieces": len(pieces), "real_bits_per_byte": real, "rows": list(rows.values())}


def quality(bench: Bench, model: Model, pieces: list[list[int]], setting: Setting) -> dict[str, Any]:
    """Exact match on all pieces, the judge's word on the first of them."""
    call = {**setting.options, "temperature": 0.0}
    span, seed = bench.options.span, bench.options.seed
    bits = infilled(model, pieces, span, seed, **call)
    if bench.judge is not None:
        # The places of the gaps are drawn for all pieces at once, so those of the first are the same for fewer.
        some = infilled(model, pieces[:JUDGED], span, seed, judge=bench.judge, **call)
        bits["bits_per_byte"] = some["bits_per_byte"]
    return bits


def speeds(
    bench: Bench, arms: list[tuple[Setting, Model]], pieces: list[list[int]], batch: int
) -> dict[str, dict[str, Any]]:
    """Seconds a gap, in rounds in which every arm fills the same ones."""
    options = bench.options
    starts = spans(pieces, options.span, options.seed)
    times: dict[str, list[float]] = {setting.name: [] for setting, _ in arms}
    for index in range(options.rounds):
        key, known = bench.known("gap speed", options.span, options.gaps, batch, index, list(times))
        if known is None:
            at = [(index * batch + i) % len(pieces) for i in range(batch)]
            known = {}
            for setting, model in moved(arms, index):
                call = {**setting.options, "temperature": 0.0}
                fill = partial(fill_gaps, model, [pieces[i] for i in at], [starts[i] for i in at], options.span, **call)
                known[setting.name] = seconds(fill) / batch
            bench.store.put(key, known)
        for name in times:
            times[name].append(known[name])
    twin = np.array(times[BASELINE]) if BASELINE in times else None
    return {
        name: {
            "seconds": spread(np.array(measured)),
            "over_arm": None if twin is None else spread(twin / np.array(measured)),
        }
        for name, measured in times.items()
    }


def seconds(call: Callable[[], Any]) -> float:
    """Of the second of two calls: the first finds the memory and warms the caches."""
    try:
        call()
    except UserError as error:
        raise UserError(f"gaps: {error}") from error
    return timed(call)[1]
