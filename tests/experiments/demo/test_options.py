"""What `unmask experiment demo` takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from unmask.errors import UserError
from unmask.experiments.demo.options import DemoOptions
from unmask.settings import RECIPES


def test_the_package_s_recipes_unless_told() -> None:
    assert DemoOptions().recipe("mdm") == RECIPES / "demo-mdm.yaml" and DemoOptions().out == Path("runs/demo")
    given, _ = DemoOptions.from_words(["--recipes", "mine", "--out", "there"], "unmask experiment demo")
    assert given.recipe("arm") == Path("mine/demo-arm.yaml") and given.out == Path("there")


@pytest.mark.parametrize("word", ["--windows", "--draws"])
def test_an_error_needs_two(word: str) -> None:
    with pytest.raises(UserError, match=f"{word} is 1; give at least 2"):
        DemoOptions.from_words([word, "1"], "unmask experiment demo")
