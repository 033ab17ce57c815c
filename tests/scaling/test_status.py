"""Where a sweep stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaling.conftest import Bench, part
from unmask.errors import UserError
from unmask.scaling.status import last_record
from unmask.scaling.sweep import read_results

pytestmark = pytest.mark.timeout(400)  # every run is a process that imports torch


def test_rows_of_another_type_are_marked(bench: Bench):
    bench.planned(part(), precision="bf16")
    assert bench.run("run", bench.plan, "--out", bench.sweep, "--precision", "fp32").returncode == 0
    (row,) = bench.rows().values()
    assert (row["type"], row["planned_type"]) == ("fp32", "bf16")
    assert "another type than planned" in bench.run("status", bench.plan, "--out", bench.sweep).stdout


@pytest.mark.parametrize("damaged", ["[" * 100_000, "{", "7", "\ufffd"])
def test_a_damaged_line_is_passed_over_in_metrics_and_named_in_results(damaged: str, tmp_path: Path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 3}\n' + damaged[:3000] + "\n", encoding="utf-8")
    assert last_record(tmp_path) == {"step": 3}
    results = tmp_path / "results.jsonl"
    results.write_text('{"name": "a"}\n' + damaged + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="line 2 is no result of a run; take it away"):
        read_results(results)
