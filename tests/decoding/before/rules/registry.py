"""Rules by name: what an option such as ``quota="threshold:0.9"`` means, and which values it may have.

    rule = choose("quota", QUOTAS, "klass:threshold=0.9,kl=0.01")
    rule.name, rule.of, rule.values            # "klass", the registered `Quota`, {"threshold": 0.9, "kl": 0.01, ...}

A rule is written ``name``, ``name:value`` (its first parameter) or ``name:key=value,key=value``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from unmask.errors import UserError, nearest


@dataclass(frozen=True)
class Parameter:
    """A number that a rule takes, in [low, high], or (low, high] with `above`."""

    default: float
    low: float = 0.0
    high: float = math.inf
    above: bool = False
    whole: bool = False

    def check(self, what: str, value: Any) -> float:
        """The value as a number. Raises `UserError` that begins with `what`."""
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        inside = (self.low < number if self.above else self.low <= number) and number <= self.high
        if not inside or not math.isfinite(number) or (self.whole and number != int(number)):
            raise UserError(f"{what} is {value}; give {self.range}")
        return number

    @property
    def range(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        if self.high == math.inf:
            return f"{kind} {'above' if self.above else 'of at least'} {self.low:g}"
        return f"{kind} in {'(' if self.above else '['}{self.low:g}, {self.high:g}]"


class Registered:
    """What a registry holds: something with parameters."""

    parameters: Mapping[str, Parameter]


T = TypeVar("T", bound=Registered)


@dataclass(frozen=True)
class Chosen(Generic[T]):
    """A registered rule with the values of its parameters."""

    name: str
    of: T
    values: Mapping[str, float] = field(default_factory=dict, hash=False)

    @property
    def spec(self) -> str:
        """As an option writes it."""
        values = ",".join(f"{key}={value:g}" for key, value in self.values.items())
        return f"{self.name}:{values}" if values else self.name


def choose(option: str, registry: Mapping[str, T], spec: Any) -> Chosen[T]:
    """The rule that `spec` names. Raises `UserError` for an unknown one (listing all), or values out of range."""
    name, _, given = str(spec).partition(":")
    if name not in registry:
        raise UserError(f"{option} '{name}' is unknown{nearest(name, registry)}; give one of {', '.join(registry)}")
    rule = registry[name]
    values = {key: parameter.default for key, parameter in rule.parameters.items()}
    for number, piece in enumerate(piece for piece in given.split(",") if piece):
        key, equals, value = piece.partition("=")
        if not equals:
            keys = list(rule.parameters)
            key, value = (keys[number] if number < len(keys) else piece), piece
        if key not in rule.parameters:
            takes = f"takes {', '.join(rule.parameters)}" if rule.parameters else "takes no value"
            raise UserError(f"{option} {name} has no '{key}'; it {takes}")
        values[key] = rule.parameters[key].check(f"{option} {name}: {key}", value)
    return Chosen(name, rule, values)
