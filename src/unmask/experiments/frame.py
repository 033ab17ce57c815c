"""What an experiment is, where its settings come from, and how it is found by its name.

    for one in experiments().values(): print(one.name, one.time)
    one = experiment("reversal")
    result = one.module.run(Settings(out=Path("runs/reversal"), seeds=(0, 1, 2)))

An experiment is a folder here with an `experiment.yaml` (`claim`, `time`, `settings`, what `quick` and `full` change of
them, `takes`: which of the options base and until it heeds, and `data`: `packages` where --data is only where these
lie) and a module `experiment.py` with five functions:

    run(settings) -> dict          # the result: `headline` and whatever else tells how it came about, as JSON values
    plot(result, folder) -> list   # draws pictures into a folder that is there; their paths
    reading(result) -> str         # a paragraph or two: what was found, what it means, what would change it
    holds(result) -> str           # "yes", "no" or "in part", with a few words of reason
    figure(result) -> str          # the headline's figures with their intervals, for a cell of a table

and, where it can be run in parts, `together(results) -> dict`, the one result of them.

Listing experiments imports none of them, so that it needs no torch.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from unmask.errors import UserError, nearest
from unmask.settings import parse_yaml, read_yaml

HOME = Path(__file__).parent
FILE = "experiment.yaml"
SIZES = ("quick", "usual", "full")
SOME_TAKE = {"base": "it trains all its models itself", "until": "it has no stage to stop after"}  # and why others not
DEMO = "demo"  # a folder too, but no finding: no claim, no sizes, no row in docs/results.md


@dataclass(frozen=True)
class Settings:
    """What a person asks of an experiment."""

    out: Path
    seeds: tuple[int, ...] = (0, 1, 2)
    quick: bool = False  # minutes on one thread
    full: bool = False  # the paper's size, for GPUs
    resume: bool = False  # go on with what lies in `out`
    plot: bool = False
    until: str | None = None  # a stage of the experiment to stop after, as one that a choice is written down in
    data: str | None = None  # of the experiment: a file or a folder of the user's
    base: tuple[str, ...] = ()  # models to start from, such as a sweep's runs
    changes: tuple[str, ...] = ()  # KEY=VALUE of the experiment's settings
    jobs: int = 1  # runs at a time
    threads: int = 1  # of each
    device: str = "cpu"
    command: tuple[str, ...] = field(default=(), compare=False)  # as it was given, for the record

    @property
    def size(self) -> str:
        return "quick" if self.quick else "full" if self.full else "usual"

    def packages(self) -> Path:
        """The folder that packages' files lie in, or are fetched into: --data, or one in `out`, which need not be there
        yet. Raises `UserError` for --data that is no folder."""
        if self.data and not Path(self.data).is_dir():
            mend = "make it to have the packages fetched into it, or leave out --data"
            raise UserError(f"--data {self.data} is no folder; {mend}")
        return Path(self.data) if self.data else self.out / "packages"


@dataclass(frozen=True)
class Experiment:
    """One experiment by name; its code is imported when it is first asked for."""

    name: str
    claim: str  # the paper's
    time: dict[str, str]  # of each size, in words
    fields: dict[str, Any] = field(repr=False, default_factory=dict)  # all of its YAML

    @property
    def module(self) -> ModuleType:
        return importlib.import_module(f"unmask.experiments.{self.name}.experiment")

    def refuse_untaken(self, settings: Settings) -> None:
        """Raises `UserError` for an option that this experiment would pass over."""
        takes = self.fields.get("takes") or ()
        for name, why in SOME_TAKE.items():
            if getattr(settings, name) and name not in takes:
                raise UserError(f"--{name} does not go with {self.name}: {why}; leave it out", field=name)

    def settings_of(self, settings: Settings) -> dict[str, Any]:
        """The experiment's own settings at the size asked for, with `--set`. Raises `UserError` for unknown keys."""
        settings_ = copy.deepcopy(self.fields.get("settings") or {})
        if settings.size != "usual":
            settings_ = merged(settings_, self.fields.get(settings.size) or {}, f"{self.name}/{FILE}: {settings.size}")
        for words in settings.changes:
            key, equals, value = words.partition("=")
            if not equals or not key:
                raise UserError(f"--set {words} is not KEY=VALUE, such as seeds.first=1")
            change: Any = parse_yaml(value, f"--set {words}")
            for part in reversed(key.split(".")):
                change = {part: change}
            settings_ = merged(settings_, change, "--set")
        return settings_


def at_least(own: Mapping[str, Any], leasts: Mapping[str, int]) -> None:
    """Raises `UserError` naming the first setting that is less than its least."""
    for name, least in leasts.items():
        if own[name] < least:
            raise UserError(f"{name} is {own[name]}; give at least {least}")


def merged(base: Mapping[str, Any], changes: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Nested settings with changes in place; a value that is null or an empty group may become anything.

    Raises `UserError` for a key that the settings do not have, and for another kind of value.
    """
    result = dict(base)
    for key, value in changes.items():
        if key not in result:
            raise UserError(f"{where}: {key} is no setting{nearest(key, result)}; there are {', '.join(result)}")
        before = result[key]
        if isinstance(before, Mapping) and before:
            if not isinstance(value, Mapping):
                raise UserError(f"{where}: {key} is a group of settings; give one of {', '.join(before)}")
            result[key] = merged(before, value, f"{where} {key}")
            continue
        if before is not None and kind(before) != kind(value):
            raise UserError(f"{where}: {key} is {value!r}; give {kind(before)}, as {before!r}")
        result[key] = copy.deepcopy(value)
    return result


def kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return {"str": "text", "list": "a list"}.get(type(value).__name__, "a group")


@cache
def experiments() -> dict[str, Experiment]:
    """All experiments of the package, by name."""
    known = {}
    for path in sorted(HOME.glob(f"*/{FILE}")):
        fields = read_yaml(path)
        time = {size: str(fields["time"][size]) for size in SIZES}
        known[path.parent.name] = Experiment(path.parent.name, " ".join(str(fields["claim"]).split()), time, fields)
    return known


def experiment(name: str) -> Experiment:
    """Raises `UserError` for a name that is none."""
    known = experiments()
    if name == DEMO:
        raise UserError("the demo has options of its own, behind its name: unmask experiment demo [options]")
    if name not in known:
        hint = nearest(name, (*known, DEMO))
        raise UserError(f"'{name}' is no experiment{hint}; there are {', '.join(known)}, and {DEMO}")
    return known[name]


def seeds_of(text: str) -> tuple[int, ...]:
    """``3`` is 0, 1 and 2; ``0,4`` and ``4,`` are themselves."""
    try:
        seeds = tuple(int(part) for part in text.split(",") if part.strip())
        if "," not in text:
            seeds = tuple(range(seeds[0]))
    except (ValueError, IndexError):
        seeds = ()
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds is {text!r}; give how many, as 3, or which, as 0,1,2")
    return seeds


def figures(headline: Any, prefix: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """The named figures of a nested headline, by dotted name."""
    if isinstance(headline, Mapping) and "estimate" in headline:
        return {".".join(prefix): dict(headline)}
    by_name: dict[str, dict[str, Any]] = {}
    for name, value in headline.items() if isinstance(headline, Mapping) else ():
        by_name |= figures(value, (*prefix, name))
    return by_name
