"""The words of the command line: every option has its help, and a default that says something.

make test ARGS=tests/test_arguments.py
"""

from __future__ import annotations

import argparse
import re

import pytest

from unmask.arguments import build_parser
from unmask.cli import FUNCTIONS

VERBS = build_parser(FUNCTIONS)[1]


@pytest.mark.parametrize("verb", VERBS)
def test_defaults_in_help_say_something(verb: str) -> None:
    """No `--no-transformers (default: True)`, which reads as its opposite, no empty list and no empty text."""
    shown = VERBS[verb].format_help()
    assert not re.search(r"default: (True|False|None|\[\]|)\)", shown), shown
    for action in VERBS[verb]._actions:
        if action.nargs == 0 and not isinstance(action, argparse.BooleanOptionalAction):
            assert "(default: " not in VERBS[verb].formatter_class("x")._expand_help(action)


def test_a_switch_of_two_names_shows_the_one_that_holds() -> None:
    assert "(default: --compile)" in VERBS["bench train"].format_help()
    assert "tokens a gap; by default 3" in VERBS["sample"].format_help()
    assert "(default: random:0.05)" in VERBS["prepare"].format_help()
