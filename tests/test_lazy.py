"""Names of a package on first use: nothing is loaded before, and a function is not hidden by the module of its name."""

from __future__ import annotations

import subprocess
import sys

import pytest

import unmask.decoding
import unmask.likelihood


def test_a_package_costs_nothing_until_a_name_is_used() -> None:
    code = "import sys, unmask.decoding, unmask.likelihood; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("first", ["unmask.decoding.generate", "unmask.likelihood.greedy", "unmask.likelihood.scoring"])
def test_a_function_is_found_before_and_after_its_module(first: str) -> None:
    code = (
        f"import {first}\nfrom unmask.decoding import generate\nfrom unmask.likelihood import greedy, rolling\n"
        "import unmask.likelihood.rolling\nfrom unmask.likelihood import rolling as again\n"
        "assert all(map(callable, (generate, greedy, rolling, again)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nowhere'"):
        _ = unmask.decoding.nowhere  # type: ignore[attr-defined]
    assert "generate" in dir(unmask.decoding) and "score" in dir(unmask.likelihood)
