"""`--dry-run`: what it says is what the run then does, and it leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from unmask.errors import UserError
from unmask.training.dry_run import dry_run
from unmask.training.loop import train
from unmask.training.record import chosen_recipe


def test_it_says_what_the_run_does_and_writes_nothing(lab: Any, tmp_path: Path) -> None:
    file = lab.file("run", flops=2e7)
    before = sorted(tmp_path.rglob("*"))
    done = lab.run("train", file, "--dry-run", "--json", "--steps", "30")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    found = json.loads(done.stdout)
    shown = lab.run("train", "--dry-run", file, "--steps", "30").stdout
    assert sorted(tmp_path.rglob("*")) == before
    recipe = yaml.safe_load(shown.split("\n\n")[0])
    assert recipe == found["recipe"] and (recipe["steps"], recipe["flops"]) == (30, 0.0)
    result = train(lab.recipe("run", steps=30))
    plan = found["plan"]
    assert (plan["steps"], plan["done"]) == (result.steps, 0)
    assert plan["tokens"] == pytest.approx(result.tokens, rel=0.05)
    assert plan["flops"]["exact"] == pytest.approx(result.flops, rel=0.05)
    assert found["automatic"] | {"device": "cpu"} == {
        "device": "cpu", "precision": "fp32", "parallel.kind": "ddp", "micro_batch": 4,
        "optimizer.warmup": 3, "validation.every": 3, "checkpoint.every": 3,
    }  # fmt: skip
    assert f"mdm of {found['non_embedding']:,} non-embedding parameters" in shown and "nothing was written" in shown
    assert plan["memory"]["weights"] == 4 * found["parameters"]
    again = dry_run(chosen_recipe(str(tmp_path / "run"), {}, resume=True), resume=True)
    assert again is not None and again.plan["done"] == 30


def test_it_refuses_what_the_run_would(lab: Any, tmp_path: Path) -> None:
    train(lab.recipe("run"))
    cases = [
        ({}, False, "already holds a run; add --resume"),
        ({"batch_size": 2}, True, "batch_size was 4, is 2"),
        ({"steps": 40}, True, "optimizer.schedule cosine falls"),
        ({"steps": 4}, True, "fewer than the 12"),
        ({"data": "nowhere"}, True, "nowhere"),
        ({"context": 10**5}, True, "context 100000 is longer"),
        ({"micro_batch": 3}, True, "does not divide"),
    ]
    for changes, resume, message in cases:
        with pytest.raises(UserError, match=message):
            dry_run(lab.recipe("run", **changes), resume)


def test_a_large_model_is_not_made(lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of 2.1 billion parameters in a moment, since its weights are never drawn."""
    monkeypatch.setattr(torch.nn.Module, "to", lambda *_: pytest.fail("weights are moved"))
    found = dry_run(lab.recipe("run", model={"size": "2121M"}, ema=0.9, lora=None))
    assert found is not None and found.config.n_params_non_embedding == 2_121_393_280
    memory = found.plan["memory"]
    assert memory["average"] == memory["weights"] and memory["total"] > 5 * memory["weights"]
    assert not (tmp_path / "run").exists()
