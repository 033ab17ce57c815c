"""The best of a run on its way: paired with its last validation, and nothing where that is not there."""

from __future__ import annotations

import pytest

from scaling.conftest import Bench, part
from unmask.scaling.best import VALIDATIONS, WINDOWS, best_on_the_way
from unmask.scaling.plan_file import read_plan
from unmask.scaling.table import read_runs


def records(losses: dict[int, float]) -> list[dict]:
    return [{"kind": "train", "step": 1, "loss": 1.0}] + [
        {"kind": "validation", "step": step, "loss": loss} for step, loss in losses.items()
    ]


def test_the_score_is_moved_by_what_the_best_validation_was_below_the_last() -> None:
    found = best_on_the_way(records({10: 5.0, 20: 4.5, 30: 4.5, 40: 4.7}), 4.8, 4000.0, 40)
    assert found == {"best_loss": pytest.approx(4.6), "best_tokens": 2000.0}
    still = best_on_the_way(records({10: 5.0, 20: 4.5}), 4.4, 2000.0, 20)
    assert still == {"best_loss": 4.4, "best_tokens": 2000.0}
    assert best_on_the_way(records({10: 5.0}), 4.4, 2000.0, 20) == {"best_loss": None, "best_tokens": None}


@pytest.mark.timeout(200)
def test_a_row_on_repeated_data_carries_it_and_the_table_reads_it(bench: Bench) -> None:
    repeats = {"tokens": None, "epochs": [12], "unique_tokens": 512.0, "lr": [0.03], "fit": True}
    dropout = part("d", **repeats, recipe={"dropout": 0.3}, tag="d")
    bench.planned(part("r", **repeats), dropout, part(), most_epochs=1000)
    plan = read_plan(bench.plan)
    repeated, dropped, plain = plan.runs
    recipe = repeated.recipe_for("-", "-")
    assert recipe.validation.every == max(1, repeated.steps // VALIDATIONS) and recipe.validation.windows == WINDOWS
    assert dropped.recipe_for("-", "-").dropout == 0.3
    assert plain.recipe_for("-", "-").validation.windows != WINDOWS
    assert bench.run("run", bench.plan, "--out", bench.sweep).returncode == 0
    rows = bench.rows()
    for run in (repeated, dropped):
        row = rows[run.name]
        assert 0 < row["best_loss"] <= row["loss"] and 0 < row["best_tokens"] <= row["tokens"]
    assert "best_loss" not in rows[plain.name]
    runs, _ = read_runs(bench.sweep)
    assert sorted(runs.tried) == ["", "", "dropout 0.3"]
    assert sorted(runs.best_loss[runs.repeats]) == sorted(rows[run.name]["best_loss"] for run in (repeated, dropped))
