"""What is trained and scored: points at stated tokens, the sweep's rule, the order of runs, points that are lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unmask.data.options import PrepareOptions
from unmask.data.prepare import prepare
from unmask.errors import UserError
from unmask.experiments.frame import Settings, experiment
from unmask.experiments.temporal import points
from unmask.experiments.temporal.folders import PERIOD, Texts
from unmask.experiments.temporal.points import check_points, longest_first, planned, saved, steps_of
from unmask.model.checkpoints import checkpoints, write_list
from unmask.model.config import ModelConfig
from unmask.scaling.rules import Batch, LearningRate
from unmask.settings import read_yaml
from unmask.training.checkpoint_files import prune

SWEEP = Path(__file__).parents[3] / "results" / "scaling" / "sweep.yaml"


def own(*changes: str, quick: bool = False) -> dict[str, Any]:
    return experiment("temporal").settings_of(Settings(Path("none"), quick=quick, changes=changes))


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Texts:
    folder = tmp_path_factory.mktemp("texts") / "speeches"
    folder.mkdir()
    rows = [{"text": f"The state of {n} and {n * n} is good. " * 40, "split": "train"} for n in range(60)]
    rows.append({"text": "And what is held out says so itself. " * 40, "split": "validation"})
    (folder / PERIOD).write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = Texts(folder, "", {})
    prepare(PrepareOptions([str(folder / PERIOD)], texts.tokens, "bytes", split="field:split", workers=1))
    return texts


def test_the_points_are_those_named_and_shrink_together_where_text_is_short() -> None:
    assert steps_of([1000, 2000, 4000], 1e9, 100, "arm") == (10, 20, 40)
    assert steps_of([1000, 2000, 4000], 2000, 100, "arm") == (5, 10, 20)
    with pytest.raises(UserError, match="arm.points: 1000 and 1100 tokens fall on one step of 500; lay"):
        steps_of([1000, 1100, 4000], 1e9, 500, "arm")


@pytest.mark.parametrize("value", ["[]", "[1e3]", "[2e3, 1e3]", "[1e3, 1e3]", "[0, 1]", "[a, b]"])
def test_points_are_rising_numbers(value: str) -> None:
    with pytest.raises(UserError, match="mdm.points is .*give two numbers of tokens or more, each above"):
        check_points(own(f"mdm.points={value}"))


def test_both_kinds_are_planned_with_their_own_points_and_the_mdm_once_more_at_the_arms_flops(texts: Texts) -> None:
    changes = ("recipe.context=32", "recipe.model={n_layer: 1, n_head: 2, n_embd: 16}", "mdm.batch_size=4",
               "arm.batch_size=2", "mdm.points=[20000, 40000]", "arm.points=[2000, 8000]", "warmup=0.1")  # fmt: skip
    mdm, arm = planned("speeches", 3, texts, own(*changes))
    assert [step * 4 * 32 for step in mdm.points] == pytest.approx([20000, 40000], abs=64) and mdm.seed == 3
    assert mdm.recipe["steps"] == mdm.points[-1] and mdm.recipe["checkpoint"] == {"at": mdm.steps, "keep": 1}
    assert arm.recipe["checkpoint"]["at"] == list(arm.points) and arm.equal is None
    assert mdm.equal is not None and mdm.equal not in mdm.points
    spent = arm.points[-1] * arm.flops_per_step
    assert mdm.equal * mdm.flops_per_step == pytest.approx(spent, rel=0.02)
    assert arm.recipe["optimizer"]["warmup"] == round(0.1 * arm.points[-1])
    assert arm.recipe["optimizer"]["schedule"] == "constant" and arm.recipe["optimizer"]["lr"] == 6.0e-3
    assert [run.kind for run in longest_first([arm, mdm])] == ["mdm", "arm"]
    few = planned("speeches", 0, texts, own(*changes, "most_epochs=0.25"))[0]
    assert few.epochs == pytest.approx(0.25, abs=0.01) and few.points[1] == pytest.approx(2 * few.points[0], abs=2)


def test_batch_and_rate_are_by_the_sweeps_rule() -> None:
    if not SWEEP.is_file():
        pytest.skip("no checkout: the sweep's plan is not there")
    sweep, usual = read_yaml(SWEEP), own()
    shape = {name: usual["recipe"]["model"][name] for name in ("n_layer", "n_head", "n_embd")}
    config = ModelConfig(**shape, vocab_size=1024, block_size=128)
    for kind in points.KINDS:
        batch = Batch(**sweep["batch"][kind]).of(usual[kind]["points"][-1], usual["recipe"]["context"])
        rate = LearningRate(**sweep["lr"][kind]).of(config.n_params_non_embedding, batch * usual["recipe"]["context"])
        assert (usual[kind]["batch_size"], usual[kind]["optimizer"]["lr"]) == (batch, rate)


def test_points_of_usual_settings_are_geometric_and_lie_behind_the_warmup() -> None:
    for size in (own(), own(quick=True)):
        check_points(size)
        for kind in points.KINDS:
            steps = [*size[kind]["points"]]
            ratios = [b / a for a, b in zip(steps, steps[1:], strict=False)]
            assert max(ratios) < 1.35 * min(ratios)
            assert steps[0] > size["warmup"] * steps[-1]


def checkpoint(run: Path, step: int) -> Path:
    folder = run / "checkpoints" / f"step-{step:08d}"
    (folder / "train_state").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    write_list(folder, "the run")
    return folder


def test_stops_take_no_point_away(tmp_path: Path) -> None:
    """A stop saves a checkpoint of its own; points are named, and what is not named goes."""
    at, stops = [10, 20, 30, 40], [13, 27, 35]
    whole: set[Path] = set()
    for step in sorted([*at, *stops]):
        whole.add(written := checkpoint(tmp_path, step))
        prune(tmp_path, written, 1, "the run", whole, named=at)
    assert [path.name[-2:] for path in checkpoints(tmp_path)] == ["10", "20", "30", "40"]
    assert list(saved(tmp_path, at)) == at


def test_a_point_that_is_gone_is_named(tmp_path: Path) -> None:
    for step in (10, 13, 30):
        checkpoint(tmp_path, step)
    assert list(saved(tmp_path, [10, 30])) == [10, 30], "by membership"
    with pytest.raises(UserError, match="lacks the checkpoints of steps 20, 40; give another --out"):
        saved(tmp_path, [10, 20, 30, 40])
