"""Rules by name: what an option such as ``quota="threshold:0.9"`` means, and which values it may have.

    rule = choose("quota", QUOTAS, "klass:threshold=0.9,kl=0.01")
    rule.name, rule.of, rule.values            # "klass", a `Quota` with these values, {"threshold": 0.9, ...}

A rule is written ``name``, ``name:value`` (its first parameter) or ``name:key=value,key=value``. It is a class whose
parameters are its fields, registered by a line above it, in a file of this folder (or of a user's, `plugins`), which
needs no other change. What its docstring says first, and the papers it names, are its line in docs/decoding.md:

    @QUOTAS.register("threshold")
    @dataclass(frozen=True)
    class Threshold(Quota):
        "Every position whose likeliest token has p > threshold (arXiv 2505.22618)."

        threshold: float = parameter(0.9, 0.0, 1.0, above=True)
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

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


def parameter(
    default: float, low: float = 0.0, high: float = math.inf, above: bool = False, whole: bool = False
) -> Any:
    """A rule's field that options can set; see `Parameter`."""
    return dataclasses.field(default=default, metadata={"parameter": Parameter(default, low, high, above, whole)})


@dataclass(frozen=True)
class Rule:
    """Something with parameters that reads statistics of the proposals (see `statistics`); nothing of a row's state
    is its own: what it remembers are columns of the table, asked for by name where they are used."""

    reads: ClassVar[tuple[str, ...]] = ()
    chance: ClassVar[bool] = False  # what it chooses is drawn: it asks the turn for noise

    @property
    def follows_draws(self) -> bool:
        """Whether it looks at the tokens that are drawn, which another seed would draw otherwise."""
        return bool({"tokens", "probability", "given"} & set(self.reads))

    @classmethod
    @functools.cache
    def parameters(cls) -> dict[str, Parameter]:
        found = {field.name: field.metadata.get("parameter") for field in dataclasses.fields(cls)}
        return {name: parameter for name, parameter in found.items() if parameter is not None}


T = TypeVar("T", bound=Rule)
Any_T = TypeVar("Any_T")
NAME = re.compile(r"[a-z][a-z0-9-]*")


class Registry(dict[str, type[Any_T]]):
    """Rules of one kind by their names, in the order in which they were registered."""

    def __init__(self, kind: str, taken: Collection[str] = ()) -> None:
        super().__init__()
        self.kind, self.taken = kind, taken

    def register(self, name: str) -> Callable[[type[Any_T]], type[Any_T]]:
        """Gives a rule its name. Raises `UserError` for one that is taken, or that no option could say."""

        def named(rule: type[Any_T]) -> type[Any_T]:
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise UserError(f"{self.kind} {name!r} is no name of a rule; give small letters, digits and hyphens")
            if name in self or name in self.taken:
                raise UserError(f"{self.kind} '{name}' is registered twice; give one of the two another name")
            self[name] = rule
            return rule

        return named


@dataclass(frozen=True)
class Chosen(Generic[T]):
    """A registered rule with the values of its parameters."""

    name: str
    of: T

    @property
    def values(self) -> Mapping[str, float]:
        return {name: getattr(self.of, name) for name in self.of.parameters()}

    @property
    def spec(self) -> str:
        """As an option writes it."""
        values = ",".join(f"{key}={value:g}" for key, value in self.values.items())
        return f"{self.name}:{values}" if values else self.name


def choose(option: str, registry: Mapping[str, type[T]], spec: Any) -> Chosen[T]:
    """The rule that `spec` names. Raises `UserError` for an unknown one (listing all), or values out of range."""
    name, _, given = str(spec).partition(":")
    if name not in registry:
        known = ", ".join(registry)
        raise UserError(f"{option} '{name}' is unknown{nearest(name, registry)}; give one of {known}", field=option)
    rule = registry[name]
    parameters = rule.parameters()
    values = {key: parameter.default for key, parameter in parameters.items()}
    for number, piece in enumerate(piece for piece in given.split(",") if piece):
        key, equals, value = piece.partition("=")
        if not equals:
            keys = list(parameters)
            key, value = (keys[number] if number < len(keys) else piece), piece
        if key not in parameters:
            takes = f"takes {', '.join(parameters)}" if parameters else "takes no value"
            raise UserError(f"{option} {name} has no '{key}'; it {takes}")
        values[key] = parameters[key].check(f"{option} {name}: {key}", value)
    return Chosen(name, rule(**values))
