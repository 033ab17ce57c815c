"""What the experiment does: `experiment.yaml` at the size asked for, checked.

    plan = plan_of(Settings(out, quick=True))
    plan.templates["colon"].format(word="Abbot"), plan.settings("mdm")

Rules become settings of `bench.decode.settings`, one for every number of steps and every value; a rule that decoding
does not know is refused here, before anything is trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unmask.bench.decode.settings import Setting
from unmask.decoding.options import RULES
from unmask.decoding.rules import REGISTRIES
from unmask.decoding.rules.registry import choose
from unmask.errors import UserError, nearest
from unmask.experiments.frame import Settings, at_least, experiment

NAME = "speed"
ARM = "arm"
LARGE = "mdm-large"  # the masked model with the most pre-training
EQUAL = "arm-equal"  # an autoregressive model of a smaller budget, whose held-out bits/byte are nearest to LARGE's
SLOT = "{word}"


@dataclass(frozen=True)
class Plan:
    """Everything that decides a result, beside the bases."""

    length: int
    templates: Mapping[str, str]
    temperatures: list[float]
    window: list[float]
    survey_words: int
    test_words: int
    validation_words: int
    finalists: int
    batches: list[int]
    limits: list[float]
    rounds: int
    timed_texts: int
    draws: int
    precision: str
    dictionary: str
    packages: str
    judge_run: str
    further_judge: str
    further_words: int
    equal_margin: float
    bases: Mapping[str, Mapping[str, Any]]
    finetune: Mapping[str, Any]
    finetune_mdm: Mapping[str, Any]
    judge_text: list[str]
    judge_tokenizer: str
    judge: Mapping[str, Any]
    arm_rules: list[Mapping[str, Any]]
    rules: list[Mapping[str, Any]]

    def __post_init__(self) -> None:
        two = ("length", "survey_words", "test_words", "draws")
        one = ("validation_words", "finalists", "rounds", "timed_texts", "further_words")
        at_least(vars(self), dict.fromkeys(two, 2) | dict.fromkeys(one, 1))
        if len(self.window) != 2 or not self.window[0] < 0 < self.window[1]:
            raise UserError(f"window is {self.window}; give two ends about 0, the true glosses' entropy: [-0.15, 0.05]")
        if not self.batches or min(self.batches) < 1 or len(set(self.batches)) < len(self.batches):
            raise UserError(f"batches is {self.batches}; give numbers of rows, each once")
        if not self.limits or min(self.limits) <= 0:
            raise UserError(f"limits is {self.limits}; give shares of the ARM's time, above 0")
        if len(self.templates) < 3:
            raise UserError(f"templates: there are {len(self.templates)}; rankings need at least 3 to hold")
        for name, text in self.templates.items():
            if text.count(SLOT) != 1:
                raise UserError(f"templates.{name} is {text!r}; it must hold {SLOT} once")
        if len(self.temperatures) < 2 or min(self.temperatures) <= 0:
            raise UserError("temperatures: give at least two above 0, since a frontier is no single point")

    @property
    def written(self) -> int:
        """Tokens of a text before its end."""
        return self.length - 1

    def kind(self, role: str) -> str:
        """mdm or arm; also of a candidate, such as arm-equal-1."""
        return str(self.bases[EQUAL if role.startswith(EQUAL) else role]["kind"])

    def prompt(self, template: str, word: str) -> str:
        return self.templates[template].replace(SLOT, word)

    def masked(self) -> list[str]:
        """Roles of the masked models."""
        return [role for role, wanted in self.bases.items() if wanted["kind"] == "mdm"]

    def settings(self, role: str) -> list[Setting]:
        """Every way in which a role's model writes, without its temperature; the ARM's first is what time is told by.

        Raises `UserError` for rules that decoding does not know, or that are given twice.
        """
        if self.kind(role) == "arm":
            options = [{key: value for key, value in rule.items() if key != "name"} for rule in self.arm_rules]
            pairs = zip(self.arm_rules, options, strict=True)
            return checked([Setting(str(rule.get("name")), own) for rule, own in pairs])
        names = self.bases[role].get("rules", ())
        rules = [rule for rule in self.rules if rule.get("name") in names] or self.rules  # other rules: all of them
        return checked([setting for rule in rules for setting in settings_of(rule, self.written)])

    def most_finalists(self, role: str) -> int:
        return int(self.bases[role].get("finalists") or self.finalists)


def checked(settings: list[Setting]) -> list[Setting]:
    """The same. Raises `UserError` for none, for one name twice, and for what decoding does not know."""
    if not settings:
        raise UserError("rules: there are none; give one at least")
    if twice := {s.name for s in settings if [o.name for o in settings].count(s.name) > 1}:
        raise UserError(f"rules: '{min(twice)}' is given twice; leave out one")
    known = (*RULES, "top_p", "top_k", "guidance", "guidance_schedule")
    for setting in settings:
        for name, value in setting.options.items():
            if name not in known:
                raise UserError(f"rules: '{setting.name}' has {name}{nearest(name, known)}; known: {', '.join(known)}")
            if name in REGISTRIES:
                try:
                    choose(name, REGISTRIES[name], value)
                except UserError as error:
                    raise UserError(f"rules: '{setting.name}': {error}") from error
    return settings


def settings_of(rule: Mapping[str, Any], length: int) -> list[Setting]:
    """One setting for every entry of `tokens_a_step` or `values`. Raises `UserError` where a rule has neither."""
    options = {key: value for key, value in rule.items() if key not in ("name", "tokens_a_step", "values")}
    if "name" not in rule:
        raise UserError(f"rules: {dict(rule)} has no name; add one")
    if "values" in rule:
        if (quota := options.pop("quota", None)) is None:
            raise UserError(f"rules: '{rule['name']}' has values and no quota that they are of; add quota")
        return [Setting(f"{rule['name']} {v:g}", {**options, "quota": f"{quota}:{v:g}"}) for v in rule["values"]]
    if "tokens_a_step" not in rule:
        raise UserError(f"rules: '{rule.get('name')}' has neither tokens_a_step nor values; add one")
    steps = [math.ceil(length / k) for k in rule["tokens_a_step"]]
    return [Setting(f"{rule['name']}, {n} steps", {**options, "steps": n}) for n in dict.fromkeys(steps)]


def plan_of(settings: Settings) -> Plan:
    """Raises `UserError` for settings that cannot be followed."""
    fields = experiment(NAME).settings_of(settings)
    plan = Plan(**{**fields, "dictionary": settings.data or fields["dictionary"]})
    for role in plan.bases:
        plan.settings(role)
    return plan
