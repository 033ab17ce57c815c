"""Work by several processes: what comes back, what is raised, and that nothing is left running."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import pytest

from unmask.errors import UserError
from unmask.experiments.processes import by_processes


def doubled(number: int, seconds: float = 0.0) -> tuple[int, int]:
    time.sleep(seconds)
    return 2 * number, os.getpid()


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refused() -> None:
    raise UserError("it is so")


def test_each_comes_back_by_name_from_other_processes() -> None:
    found = {name: value for name, value, _ in by_processes(doubled, {"a": (1, 0.3), "b": (2, 0.3), "c": (3,)}, 2)}
    assert {name: value[0] for name, value in found.items()} == {"a": 2, "b": 4, "c": 6}
    assert os.getpid() not in {value[1] for value in found.values()}


def test_a_process_that_is_killed_is_told_of_in_one_line() -> None:
    with pytest.raises(UserError, match="a process was killed.*fewer --jobs"):
        list(by_processes(killed, {"a": (), "b": ()}, 2))


def test_what_goes_wrong_ends_the_others() -> None:
    began = time.monotonic()
    with pytest.raises(UserError, match="it is so"):
        list(by_processes(either, {"bad": (True,), "long": (False,)}, 2))
    assert time.monotonic() - began < 50 and not multiprocessing.active_children()


def either(bad: bool) -> None:
    if bad:
        refused()
    time.sleep(60)
