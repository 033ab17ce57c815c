"""What the training of a base took, from metrics, and from a recipe alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from unmask.experiments.pretraining import Took, pretraining

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "results" / "scaling" / "runs"


def run(folder: Path, flops: dict[int, float], init: Path | None = None) -> Path:
    folder.mkdir()
    lines = [{"kind": "train", "step": step, "tokens": 10 * step, "flops": value} for step, value in flops.items()]
    lines.append({"kind": "validation", "step": max(flops, default=0), "loss": 1.0})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "recipe.yaml").write_text(f"init: {init or 'null'}\n")
    return folder


def test_a_run_tells_up_to_its_checkpoint(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", {10: 1e9, 20: 2e9})
    assert pretraining(folder) == Took(folder, 200, 2e9)
    earlier = folder / "checkpoints" / "step-00000012"
    earlier.mkdir(parents=True)
    assert pretraining(str(earlier)) == Took(folder, 100, 1e9)
    assert pretraining(tmp_path) == Took() and pretraining(run(tmp_path / "b", {})).flops is None


def test_what_a_run_began_with_counts_too(tmp_path: Path) -> None:
    first = run(tmp_path / "a", {10: 1e9})
    second = run(tmp_path / "b", {5: 3e8}, first)
    assert pretraining(second) == Took(second, 150, 1.3e9)
    gone = pretraining(run(tmp_path / "c", {5: 3e8}, tmp_path / "gone"))
    assert gone.tokens is None and gone.flops is None
    itself = run(tmp_path / "d", {5: 3e8}, tmp_path / "d")
    assert pretraining(itself).flops is None, "and it ends"


@pytest.mark.skipif(not KEPT.is_dir(), reason="the sweep's kept models lie in a checkout")
def test_a_model_that_keeps_its_recipe_took_what_the_sweep_measured(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (ROOT / "results/scaling/results.jsonl").read_text().splitlines()]
    for folder in sorted(KEPT.iterdir()):
        row, took = next(row for row in rows if row.get("name") == folder.name), pretraining(folder)
        assert took.run == folder and took.flops == pytest.approx(row["flops_exact"], rel=1e-9)
        assert took.tokens == pytest.approx(row["tokens"], rel=1e-3), "cut lengths are drawn"
        assert took.epochs == pytest.approx(row["epochs"], rel=1e-6)
    shutil.copytree(KEPT / "arm-96x3-1.6e13-s0", tmp_path / "bare")
    (tmp_path / "bare" / "recipe.yaml").unlink()
    assert pretraining(tmp_path / "bare") == Took()
    (tmp_path / "bare" / "recipe.yaml").write_text("something: else\n")
    assert pretraining(tmp_path / "bare") == Took()
