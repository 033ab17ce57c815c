"""Options, declared once: what a class says is what the command line takes, refuses, shows and hands over.

make test ARGS=tests/test_options.py
"""

from __future__ import annotations

import ast
import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from unmask.cli import every_verb
from unmask.errors import UserError
from unmask.options import NEEDED, Options, Result, argument, declared, flags, group, option, parser

SRC = Path(__file__).parents[1] / "src" / "unmask"
VERBS = dict(every_verb())


@dataclass(frozen=True)
class Inner(Options):
    scale: float = option(0.5, "of it", least=0)
    tags: list[str] | None = option(None, "repeatable", flag="--tag")


@dataclass(frozen=True, kw_only=True)
class Shared(Options):
    device: str = option("auto", "where")


@dataclass(frozen=True)
class Whole(Shared):
    """All kinds of options."""

    name: str = argument("NAME", "what it is called")
    out: Path = option(NEEDED, "where to", metavar="FOLDER")
    more: list[str] = argument("MORE", "as many as there are", [])
    rounds: int = option(5, "turns", least=1, most=9)
    share: float = option(0.5, "a share", above=0, below=1)
    way: Literal["speed", "quality"] = option("speed", "what for")
    sizes: list[int] = option([1, 8], "repeatable", flag="--size", least=1)
    pair: tuple[float, float] | None = option(None, "two", metavar=("LOW", "HIGH"))
    quick: bool = option(False, "at once")
    checked: bool | None = option(None, "or not")
    grid: bool = option(True, "without the grid", flag="--no-grid")
    inner: dict[str, Any] = group(Inner)

    def run(self) -> Result:
        return Result({"name": self.name}, self.name)


def read(*words: str) -> Whole:
    return Whole.from_words(words, "unmask whole")[0]


def test_defaults_stand_where_nothing_is_given() -> None:
    assert read("a", "--out", "x") == Whole("a", Path("x"))
    assert Whole("a", Path("x")).sizes == [1, 8] and Whole("a", Path("x")).sizes is not Whole("b", Path("x")).sizes
    assert read("a", "--out", "x").inner == {}


def test_what_is_given_is_read_by_its_type() -> None:
    words = "a b c --out x --rounds 3 --share .25 --way quality --size 2 --size 4 --pair 0 1 --quick --no-checked"
    given = read(*words.split(), "--no-grid", "--scale", "2", "--tag", "p", "--tag", "q", "--device", "cpu")
    assert (given.name, given.more, given.out, given.rounds, given.share) == ("a", ["b", "c"], Path("x"), 3, 0.25)
    assert (given.way, given.sizes, given.pair, given.quick) == ("quality", [2, 4], (0.0, 1.0), True)
    assert (given.checked, given.grid, given.device) == (False, False, "cpu")
    assert given.inner == {"scale": 2.0, "tags": ["p", "q"]}
    assert read("a", "--out", "x", "--checked").checked is True
    assert Whole.from_words(["a", "--out", "x", "--json"], "unmask whole")[1] is True


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--rounds many", "--rounds is 'many'; give a whole number"),
        ("--rounds 0", "--rounds is 0; give at least 1 and at most 9"),
        ("--rounds 10", "--rounds is 10; give at least 1 and at most 9"),
        ("--share 1", "--share is 1.0; give a number above 0 and below 1"),
        ("--share nan", "--share is nan; give a finite number"),
        ("--way qualty", r"--way is 'qualty' \(did you mean 'quality'\?\); give one of speed, quality"),
        ("--size 2 --size 0", "--size is 0; give at least 1"),
        ("--rounds 2 --rounds 3", "--rounds is given twice; leave out one"),
        ("--quick --quick", "--quick is given twice"),
        ("--checked --no-checked", "--no-checked is given twice"),
        ("--round 3", r"unknown argument --round \(did you mean '--rounds'\?\); see unmask whole --help"),
        ("--rounds", "argument --rounds: expected one argument"),
        ("--nothing=3", "unknown argument --nothing; see unmask whole --help"),
    ],
)
def test_bad_words_are_one_line(words: str, line: str) -> None:
    with pytest.raises(UserError, match=f"^{line}") as caught:
        read("a", "--out", "x", *words.split())
    assert "\n" not in str(caught.value)


def test_what_must_be_given_is_named_and_an_error_says_its_field() -> None:
    with pytest.raises(UserError, match="--out"):
        read("a")
    with pytest.raises(UserError) as caught:
        Whole("a", Path("x"), rounds=0)
    assert caught.value.field == "rounds"
    with pytest.raises(UserError, match="--rounds is '3'; give a whole number of at least 1"):
        Whole("a", Path("x"), rounds="3")  # type: ignore[arg-type]


def test_own_options_come_before_those_of_the_classes_below() -> None:
    assert [one.name for one in declared(Whole)][-1] == "device"
    assert {"--size", "--no-grid", "--checked", "--no-checked", "--tag", "--json"} <= set(flags(Whole))
    assert "--name" not in flags(Whole)


@pytest.mark.parametrize("verb", VERBS)
def test_help_says_something_of_every_option(verb: str) -> None:
    """No `--no-transformers (default: True)`, which reads as its opposite, no empty list and no empty text."""
    made = parser(VERBS[verb], f"unmask {verb}")
    shown = made.format_help()
    assert not re.search(r"\(default: (True|False|None|\[\]|)\)", shown), shown
    assert VERBS[verb].__doc__
    for action in made._actions:
        assert action.help, action.dest


def test_a_switch_of_two_names_shows_the_one_that_holds() -> None:
    assert "(default: --compile)" in parser(VERBS["bench train"], "x").format_help()
    assert "tokens a gap; by default 3" in parser(VERBS["sample"], "x").format_help()
    assert "(default: random:0.05)" in parser(VERBS["prepare"], "x").format_help()


def test_an_option_is_declared_in_one_place() -> None:
    """Neither argparse nor its calls stand anywhere else, so that no default can stand twice."""
    for path in SRC.rglob("*.py"):
        if path.name == "options.py" and path.parent == SRC:
            continue
        called = [
            node for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument"
        ]  # fmt: skip
        assert not called, f"{path.name} declares an option by itself"


def test_no_class_declares_an_option_anew_that_it_stands_on() -> None:
    for verb, cls in VERBS.items():
        names = [name for base in cls.__mro__ for name in base.__dict__.get("__annotations__", {})]
        assert len(names) == len(set(names)), verb


def test_what_a_verb_does_is_there_with_its_words() -> None:
    for name, cls in VERBS.items():
        module, _, function = cls.does.rpartition(":")
        if module:
            home = importlib.import_module(module)
            assert callable(getattr(home, function)) and callable(home.in_words), name
