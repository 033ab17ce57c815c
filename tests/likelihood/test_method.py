"""Methods are found by their files; each says what it can be told."""

from __future__ import annotations

import subprocess
import sys

import pytest

from unmask.errors import UserError
from unmask.likelihood.estimators import METHODS, Estimator
from unmask.likelihood.method import Method
from unmask.likelihood.methods import OURS, method_of


def test_every_file_is_a_method_and_ours_come_first() -> None:
    assert METHODS[: len(OURS)] == OURS
    for name in METHODS:
        assert isinstance(method_of(name), Method)
        assert sys.modules[type(method_of(name)).__module__].__doc__.startswith(f"`{name}`:")  # type: ignore[union-attr]


def test_names_cost_nothing_heavy() -> None:
    code = "import sys; import unmask.likelihood.methods; print({'numpy', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_decoders_rules_are_of_no_use_to_most() -> None:
    with pytest.raises(UserError, match="decode does not concern method mc-fixed, which replays no decoder"):
        Estimator(decode={"steps": 3})


def test_a_protocol_names_what_was_told() -> None:
    assert Estimator("chain-rule", order="random").to_dict() == {"method": "chain-rule", "draws": 8, "order": "random"}
