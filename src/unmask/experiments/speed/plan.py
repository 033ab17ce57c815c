"""What the experiment does: `experiment.yaml` at the size asked for, checked.

    plan = plan_of(Settings(out, quick=True))
    plan.templates["colon"].format(word="Abbot"), plan.settings()

Rules become settings of `bench.decode.settings`, one for every number of steps and every value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unmask.bench.decode.settings import Setting
from unmask.errors import UserError
from unmask.experiments.frame import Settings, at_least, experiment

NAME = "speed"
ARM = "arm"
SLOT = "{word}"


@dataclass(frozen=True)
class Plan:
    """Everything that decides a result, beside the bases."""

    length: int
    templates: Mapping[str, str]
    temperatures: list[float]
    survey_words: int
    test_words: int
    validation_words: int
    finalists: int
    batches: list[int]
    rounds: int
    draws: int
    precision: str
    dictionary: str
    packages: str
    judge_run: str
    further_judge: str
    bases: Mapping[str, Mapping[str, Any]]
    finetune: Mapping[str, Any]
    finetune_mdm: Mapping[str, Any]
    judge_text: list[str]
    judge_tokenizer: str
    judge: Mapping[str, Any]
    rules: list[Mapping[str, Any]]

    def __post_init__(self) -> None:
        two = ("length", "survey_words", "test_words", "draws")
        at_least(vars(self), dict.fromkeys(two, 2) | dict.fromkeys(("validation_words", "finalists", "rounds"), 1))
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

    def prompt(self, template: str, word: str) -> str:
        return self.templates[template].replace(SLOT, word)

    def settings(self) -> list[Setting]:
        """Every way in which a masked model writes, without its temperature."""
        settings = [setting for rule in self.rules for setting in settings_of(rule, self.written)]
        if twice := {s.name for s in settings if [o.name for o in settings].count(s.name) > 1}:
            raise UserError(f"rules: '{min(twice)}' is given twice; leave out one")
        return settings


def settings_of(rule: Mapping[str, Any], length: int) -> list[Setting]:
    """One setting for every entry of `tokens_a_step` or `values`. Raises `UserError` where a rule has neither."""
    options = {key: value for key, value in rule.items() if key not in ("name", "tokens_a_step", "values")}
    if "values" in rule:
        quota = options.pop("quota")
        return [Setting(f"{rule['name']} {v:g}", {**options, "quota": f"{quota}:{v:g}"}) for v in rule["values"]]
    if "tokens_a_step" not in rule:
        raise UserError(f"rules: '{rule.get('name')}' has neither tokens_a_step nor values; add one")
    steps = [math.ceil(length / k) for k in rule["tokens_a_step"]]
    return [Setting(f"{rule['name']}, {n} steps", {**options, "steps": n}) for n in dict.fromkeys(steps)]


def plan_of(settings: Settings) -> Plan:
    """Raises `UserError` for settings that cannot be followed."""
    fields = experiment(NAME).settings_of(settings)
    return Plan(**{**fields, "dictionary": settings.data or fields["dictionary"]})
