"""The demo's old name warns in one line and forwards."""

from __future__ import annotations

import subprocess
import sys

import pytest

from unmask.evaluation import demo
from unmask.experiments.demo import run


def test_the_old_program_warns_in_one_line_and_takes_the_same_options() -> None:
    program = [sys.executable, "-m", "unmask.evaluation.demo", "--windows", "1"]
    done = subprocess.run(program, capture_output=True, text=True)
    moved, refused = done.stderr.splitlines()
    assert moved.startswith("unmask: warning: ") and "`unmask experiment demo`" in moved
    assert (refused, done.returncode) == ("unmask: error: --windows is 1; give at least 2", 2)


def test_old_names_are_those_of_now() -> None:
    with pytest.warns(DeprecationWarning, match="goes in the next release"):
        assert demo.training_facts is run.training_facts
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        demo.no_such_name  # noqa: B018
