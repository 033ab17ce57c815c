"""Runs of a plan: tokens and steps from the budget, and what decides a run in its digest."""

from __future__ import annotations

import dataclasses

import pytest

from scaling.conftest import part
from unmask.scaling.parts import spec_of
from unmask.scaling.plan_file import read_plan
from unmask.scaling.rules import Batch
from unmask.scaling.runs import Facts, planned_runs


@pytest.mark.parametrize("rule", ["exact", "6nd"])
@pytest.mark.parametrize("objective", ["mdm", "arm"])
def test_tokens_and_steps_follow_from_the_budget(rule, objective):
    """Multiplications counted by hand: layers, attention, head; three times a forward pass."""
    width, layers, context, vocab, budget = 96, 3, 128, 1024, 1.6e13
    parts = [{"part": "p", "objective": objective, "flops": [budget], "sizes": ["96x3"]}]
    (run,) = planned_runs(spec_of({"vocab": vocab, "flops_rule": rule, "parts": parts}, "x"), Facts(vocab))
    matrices = layers * 16 * width**2
    assert run.params == matrices + (2 * layers + 1) * width
    pairs = context if objective == "mdm" else (context + 1) / 2
    head = (context + 1) / (2 * context) if objective == "mdm" else 1.0
    exact = 6 * (matrices + 2 * layers * width * pairs + head * width * vocab)
    assert run.flops_per_token == pytest.approx(exact, rel=1e-4 if objective == "arm" else 1e-3)
    per_token = run.flops_per_token if rule == "exact" else 6 * run.params
    assert run.steps == int(budget / per_token / run.batch_tokens)
    assert run.tokens == run.steps * run.batch * context
    assert run.batch == Batch().of(budget / per_token, context)
    assert run.flops == pytest.approx(run.tokens * run.flops_per_token)
    assert run.flops_6nd == pytest.approx(6 * run.params * run.tokens)
    assert {"exact": run.flops, "6nd": run.flops_6nd}[rule] == pytest.approx(budget, rel=1e-3)
    assert run.warmup == round(0.05 * run.steps)
    assert run.name == f"{objective}-96x3-1.6e13-s0"


def test_what_decides_a_run_is_in_its_digest(bench):
    changes = [
        *({"seeds": [1]}, {"lr": [1e-3]}, {"lr": [2e-3]}, {"batch": [8]}, {"precision": "bf16"}, {"tokens": [1024]}),
        *(
            {"unique_tokens": 256},
            {"recipe": {"optimizer.weight_decay": 1.0}},
            {"objective": "mdm"},
            {"sizes": ["32x2"]},
        ),
    ]
    digests = set()
    for change in [{}, *changes]:
        bench.made(part(**change))
        (digest,) = read_plan(bench.plan).digests().values()
        digests.add(digest)
    assert len(digests) == len(changes) + 1
    (run,) = read_plan(bench.plan).runs
    assert run.digest("x") != run.digest("y")
    assert dataclasses.replace(run, compile=True, seconds=3.0).digest("x") == run.digest("x")
