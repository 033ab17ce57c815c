"""Trunks and their branches: planned by arithmetic of one's own, run by real processes, killed, sharded, extended."""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
import yaml

import unmask
from scaling.conftest import Bench, part, stopped, until
from unmask.errors import UserError
from unmask.model.checkpoints import write_list
from unmask.scaling.job import Job
from unmask.scaling.options import PlanOptions, RunOptions
from unmask.scaling.plan import plan
from unmask.scaling.plan_file import read_plan
from unmask.scaling.run import choose
from unmask.scaling.runs import PlannedRun
from unmask.scaling.sweep import Sweep
from unmask.scaling.table import read_runs
from unmask.training.metrics import read_records
from unmask.training.recipe_fields import fork_of

pytestmark = pytest.mark.timeout(400)  # every run is a process that imports torch
TRUNK = "arm-16x2-trunk-s0"
LONG, STEM = [10240, 20480], f"{TRUNK}-b4"  # tokens: 160 and 320 steps


def trunk(name: str = "a", **changes: object) -> dict:
    return part(name, **{"design": "trunk", "tokens": [1024, 2048], **changes})


def runs_of(bench: Bench, *parts: dict, **changes: object) -> list[PlannedRun]:
    bench.made(*parts, **changes)
    return read_plan(bench.plan).runs


def refused(bench: Bench, *parts: dict) -> str:
    with pytest.raises(UserError) as caught:
        runs_of(bench, *parts)
    assert "\n" not in str(caught.value) and not bench.plan.exists()
    return str(caught.value)


def test_branches_are_the_lengths_and_the_trunk_what_they_share(bench: Bench) -> None:
    alone = runs_of(bench, part(tokens=[4096, 65536]))
    found = runs_of(bench, trunk(tokens=[65536, 4096], decay=0.25), batch={"arm": {"tokens": 64, "at": 4096}})
    stem, short, long = found
    batch = round(64 * (math.sqrt(4096 * 65536) / 4096) ** 0.8 / 16)
    assert [run.name for run in found] == [TRUNK, "arm-16x2-4096t-s0-branch", "arm-16x2-65536t-s0-branch"]
    assert {run.batch for run in found} == {batch} and len({run.lr for run in found}) == 1
    assert [run.steps for run in (short, long)] == [4096 // 16 // batch, 65536 // 16 // batch]
    assert {run.warmup for run in found} == {max(1, round(0.05 * short.steps))}
    assert stem.forks == [short.forked_at, long.forked_at] and stem.steps == long.forked_at and not stem.fitted
    for run, other in zip((short, long), alone, strict=True):
        assert run.forked_at == run.steps - round(0.25 * run.steps) and run.trunk == TRUNK and run.fitted
        assert run.tokens == run.steps * batch * 16  # all of them, the trunk's too
        assert run.flops == pytest.approx(other.flops, rel=0.05)
        recipe = run.recipe_for("d", "runs/x")
        assert recipe.optimizer.schedule == "cooldown" and fork_of(str(recipe.fork)) == (f"runs/{TRUNK}", run.forked_at)
    recipe = stem.recipe_for("d", "runs/x")
    assert recipe.optimizer.schedule == "constant" and recipe.checkpoint.at == stem.forks and recipe.fork is None


def test_laws_are_fitted_to_what_repeats_its_data_and_not_to_where_it_begins(bench: Bench) -> None:
    stem, once, often = runs_of(bench, trunk(tokens=None, epochs=[1, 4], unique_tokens=4096))
    assert stem.is_trunk and 0.99 < once.epochs <= 1 and not once.fitted and often.fitted
    assert all(run.fitted for run in runs_of(bench, part(tokens=None, epochs=[1], unique_tokens=4096)))


def test_a_plan_counts_what_is_trained_once(bench: Bench) -> None:
    settings = bench.settings(trunk(flops=[1e9, 2e9, 4e9], tokens=None))
    found = plan(PlanOptions(plan=str(settings)))
    (sums,), runs = found["parts"], found["runs"]
    assert sums["flops"] == pytest.approx(1e9 * (0.2 + 0.4 + 4), rel=0.05)
    assert [run["budget"] for run in runs] == [None, 1e9, 2e9, 4e9]


def test_repeated_tokens_have_a_trunk_with_branches_by_epochs(bench: Bench) -> None:
    changes = {"unique_tokens": 512, "epochs": [2, 4, 16], "tokens": None, "subsets": [0, 1], "seeds": [0, 1]}
    found = runs_of(bench, trunk(**changes))
    assert len(found) == 4 * (1 + 3)
    assert [run.epochs for run in found[1:4]] == [2, 4, 16]
    assert [run.name for run in found[:2]] == ["arm-16x2-trunk-s0-u512.0", "arm-16x2-2ep-s0-u512.0-branch"]
    recipe = found[0].recipe_for("d", "o")
    assert (recipe.unique_tokens, recipe.unique_subset) == (512, 0)


def test_a_longer_trunk_is_the_same_run_where_its_batch_is_given(bench: Bench) -> None:
    before = {run.name: run.digest("") for run in runs_of(bench, trunk(batch=[4]))}
    after = {run.name: run.digest("") for run in runs_of(bench, trunk(batch=[4], tokens=[1024, 2048, 8192]))}
    assert len(after) == len(before) + 1 and {name: after[name] for name in before} == before
    other = {run.name: run.digest("") for run in runs_of(bench, trunk(batch=[4], decay=0.5))}
    assert other["arm-16x2-2048t-s0-b4-branch"] != before["arm-16x2-2048t-s0-b4-branch"]


def test_what_is_wrong_with_a_trunk_is_one_line(bench: Bench) -> None:
    assert "decay is 1; give a share" in refused(bench, trunk(decay=1))
    assert "decay is of branches" in refused(bench, part(decay=0.1))
    assert "which the design says" in refused(bench, trunk(recipe={"optimizer": {"schedule": "wsd"}}))
    assert "too few for a branch" in refused(bench, trunk(decay=0.99, tokens=[4096]))
    assert "would be two different runs" in refused(bench, trunk(), trunk("b", tokens=[4096]))


def test_a_shard_has_whole_families_and_a_branch_brings_its_trunk(bench: Bench) -> None:
    runs_of(bench, trunk(seeds=[0, 1, 2]), part("b", tokens=[512], seeds=[5]))
    found = read_plan(bench.plan)

    def chosen(**options: object) -> list[str]:
        given = RunOptions(str(bench.plan), str(bench.sweep), **options)  # type: ignore[arg-type]
        return [run.name for run in choose(found, given)]

    shards = [chosen(shard=f"{i}/2") for i in (1, 2)]
    assert sorted(shards[0] + shards[1]) == sorted(run.name for run in found.runs)
    assert [len(shard) for shard in shards] == [6, 4]
    assert {run.trunk for run in found.runs if run.name in shards[0]} == {None, TRUNK, TRUNK.replace("s0", "s2")}
    assert chosen(only=["arm-16x2-2048t-s1-branch"]) == ["arm-16x2-trunk-s1", "arm-16x2-2048t-s1-branch"]


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A sweep of a trunk and its two branches."""
    bench = Bench(data, tmp_path_factory.mktemp("finished"))
    bench.planned(trunk(tokens=LONG, batch=[4], fit=True))
    done = bench.run("run", bench.plan, "--out", bench.sweep, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["done"] == 3 and "trained to step 256" in done.stderr
    return bench


def test_trunk_and_branches_are_run_scored_and_tidied_up(finished: Bench) -> None:
    rows = finished.rows()
    short, long = (rows[f"arm-16x2-{n}t-s0-b4-branch"] for n in LONG)
    assert len(rows) == 2 and long["trunk"] == short["trunk"] == STEM
    assert (long["tokens"], long["forked_at"], long["steps"]) == (20480, 256, 320)
    assert long["loss"] < short["loss"] and long["flops_exact"] > short["flops_exact"]
    runs, _ = read_runs(finished.sweep)
    assert runs.trunk.tolist() == [STEM, STEM]
    for name in rows:
        assert unmask.load(finished.sweep / "runs" / name).config.n_params_non_embedding == rows[name]["params"]
    lines = read_records(finished.sweep / "runs" / long["name"])
    assert lines[0]["step"] < 256 < lines[-1]["step"], "the curve has the trunk's beginning"
    assert not list(finished.sweep.glob("runs/*/checkpoints"))
    stamp = (finished.sweep / "results.jsonl").stat().st_mtime_ns
    again = finished.run("run", finished.plan, "--out", finished.sweep)
    assert again.returncode == 0 and "3 done" in again.stdout
    assert (finished.sweep / "results.jsonl").stat().st_mtime_ns == stamp
    assert not list(finished.sweep.glob("runs/*/checkpoints")), "nothing was begun again"


@pytest.mark.slow
def test_all_are_killed_and_go_on_to_the_same_rows(bench: Bench, finished: Bench) -> None:
    """The trunk, and then the runner with a branch in hand."""
    bench.planned(trunk(tokens=LONG, batch=[4], fit=True))
    stem = bench.sweep / "runs" / STEM
    runner = bench.start("run", bench.plan, "--out", bench.sweep, "--jobs", "1")
    until(lambda: any((stem / "checkpoints").glob("step-*")))
    psutil.Process(runner.pid).children()[0].kill()  # the runner takes it up again
    branch = bench.sweep / "runs" / "arm-16x2-20480t-s0-b4-branch"
    until(lambda: any((branch / "checkpoints").glob("step-*")))
    assert stopped(runner, signal.SIGKILL) == -signal.SIGKILL
    done = bench.run("run", bench.plan, "--out", bench.sweep)
    assert done.returncode == 0, done.stderr
    assert bench.rows() == finished.rows()


def test_a_lost_result_is_had_again_where_the_sweep_lies_now(bench: Bench, finished: Bench) -> None:
    """The trunk's checkpoints are gone, and the branch's recipe names it where it was."""
    shutil.copytree(finished.sweep, bench.sweep)
    results = bench.sweep / "results.jsonl"
    lines = results.read_text().splitlines(keepends=True)
    results.write_text("".join(line for line in lines if "20480t" in line))
    status = bench.run("status", finished.plan, "--out", bench.sweep, "--json")
    assert json.loads(status.stdout)["cuts"] == [STEM, "arm-16x2-10240t-s0-b4-branch"]
    done = bench.run("run", finished.plan, "--out", bench.sweep)
    assert done.returncode == 0, done.stderr
    assert bench.rows() == finished.rows() and not list(bench.sweep.glob("runs/*/checkpoints"))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray: the extra scale")
def test_over_a_cluster_branches_wait_for_their_trunk_too(bench: Bench, finished: Bench) -> None:
    done = subprocess.run(
        bench.command("run", finished.plan, "--out", bench.sweep, "--ray"), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert bench.rows() == finished.rows() and not list(bench.sweep.glob("runs/*/checkpoints"))


@pytest.mark.slow
def test_a_longer_branch_is_what_it_would_have_been(bench: Bench, finished: Bench) -> None:
    shutil.copytree(finished.sweep, bench.sweep)
    bench.planned(trunk(tokens=[*LONG, 30720], batch=[4], fit=True))
    straight = bench.folder / "straight"
    for out, only in ((bench.sweep, "*"), (straight, "*30720t*")):
        done = bench.run("run", bench.plan, "--out", out, "--only", only)
        assert done.returncode == 0, done.stderr
    (alone,) = bench.rows(straight).values()
    assert bench.rows() == {**finished.rows(), alone["name"]: alone}


def test_branches_of_a_failed_trunk_are_left_out_until_it_is_retried(bench: Bench) -> None:
    bench.planned(trunk(lr=[1e6], tokens=[4096, 8192]))
    done = bench.run("run", bench.plan, "--out", bench.sweep, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found["failures"]) == [f"{TRUNK}-lr1e+06"] and found["waiting"] == 2
    assert "is left out: its trunk" in done.stderr and not (bench.sweep / "results.jsonl").exists()


def begun(bench: Bench, *steps: int, precision: str = "fp32") -> tuple[Sweep, PlannedRun, PlannedRun]:
    """A sweep whose trunk lies there with checkpoints that hold next to nothing; trunk and branch."""
    stem, branch = runs_of(bench, trunk(tokens=[1024]))
    sweep = Sweep.open(bench.sweep, read_plan(bench.plan))
    folder = sweep.folder(stem.name)
    folder.mkdir()
    recipe = stem.recipe_for(str(bench.data), str(folder), precision=precision)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe.to_dict()))
    for step in steps:
        checkpoint = folder / "checkpoints" / f"step-{step:08d}"
        (checkpoint / "train_state").mkdir(parents=True)
        write_list(checkpoint, None)
    return sweep, stem, branch


def test_a_branch_is_ready_when_its_trunk_has_come_as_far(bench: Bench) -> None:
    sweep, stem, branch = begun(bench, 4)
    assert not sweep.ready(branch) and sweep.wanted(stem) == [branch.forked_at]
    sweep, stem, branch = begun_again(bench, branch.forked_at)
    assert sweep.ready(branch) and not sweep.wanted(stem)
    assert sweep.states() == {stem.name: "done", branch.name: "waiting"}
    sweep.clear(stem.name)
    assert sweep.ready(branch), "a branch is not done yet"
    sweep.append({"name": branch.name})
    sweep.clear(branch.name)
    assert not (sweep.folder(stem.name) / "checkpoints").exists()


def begun_again(bench: Bench, step: int) -> tuple[Sweep, PlannedRun, PlannedRun]:
    shutil.rmtree(bench.sweep)
    bench.plan.unlink()
    return begun(bench, step)


def test_a_branch_of_another_type_than_its_trunk_is_refused(bench: Bench) -> None:
    sweep, stem, branch = begun(bench, precision="bf16")
    claim = sweep.claim(branch)
    assert claim is not None
    with pytest.raises(UserError, match=f"its trunk {stem.name} is in bf16, not fp32; delete") as caught:
        Job(sweep, branch, claim, 1)
    assert "\n" not in str(caught.value)
    claim.close()
