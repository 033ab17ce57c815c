"""The registry of caches: what each one says it keeps."""

from __future__ import annotations

import pytest

from unmask.decoding.passes.caches import CACHES
from unmask.decoding.rules.registry import choose
from unmask.errors import UserError


def test_what_each_keeps() -> None:
    told = {name: (choose("cache", CACHES, name).of.window, choose("cache", CACHES, name).of.reuse) for name in CACHES}
    assert told == {"none": (None, False), "reuse": (None, True), "prefix": ("prefix", False), "dual": ("dual", False)}


def test_a_window_may_be_run_whole_again() -> None:
    assert choose("cache", CACHES, "dual").values == {"refresh": 0}
    assert choose("cache", CACHES, "prefix:3").values == {"refresh": 3}
    for name in ("dual:1.5", "prefix:-1"):
        with pytest.raises(UserError, match=r"give a whole number of at least 0"):
            choose("cache", CACHES, name)
