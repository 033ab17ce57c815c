"""The options of `unmask experiment demo` and what runs it have the same names and defaults."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from unmask.arguments import demo_parser
from unmask.experiments.demo.run import DemoOptions


def test_defaults_are_those_of_the_options() -> None:
    told = vars(demo_parser().parse_args([]))
    assert told.pop("json") is False
    assert set(told) == {field.name for field in fields(DemoOptions)}
    given = {name: value for name, value in told.items() if value is not None}
    assert DemoOptions(**given) == DemoOptions()
    assert isinstance(given["out"], Path)
