"""Where a sweep stands."""

from __future__ import annotations

import pytest

from scaling.conftest import Bench, part

pytestmark = pytest.mark.timeout(400)  # every run is a process that imports torch


def test_rows_of_another_type_are_marked(bench: Bench):
    bench.planned(part(), precision="bf16")
    assert bench.run("run", bench.plan, "--out", bench.sweep, "--precision", "fp32").returncode == 0
    (row,) = bench.rows().values()
    assert (row["type"], row["planned_type"]) == ("fp32", "bf16")
    assert "another type than planned" in bench.run("status", bench.plan, "--out", bench.sweep).stdout
