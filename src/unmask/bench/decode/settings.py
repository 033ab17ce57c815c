"""The settings that `unmask bench decode` measures: names, and the options of `generate` behind them.

    for setting in mdm_settings(length=32): generate(mdm, prompts, 32, **setting.call(32))

One table for every order, quota, way to revise and cache; a registered rule that it does not name, a plug-in's among
them, is measured beside `confidence` with its own numbers. `--setting` measures what a user writes in place of the
table. Where each rule comes from and what its numbers mean stands in docs/decoding.md. `steps_per_token` 0.5 is half as
many steps as new tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from unmask.decoding.options import RULES
from unmask.decoding.rules import REGISTRIES
from unmask.decoding.rules.registry import choose
from unmask.errors import UserError, nearest
from unmask.settings import parse_yaml

STOP: dict[str, Any] = {"eos": "stop"}  # in every arm: nothing is written behind the end of a text
GUIDANCE = 0.5
# Those also measured at further temperatures: enough to draw the same curve again.
AT_ALL_TEMPERATURES = (
    *("ancestral, L steps", "ancestral, L/2 steps", "ancestral, L/4 steps", "confidence, L/4 steps", "threshold 0.5"),
)


@dataclass(frozen=True)
class Setting:
    """A way to call `generate`; `options` hold no steps, which follow from the length."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    steps_per_token: float | None = None  # None: the rule needs no number of steps

    def call(self, length: int) -> dict[str, Any]:
        """The options for so many new tokens."""
        if self.steps_per_token is None:
            return dict(self.options)
        return {**self.options, "steps": max(1, math.ceil(self.steps_per_token * length))}

    def at(self, temperature: float, named: bool = False) -> Setting:
        name = f"{self.name}, T {temperature:g}" if named else self.name
        return Setting(name, {**self.options, "temperature": temperature}, self.steps_per_token)

    def to_dict(self) -> dict[str, Any]:
        return {"options": self.options, "steps_per_token": self.steps_per_token}


def share(steps_per_token: float) -> str:
    """`L/4 steps`."""
    return "L steps" if steps_per_token == 1 else f"L/{1 / steps_per_token:g} steps"


def read_setting(text: str, temperature: float = 1.0) -> Setting:
    """`order: confidence, quota: even, steps_per_token: 0.5` as a setting of that name. Raises `UserError` for what no
    rule of decoding is called."""
    given = parse_yaml("{" + text + "}", "--setting")
    known = (*RULES, "guidance", "guidance_schedule", "temperature", "top_p", "top_k")
    if not isinstance(given, dict) or not given:
        mend = "give such as 'order: confidence, steps_per_token: 0.5'"
        raise UserError(f"--setting is {text!r}; {mend}", field="setting")
    for name in given:
        if name not in known:
            hint = f"{nearest(str(name), known)}; known: {', '.join(known)}"
            raise UserError(f"--setting: '{name}' is unknown{hint}", field="setting")
    steps = given.pop("steps_per_token", None)
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int | float) or not 0 < steps <= 1):
        raise UserError(f"--setting: steps_per_token is {steps!r}; give a number in (0, 1]", field="setting")
    return Setting(text, {"temperature": temperature, **given}, steps)


def mdm_settings(length: int, temperatures: Sequence[float] = (1.0,), guided: bool = True) -> list[Setting]:
    """All of them for a masked model; the second and later temperatures for a few only.

    guided: also with guidance, which needs a prompt.
    """
    block = min(32, max(1, length // 2))
    settings = [Setting(f"ancestral, {share(s)}", {"order": "ancestral"}, s) for s in (1, 1 / 2, 1 / 4, 1 / 8)]
    settings.append(Setting("first-hitting", {"order": "first-hitting"}))
    # Orders, each with the published sampler's quota.
    settings += [Setting(f"confidence, {share(s)}", {"order": "confidence"}, s) for s in (1, 1 / 2, 1 / 4, 1 / 8)]
    orders = ("top-probability", "margin", "entropy", "high-entropy", "random", "left-to-right", "dilated")
    settings += [Setting(f"{order}, L/2 steps", {"order": order}, 1 / 2) for order in orders]
    settings.append(Setting("confidence, L/2 steps, order noise 1", {"order": "confidence", "order_noise": 1.0}, 1 / 2))
    # Quotas: the same number each step, and those that commit what the model is sure of.
    settings += [
        Setting(f"confidence, even, {share(s)}", {"order": "confidence", "quota": "even"}, s) for s in (1 / 2, 1 / 4)
    ]
    settings += [
        Setting(f"threshold {t:g}", {"order": "confidence", "quota": f"threshold:{t:g}"}) for t in (0.9, 0.5, 0.3)
    ]
    settings += [Setting(f"factor {f:g}", {"order": "confidence", "quota": f"factor:{f:g}"}) for f in (1, 2)]
    settings += [
        Setting(f"entropy-bounded {g:g}", {"order": "entropy", "quota": f"entropy-bounded:{g:g}"}) for g in (0.1, 2)
    ]
    settings.append(Setting("klass", {"order": "confidence", "quota": "klass"}))
    # Blocks from left to right, and the caches that live on them.
    in_blocks = {"order": "confidence", "block": block}
    settings.append(Setting(f"confidence, L/2 steps, block {block}", in_blocks, 1 / 2))
    settings.append(Setting("ancestral, L steps, cache reuse", {"order": "ancestral", "cache": "reuse"}, 1))
    for cache in ("prefix", "dual"):
        cached = {**in_blocks, "cache": cache}
        settings.append(Setting(f"confidence, L/2 steps, block {block}, cache {cache}", cached, 1 / 2))
        settings.append(Setting(f"threshold 0.9, block {block}, cache {cache}", {**cached, "quota": "threshold:0.9"}))
    # Revision of what was written.
    for revise in ("remdm-cap:0.008", "remdm-rescale:0.015", "remdm-conf", "remdm-loop"):
        settings.append(Setting(f"ancestral, L steps, {revise}", {"order": "ancestral", "revise": revise}, 1))
    for revise in ("p2:1", "edit:0.9"):
        settings.append(Setting(f"confidence, L/2 steps, {revise}", {"order": "confidence", "revise": revise}, 1 / 2))
    settings += of_others(settings)
    if guided:
        guidance = {"order": "confidence", "guidance": GUIDANCE}
        settings.append(Setting(f"confidence, L/2 steps, guidance {GUIDANCE}", guidance, 1 / 2))
    return _heated(settings, temperatures, AT_ALL_TEMPERATURES)


def of_others(settings: Sequence[Setting]) -> list[Setting]:
    """Registered rules that none of these name."""
    named = {str(value).partition(":")[0] for setting in settings for value in setting.options.values()}
    named |= {"paper", "all", "block"}  # the usual ones
    others = []
    for kind in ("order", "quota", "eligible", "revise"):
        for name, rule in REGISTRIES[kind].items():
            if name in named:
                continue
            spec = choose(kind, REGISTRIES[kind], name).spec
            free = getattr(rule, "adaptive", False) or getattr(rule, "one_by_one", False)
            options: dict[str, Any] = {kind: spec} if kind == "order" else {"order": "confidence", kind: spec}
            if free:
                others.append(Setting(spec, options))
            else:
                steps = "L/2 steps" if kind == "order" else "confidence, L/2 steps"
                words = (spec, steps) if kind == "order" else (steps, spec)
                others.append(Setting(", ".join(words), options, 1 / 2))
    return others


def arm_settings(temperatures: Sequence[float] = (1.0,)) -> list[Setting]:
    """The autoregressive twin, once a temperature."""
    return _heated([Setting("ARM")], temperatures, ("ARM",))


def _heated(settings: list[Setting], temperatures: Sequence[float], everywhere: Sequence[str]) -> list[Setting]:
    first, *others = temperatures
    hot = [setting.at(first) for setting in settings]
    return hot + [s.at(t, named=True) for t in others for s in settings if s.name in everywhere]
