"""Everything that is measured of the fine-tuned models: times, survey, test, likelihoods, and the figures of these.

    measured = measure(Ready(plan, shelf, models, split, further, flops))     # the result's parts, as JSON values

Settings are chosen on the survey's words with the first seed, and tested on other words with all of them; the
autoregressive model of `arm-equal` writes for the latter only, since nothing is chosen by it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unmask.bench.decode.settings import Setting
from unmask.evaluation.generation import likeness, numbers
from unmask.evaluation.generation_quality import Sample
from unmask.evaluation.judge import Judge
from unmask.experiments.speed.frontier import Window, compare
from unmask.experiments.speed.glosses import Gloss, Split
from unmask.experiments.speed.matching import pair_of, pairs
from unmask.experiments.speed.outcome import (
    Chosen,
    Key,
    Surveyed,
    Target,
    answer,
    areas,
    arms_of,
    choices,
    finalists,
    row_of,
    rows_of,
    targets,
    window_of,
)
from unmask.experiments.speed.plan import ARM, EQUAL, LARGE, Plan
from unmask.experiments.speed.texts import Shelf
from unmask.experiments.speed.timing import timings
from unmask.model.flops import forward_flops
from unmask.model.folder import Model
from unmask.statistics import ratio
from unmask.terminal import say

Rows = list[dict[str, Any]]
OF_GAP = ("gap_at_reference", "gap_common", "gap_per_text")
PLAIN = "gap_to_plain"  # to the ARM's plain temperature alone, which is the curve that the time limit is of
OVER = ("over_templates", "over_seeds")


@dataclass
class Ready:
    """What all measurements share."""

    plan: Plan
    shelf: Shelf
    models: dict[str, dict[int, Model]]  # fine-tuned, by role and seed
    split: Split
    further: Judge | None
    flops: dict[str, float | None]  # of all training, by role

    @property
    def first(self) -> dict[str, dict[int, Model]]:
        """The first seed's alone."""
        return {role: dict([next(iter(own.items()))]) for role, own in self.models.items()}


def measure(ready: Ready) -> dict[str, Any]:
    """Times, survey, test and likelihoods."""
    plan, split, shelf = ready.plan, ready.split, ready.shelf
    settings = {role: plan.settings(role) for role in (ARM, *plan.masked())}
    template = next(iter(plan.templates))
    firsts = {role: next(iter(own.values())) for role, own in ready.first.items()}
    prompts = [firsts[ARM].encode(plan.prompt(template, gloss.word)) for gloss in split.survey]
    times = timings(shelf.store, firsts, settings, prompts, plan)
    reference = {name: shelf.reference(getattr(split, name)) for name in ("survey", "test")}
    surveyed = written(ready, settings, split.survey, ready.first, "survey")
    survey = rows_of(surveyed, times, plan, window_of(plan, reference["survey"]["entropy"]))
    chosen = choices(survey, plan)
    kept = {ARM: settings[ARM]}
    for role in plan.masked():
        names = finalists(survey, role, plan)
        kept[role] = [setting for setting in settings[role] if setting.name in names]
    equal = {EQUAL: settings[ARM]} if EQUAL in ready.models else {}
    tested = written(ready, {**kept, **equal}, split.test, ready.models, "test")
    window = window_of(plan, reference["test"]["entropy"])
    test = rows_of(tested, times, plan, window)
    for row in test:
        its = next(s for s in {**kept, **equal}[row["role"]] if s.name == row["setting"])
        row |= {**texts_of(ready, row["role"], its), "flops": decoding_flops(ready, row, prompts)}
    nats = shelf.nats(ready.models, split.test)
    n_bytes = np.array([len(gloss.text.encode()) for gloss in split.test])
    matched = pairs(nats, n_bytes, ready.flops, plan)
    further = further_rows(ready, kept, chosen, times)
    rows = None if further is None else further["rows"]
    ours = [target for target in targets(plan) if target.limit == 1]
    answers = {t.label: answer(test, chosen, t, len(ready.models[ARM]), rows) for t in ours}
    return {
        "headline": headlines(test, tested, chosen, window, matched, ready),
        **answers[ours[0].label],
        "answers": answers,
        "chosen": chosen,
        "window": {"low": window.low, "reference": window.reference, "high": window.high},
        "settings_tried": {role: len(own) for role, own in settings.items()},
        "survey": survey,
        "test": test,
        "test_further_judge": further,
        "load": {batch: next(iter(timed.values()))["load"] for batch, timed in times.items()},
        "reference": {
            **reference,
            "likelihood": {r: [likelihood(plan, nats_TW, n_bytes) for nats_TW in own] for r, own in nats.items()},
        },
        "matched": matched,
    }


def written(
    ready: Ready,
    settings: Mapping[str, Sequence[Setting]],
    glosses: Sequence[Gloss],
    models: Mapping[str, Mapping[int, Model]],
    part: str,
    judge: Judge | None = None,
    words: int | None = None,
) -> dict[Key, Surveyed]:
    """Everything of some settings, in the order of roles."""
    surveyed: dict[Key, Surveyed] = {}
    total = sum(len(own) for own in settings.values())
    if judge is None:  # a further one reads what is written already
        ready.shelf.fill(settings, models, glosses, part)
    for role, own in settings.items():
        for setting in own:
            say(f"speed: {part}, {len(surveyed) + 1} of {total}: {role}, {setting.name}")
            cell = ready.shelf.cell(role, models[role], setting, glosses, judge, words)
            surveyed[role, setting.name] = Surveyed(*cell)
    return surveyed


def further_rows(
    ready: Ready, kept: Mapping[str, Sequence[Setting]], chosen: Chosen, times: Mapping[str, Any]
) -> dict[str, Any] | None:
    """What one more judge says of the chosen settings at each batch and the ARM's: first seed, so many words."""
    if ready.further is None:
        return None
    plan, some = ready.plan, ready.split.test[: ready.plan.further_words]
    names = {role: {by[t.label]["setting"] for t in targets(plan) if t.limit == 1} for role, by in chosen.items()}
    read = {role: [s for s in own if role == ARM or s.name in names[role]] for role, own in kept.items()}
    texts = sum(map(len, read.values())) * len(plan.temperatures) * len(plan.templates) * len(some)
    say(f"speed: {ready.further.name} reads {texts:,} texts")
    part = f"judge {ready.further.name}"
    surveyed = written(ready, read, ready.split.test, ready.first, part, ready.further, len(some))
    reference = ready.shelf.reference(some, ready.further)
    rows = rows_of(surveyed, times, plan, window_of(plan, reference["entropy"]))
    about = {"texts": texts, "words": len(some), "seeds": 1}
    return {"judge": ready.further.to_dict(), **about, "rows": rows, "reference": reference}


def texts_of(ready: Ready, role: str, setting: Setting) -> dict[str, Any]:
    """Diversity of a setting's texts at the temperature nearest 1, first seed and template; and the first ones."""
    plan, shelf, glosses = ready.plan, ready.shelf, ready.split.test
    temperature = min(plan.temperatures, key=lambda t: abs(t - 1))
    template, (seed, model) = next(iter(plan.templates)), next(iter(ready.models[role].items()))
    texts = shelf.written(role, seed, model, setting.at(temperature), template, glosses)
    samples = shelf.samples(model, texts, template, glosses)
    readings = [(nats, int(tokens), 1) for nats, tokens in shelf.readings(samples, shelf.judge) if tokens]
    figures = numbers(samples, readings)
    figures.pop("bits_per_byte", None)
    true = [Sample(s.prompt, gloss.text, list(gloss.ids)) for s, gloss in zip(samples, glosses, strict=True)]
    alike = likeness(samples, true, shelf.judge) or {"mauve": None}
    return {"texts": {"temperature": temperature, "seeds": 1, "templates": 1, **figures, **alike}}


def decoding_flops(ready: Ready, row: Mapping[str, Any], prompts: Sequence[list[int]]) -> float:
    """Of one text over the ARM's, reckoned: a masked pass runs prompt, text and end, its head half of the text on
    average; an ARM with its cache runs every position once."""
    before, plan = float(np.mean([len(prompt) for prompt in prompts])), ready.plan
    ours, arm = (next(iter(ready.models[role].values())).config for role in (row["role"], ARM))
    base = forward_flops(arm, round(before) + plan.written, plan.written)
    if row["role"] not in plan.masked():
        return forward_flops(ours, round(before) + plan.written, plan.written) / base
    return float(row["passes"]) * forward_flops(ours, round(before) + plan.length, plan.written / 2) / base


def likelihood(plan: Plan, nats_TW: np.ndarray, n_bytes_W: np.ndarray) -> dict[str, Any]:
    """Bits per byte behind every template."""
    return {
        template: ratio(nats_W.tolist(), n_bytes_W.tolist()).scaled(1 / math.log(2)).to_dict()
        for template, nats_W in zip(plan.templates, nats_TW, strict=True)
    }


# ------------------------------------------------------------------ the headline


def headlines(
    test: Rows,
    tested: Mapping[Key, Surveyed],
    chosen: Chosen,
    window: Window,
    matched: Rows,
    ready: Ready,
) -> dict[str, Any]:
    """By masked role: `gap` and what stands beside it, `time`, the same at further batches, the gaps at the claim's two
    times, `area`; of mdm-large also the gap at equal bits/byte. Without a gap where nothing could be chosen."""
    plan, by_role = ready.plan, {}
    first, *others = targets(plan)
    plain = arms_of(tested)[:1]
    for role, by_label in chosen.items():
        row = row_of(test, role, by_label[first.label]["setting"])
        found = {**figures_of(row, first), "area": areas(tested, role, plan, window)}
        if row is not None and (gap := compare(tested[role, row["setting"]].cell, plain, window)["gap"]) is not None:
            found[PLAIN] = gap
        for target in others:
            figures = figures_of(row_of(test, role, by_label[target.label]["setting"]), target)
            if target.limit == 1:
                found |= {f"batch_{target.batch}": figures} if figures else {}
            elif figures:
                found[f"gap_{target.label}"] = figures["gap"]
        if role == LARGE and row is not None and (pair := pair_of(matched, LARGE, EQUAL)) is not None:
            gap = compare(tested[role, row["setting"]].cell, arms_of(tested, EQUAL), window)["gap"]
            found |= {} if gap is None else {"gap_at_equal_bits": gap}
            found["equal_bits_difference"] = {k: v for k, v in pair["difference"].items() if k != "seeds"}
        by_role[role] = found
    return by_role


def figures_of(row: Mapping[str, Any] | None, target: Target) -> dict[str, Any]:
    """gap, its further figures and intervals, time; nothing where there is no gap."""
    if row is None or not row.get("gap"):
        return {}
    time = row["time"][target.batch]
    n = len(time["rounds"])
    found = {"gap": row["gap"], **{name: row[name] for name in OF_GAP if row[name]}}
    for over in OVER:
        figure = {key: value for key, value in row[over].items() if key != "each"}
        found |= {f"gap_{over}": figure} if figure["low"] is not None else {}
    found["time"] = {"estimate": time["median"], "low": time["low"], "high": time["high"], "n": n, "clusters": n}
    return found
