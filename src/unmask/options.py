"""Options, declared once: a field is a flag: type, default, range, help, its error line, its row in the docs.

    @dataclass(frozen=True)
    class TuneOptions(Options):
        model: str = argument("RUN", "a run, a checkpoint or a model folder")
        target: Literal["speed", "quality"] = option("speed", "what is wanted")
        rounds: int = option(5, "turns of each setting", least=1)
        only: list[str] | None = option(None, "settings by name; repeatable", metavar="PATTERN")

        does = "unmask.bench.decode.tune:tune"

`cli.py` names the class in its table of verbs, and that is all. Types say how a flag is given: a list may be given
again, a pair takes two words, a truth value none (`--flag`, or `--flag` and `--no-flag` where it is true or null).
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib
import math
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NoReturn, Self

from unmask.errors import UserError, nearest

NEEDED = dataclasses.MISSING  # the default of what must be given
KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", Path: "a path"}


@dataclass(frozen=True)
class Declared:
    """One option: what its field says beside name, type and default."""

    help: str
    metavar: str | tuple[str, ...] | None = None
    flag: str | None = None
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    one_of: tuple[str, ...] = ()  # as `Literal`, where the names stand elsewhere too
    was: str | None = None  # its name in files of before
    place: bool = False  # given by its place, without a flag
    inner: type | None = None  # options of a class of their own, of which those given are kept as a mapping


def option(default: Any, help: str, **more: Any) -> Any:
    """A field that is a flag; `more` as in `Declared`. One that must be given is given by name from Python too."""
    return _field(default, Declared(help, **more))


def argument(metavar: str, help: str, default: Any = NEEDED) -> Any:
    """A field that is given by its place; of a list as many as there are."""
    return _field(default, Declared(help, metavar, place=True))


def group(inner: type) -> Any:
    """A mapping of those options of another class that were given, so that their defaults may stand elsewhere."""
    return _field({}, Declared("", inner=inner))


def _field(default: Any, declared: Declared) -> Any:
    where = {"option": declared}
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=where)
    return dataclasses.field(default=default, metadata=where)


@dataclass(frozen=True)
class Option:
    """One option of a class, ready to be read, checked and shown."""

    name: str
    kind: Any  # int, float, str or bool
    default: Any
    declared: Declared
    many: bool = False
    pair: bool = False
    choices: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        return self.declared.flag or "--" + self.name.replace("_", "-")

    @property
    def both_ways(self) -> bool:
        """`--flag` and `--no-flag`."""
        return self.kind is bool and self.declared.flag is None and self.default is not False

    def read(self, text: str) -> Any:
        """The value that a word on the command line says. Raises `UserError`."""
        if self.kind is int or self.kind is float:
            try:
                number = float(text)
                return int(text) if self.kind is int else number
            except ValueError:
                raise UserError(f"{self.flag} is {text!r}; give {KINDS[self.kind]}", field=self.name) from None
        return Path(text) if self.kind is Path else text

    def check(self, value: Any, shown: str | None = None) -> None:
        """Raises `UserError`, which calls the option `shown`, for a value of another type or out of range."""
        shown = shown or (str(self.declared.metavar) if self.declared.place else self.flag)
        if value is None:
            return
        for item in value if (self.many or self.pair) and isinstance(value, list | tuple) else [value]:
            if reason := self._wrong(item):
                raise UserError(f"{shown} {reason}", field=self.name)

    def _wrong(self, value: Any) -> str | None:
        if self.choices and value not in self.choices:
            return f"is {value!r}{nearest(str(value), self.choices)}; give one of {', '.join(self.choices)}"
        if self.kind not in (int, float):
            return None
        fits = hasattr(value, "__index__") or (self.kind is float and hasattr(value, "__float__"))
        if isinstance(value, bool | str) or not fits or not math.isfinite(value):
            kind = "a finite number" if self.kind is float else KINDS[int]
            return f"is {value!r}; give {kind}" + (f" of {self.range}" if self.range.startswith("at") else "")
        own = self.declared
        low, high = own.least is None or value >= own.least, own.most is None or value <= own.most
        inside = low and high and (own.above is None or value > own.above) and (own.below is None or value < own.below)
        return None if inside else f"is {value}; give {'a number ' * self.range.startswith('above')}{self.range}"

    @property
    def range(self) -> str:
        """Its ends in words; empty where there are none."""
        own = self.declared
        ends = {"at least": own.least, "above": own.above, "at most": own.most, "below": own.below}
        return " and ".join(f"{word} {end:,}" for word, end in ends.items() if end is not None)


@dataclass(frozen=True)
class Result:
    """What a verb gives: values for machines, words for people, its exit status."""

    values: Any
    words: str
    status: int = 0

    def to_dict(self) -> Any:
        return self.values

    def in_words(self) -> str:
        return self.words


class Options:
    """What a verb takes; its docstring is the verb's description, `does` or a `run` of its own says what is done."""

    does: ClassVar[str] = ""  # MODULE:FUNCTION, imported when it is run; a function alone is of the class's own module
    usage: ClassVar[str | None] = None  # where argparse's is too long
    prefix: ClassVar[str | None] = None  # before a field's name in error lines, where it is no flag

    def __post_init__(self) -> None:
        of: Any = type(self)
        for opt in declared(of):
            if opt.declared.inner is None:
                opt.check(getattr(self, opt.name), None if self.prefix is None else f"{self.prefix}{opt.name}")

    @classmethod
    def epilog(cls) -> str | None:
        """What its help says behind the options."""
        return None

    @classmethod
    def from_words(cls, words: Sequence[str], command: str) -> tuple[Self, bool]:
        """The options that a command line gives, and whether --json is among them. Raises `UserError`."""
        given, rest = parser(cls, command).parse_known_args(list(words))
        if rest:
            raise UnknownOption(rest[0], cls, command)
        return cls(**values(cls, given)), given.json

    def run(self) -> Any:
        """A `Result`, or whatever has `to_dict()` and `in_words()`; None where all has been said.

        Of a class that `does` something: what the function gives for the options, in the words of `in_words` beside it.
        """
        module, _, name = self.does.rpartition(":")
        home = importlib.import_module(module or type(self).__module__)
        result = getattr(home, name)(self)
        signal = result.get("signal")
        return Result(result, home.in_words(result), 128 + signal if signal else 0)


class UnknownOption(UserError):
    """A word that the verb does not know; `elsewhere` are commands that do."""

    def __init__(self, word: str, cls: type[Options], command: str, elsewhere: Sequence[str] = ()) -> None:
        self.word, self.cls, self.command = word.partition("=")[0], cls, command
        text = f"unknown argument {self.word}{nearest(self.word, flags(cls))}"
        if elsewhere:
            text = f"{self.word} is of {' and '.join(elsewhere)}, not of {command}"
        super().__init__(f"{text}; see {command} --help", field=self.word)


@functools.cache
def declared(cls: Any) -> tuple[Option, ...]:
    """The options of a class: its own, then those of the classes it stands on."""
    hints, fields = typing.get_type_hints(cls), {field.name: field for field in dataclasses.fields(cls)}
    order = [name for base in cls.__mro__ for name in base.__dict__.get("__annotations__", {}) if name in fields]
    names = [name for name in dict.fromkeys(order) if "option" in fields[name].metadata]
    return tuple(_option(fields[name], hints[name]) for name in names)


def _option(field: dataclasses.Field[Any], hint: Any) -> Option:
    made = field.default_factory
    default = field.default if made is dataclasses.MISSING else made()
    union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    parts = typing.get_args(hint) if union else (hint,)
    hint = next(part for part in parts if part is not type(None))
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    many, pair = origin is list, origin is tuple
    if many or pair:
        hint = inside[0]
        origin, inside = typing.get_origin(hint), typing.get_args(hint)
    choices = tuple(inside) if origin is Literal else field.metadata["option"].one_of
    kind = hint if hint in KINDS else str
    return Option(field.name, kind, default, field.metadata["option"], many, pair, choices)


def options(cls: type) -> Iterator[tuple[Option, bool]]:
    """All options that a command line may give, and whether one's default stands elsewhere."""
    for opt in declared(cls):
        if opt.declared.inner is None:
            yield opt, False
        else:
            yield from ((inner, True) for inner in declared(opt.declared.inner))


def flags(cls: type) -> list[str]:
    names = ["--json", "--help"]
    for opt, _ in options(cls):
        names += [] if opt.declared.place else [opt.flag]
        names += [f"--no-{opt.flag[2:]}"] if opt.both_ways else []
    return names


def values(cls: type, given: argparse.Namespace) -> dict[str, Any]:
    """The fields of a class as they were given."""
    chosen = {}
    for opt in declared(cls):
        if opt.declared.inner is None:
            chosen[opt.name] = getattr(given, opt.name)
        else:
            inner = {each.name: getattr(given, each.name) for each in declared(opt.declared.inner)}
            chosen[opt.name] = {name: value for name, value in inner.items() if value is not None}
    return chosen


# ------------------------------------------------------------------ argparse


class Parser(argparse.ArgumentParser):
    """Errors in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message)


class Help(argparse.RawDescriptionHelpFormatter):
    """Lines around the options stay as they are."""


class Store(argparse.Action):
    """A value, a truth value, or one more of a list; nothing but a list may be given twice."""

    def __init__(self, option_strings: list[str], dest: str, of: Option, **more: Any) -> None:
        super().__init__(option_strings, dest, **more)
        self.of = of

    def __call__(self, parser: Any, space: Any, words: Any, flag: str | None = None) -> None:
        seen = space.__dict__.setdefault("_seen", {})
        if self.of.kind is bool:
            words = not str(flag).startswith("--no-")
        elif self.of.many and flag:
            words = [*seen.get(self.dest, []), words]
        elif self.of.pair:
            words = tuple(words)
        if self.dest in seen and flag and not self.of.many:
            raise UserError(f"{flag} is given twice; leave out one", field=self.dest)
        seen[self.dest] = words
        setattr(space, self.dest, words)


def parser(cls: type[Options], command: str) -> Parser:
    """The parser of a command, such as `unmask score`."""
    made = Parser(command, cls.usage, cls.__doc__, cls.epilog(), formatter_class=Help, allow_abbrev=False)
    made.add_argument("--json", action="store_true", help="print the result as JSON")
    for opt, elsewhere in options(cls):
        add(made, opt, elsewhere)
    return made


def add(made: Parser, opt: Option, elsewhere: bool) -> None:
    more: dict[str, Any] = {"of": opt, "action": Store, "help": in_help(opt), "metavar": opt.declared.metavar}
    names = [opt.name] if opt.declared.place else [opt.flag]
    needed = opt.default is NEEDED
    if not opt.declared.place:
        more |= {"dest": opt.name, "required": needed}
    if opt.kind is bool:
        names += [f"--no-{opt.flag[2:]}"] if opt.both_ways else []
        more["nargs"] = 0
    else:
        more |= {"type": opt.read}
        if opt.declared.place:
            more["nargs"] = {(True, True): "+", (True, False): "*", (False, False): "?"}.get((opt.many, needed))
        elif opt.pair:
            more["nargs"] = 2
    if opt.choices and not opt.declared.metavar:
        more["metavar"] = "{" + ",".join(opt.choices) + "}"
    made.add_argument(*names, default=None if needed or elsewhere else opt.default, **more)


def in_help(opt: Option) -> str:
    """Help with the default, where that says something."""
    default = opt.default
    if opt.both_ways and default is not None:
        default = opt.flag if default else f"--no-{opt.flag[2:]}"
    elif isinstance(default, list | tuple):
        default = " ".join(map(str, default))
    silent = default in (None, False, "", [], {}, NEEDED) or (opt.kind is bool and not opt.both_ways)
    return opt.declared.help.replace("%", "%%") + ("" if silent else f" (default: {default})").replace("%", "%%")
