"""Rules of a user's own, out of a file or an installed package: loaded by name, recorded by sha256.

    unmask sample RUN --plugin mine.py --order rarest

    unmask.plugin("mine.py")                         # the same from Python
    used({"order": "rarest"})                        # {"mine.py": "9f86d08..."}: what a result records

A file registers its rules as ours do (`ORDERS.register("rarest")`; see docs/plugins.md). It is run because somebody
names it, never because a folder does: where a model's own defaults or a stopped run need one, one line says which
option to add, and a file of another sha256 is refused. An installed package names a module in the entry-point group
`unmask.rules`, which is imported when rules are first read.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import inspect
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from unmask.decoding.rules import REGISTRIES
from unmask.decoding.rules.eligible import Eligibility
from unmask.decoding.rules.guidance import Schedule
from unmask.decoding.rules.orders import Order
from unmask.decoding.rules.quotas import Quota
from unmask.decoding.rules.registry import Rule
from unmask.decoding.rules.revise import Revision
from unmask.decoding.rules.shapes import guard, raised
from unmask.decoding.rules.statistics import Statistic
from unmask.errors import UserError

GROUP = "unmask.rules"
BASES: dict[str, type] = {
    **{"order": Order, "quota": Quota, "eligible": Eligibility, "revise": Revision},
    **{"guidance_schedule": Schedule, "statistic": Statistic},
}
Key = tuple[str, str]  # kind and name of a rule


@dataclass(frozen=True)
class Plugin:
    """A file, or a package, and the rules that it registered."""

    name: str  # of the file without its folder, or of the package
    sha256: str
    path: Path | None  # None: a package
    rules: tuple[Key, ...]


FILES: dict[str, Plugin] = {}


def plugin(path: str | Path) -> Plugin:
    """Loads a file of rules, statistics or schedules; once, and anew where it has changed since.

    Raises `UserError` for a file that cannot be read or run, registers nothing, takes a name that is taken, or has a
    rule that cannot be one; then nothing of it is registered.
    """
    file = Path(path)
    try:
        source, place = file.read_bytes(), file.resolve()
    except OSError as error:
        why = f"{error.strerror}; give a Python file"
        raise UserError(f"plug-in {path} cannot be read: {why}", field="plugin") from error
    sha256, before = hashlib.sha256(source).hexdigest(), FILES.get(file.name)
    if before is not None and before.sha256 == sha256:
        return before
    if before is not None and before.path != place:
        raise UserError(f"two plug-ins are called {file.name}, {before.path} and {path}; rename one", field="plugin")
    kept = {kind: dict(registry) for kind, registry in REGISTRIES.items()}
    for kind, name in before.rules if before else ():
        del REGISTRIES[kind][name]
    try:
        rules = run(source, place, f"plug-in {file.name}")
    except BaseException:
        for kind, registry in REGISTRIES.items():
            registry.clear()
            registry.update(kept[kind])
        raise
    FILES[file.name] = Plugin(file.name, sha256, place, rules)
    return FILES[file.name]


def load_plugins(paths: Iterable[str | Path]) -> None:
    """Those that `--plugin` names."""
    for path in paths:
        plugin(path)


def run(source: bytes, path: Path, who: str) -> tuple[Key, ...]:
    """Runs a file as a module of its own; what it registered, checked."""
    known = {(kind, name) for kind, registry in REGISTRIES.items() for name in registry}
    module = ModuleType(f"plugin_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look it up there
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except UserError as error:
        raise UserError(f"{who}: {error}", field="plugin") from error
    except (Exception, SystemExit) as error:
        raise UserError(f"{who} cannot be run: {raised(error, str(path))}; mend the file", field="plugin") from error
    keys = tuple(
        (kind, name) for kind, registry in REGISTRIES.items() for name in registry if (kind, name) not in known
    )
    if not keys:
        raise UserError(f"{who} registers nothing; give it a rule, such as @ORDERS.register(...)", field="plugin")
    for key in keys:
        check_rule(*key, who)
    return keys


def check_rule(kind: str, name: str, who: str) -> None:
    """Raises `UserError` for a class that cannot be a rule of its kind; the hooks of others are guarded from now on."""
    rule, base = REGISTRIES[kind][name], BASES[kind]
    what = f"{who}: {kind} '{name}'"
    if not isinstance(rule, type) or not issubclass(rule, base):
        raise UserError(f"{what} is no class that extends {base.__name__}; let it extend that", field="plugin")
    if any(isinstance(value, dataclasses.Field) for value in vars(rule).values()):
        raise UserError(f"{what} has parameters and is no dataclass; add @dataclass(frozen=True)", field="plugin")
    needed = {"quota": "admit" if getattr(rule, "adaptive", False) else "count", "statistic": "of"}
    needed |= {"order": "takes" if getattr(rule, "own_quota", False) else "priority", "guidance_schedule": "at"}
    if kind in needed and getattr(rule, needed[kind]) is getattr(base, needed[kind]):
        raise UserError(f"{what} has no {needed[kind]}; give it one", field="plugin")
    if issubclass(rule, Rule):
        try:
            rule(**{key: parameter.default for key, parameter in rule.parameters().items()})
        except Exception as error:
            raise UserError(f"{what} cannot be made: {raised(error, '')}; mend the file", field="plugin") from error
    guard(rule, kind, name, who)


# ------------------------------------------------------------------ packages


@functools.cache
def installed() -> dict[str, Plugin]:
    """The rules of installed packages, imported at the first call. Raises `UserError` naming one that cannot be."""
    packages: dict[str, Plugin] = {}
    for entry in importlib.metadata.entry_points(group=GROUP):
        name = entry.dist.name if entry.dist else entry.name
        who = f"package {name}"
        try:
            entry.load()
        except (Exception, SystemExit) as error:
            words = f"its rules ({GROUP}: {entry.name}) cannot be imported: {raised(error, '')}"
            raise UserError(f"{who}: {words}; mend the package, or remove it", field="plugin") from error
        root = entry.module.partition(".")[0]
        keys = [
            (kind, rule)
            for kind, registry in REGISTRIES.items()
            for rule, made in registry.items()
            if made.__module__.partition(".")[0] == root
        ]
        for key in keys:
            check_rule(*key, who)
        files = sorted({inspect.getfile(REGISTRIES[kind][rule]) for kind, rule in keys})
        sha256 = hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()
        packages[name] = Plugin(name, sha256, None, tuple(keys))
    return packages


# ------------------------------------------------------------------ what a result records


def given() -> dict[str, dict[str, str]]:
    """`{"plugins": {name: sha256}}` of all files loaded; nothing where there is none."""
    return recorded(FILES.values())


def used(options: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The same of those files and packages alone whose rules these options of `generate` name."""
    known = [*FILES.values(), *installed().values()]
    keys: set[Key] = set()
    for kind, registry in REGISTRIES.items():
        name = str(options.get(kind)).partition(":")[0]
        if kind != "statistic" and name in registry:
            keys |= {(kind, name), *(("statistic", read) for read in registry[name].reads)}
    return recorded(one for one in known if keys.intersection(one.rules))


def recorded(some: Iterable[Plugin]) -> dict[str, dict[str, str]]:
    names = {one.name: one.sha256 for one in some}
    return {"plugins": dict(sorted(names.items()))} if names else {}


def need(plugins: Any, who: str | Path) -> None:
    """Raises `UserError` where what `who` says it was made with is not loaded, or is another file now."""
    for name, sha256 in plugins.items() if isinstance(plugins, Mapping) else ():
        known = FILES.get(name) or installed().get(name)
        if known is None:
            raise UserError(f"{who} needs the plug-in {name}; add --plugin {name}", field="plugin")
        if known.sha256 != sha256:
            old, new = str(sha256)[:12], known.sha256[:12]
            which = f"the plug-in {name} of sha256 {old}, and this is {new}"
            raise UserError(f"{who} needs {which}; give --plugin the file of {old}, or begin anew", field="plugin")
