"""The plan as a file."""

from __future__ import annotations

import dataclasses
import json

import pytest

from scaling.conftest import part
from unmask.errors import UserError
from unmask.scaling.options import PlanOptions
from unmask.scaling.plan import in_words, plan
from unmask.scaling.plan_file import read_plan
from unmask.training.dry_run import dry_run


def test_training_counts_a_planned_run_the_same(bench):
    found = bench.made(part(flops=[1e9], tokens=None), part("m", objective="mdm", flops=[1e9], tokens=None))
    spec = read_plan(bench.plan)
    for run in spec.runs:
        recipe = run.recipe_for(str(bench.data), str(bench.folder / "unused"))
        budget = dataclasses.replace(recipe, steps=0, flops=1e9, flops_rule="exact")
        assert dry_run(budget).plan["steps"] == run.steps
    assert [run["epochs"] for run in found["runs"]] == [run.epochs for run in spec.runs]
    assert spec.runs[0].epochs == pytest.approx(spec.runs[0].tokens / spec.facts.tokens)


def test_a_plan_reads_back_as_it_was_and_is_shown(bench):
    parts = (part(seeds=[0, 1]), part("m", objective="mdm", sizes=["16x2", "32x1"], lr_factors=[0.5, 1]))
    found = bench.made(*parts)
    again = read_plan(bench.plan)
    assert [run.to_dict() for run in again.runs] == found["runs"]
    assert [run.name for run in again.runs][:2] == ["arm-16x2-512t-s0", "arm-16x2-512t-s1"]
    assert [run.fitted for run in again.runs] == [True] * 2 + [False] * 4
    text = in_words(found)
    assert all(run["name"] in text for run in found["runs"])
    assert "not fitted" in text
    json.dumps(found)


def test_an_extension_leaves_every_run_as_it_was(bench):
    first = bench.made(part())
    before = read_plan(bench.plan).digests()
    for more in (
        part(seeds=[0, 1]),
        part(sizes=["16x2", "32x1"]),
        part(tokens=[512, 1024]),
        part("b", objective="mdm"),
    ):
        parts = [more] if more["part"] == "a" else [part(), more]
        bench.made(*parts)
        after = read_plan(bench.plan)
        assert len(after.runs) > len(first["runs"])
        assert {name: after.digests()[name] for name in before} == before


def test_a_plan_on_a_vocabulary_alone_has_no_epochs(bench):
    found = plan(PlanOptions(vocab=1024, objective=["mdm"], flops=["1e12"], size=["32/2"], out=str(bench.plan)))
    assert found["runs"][0]["epochs"] is None
    with pytest.raises(UserError, match="planned without data"):
        read_plan(bench.plan)
