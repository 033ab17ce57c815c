"""Which checkpoints a run keeps, whose they are, and what it clears away."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from unmask.errors import UserError
from unmask.model.checkpoints import FILES, checkpoints, read_list
from unmask.training import checkpoint, loop
from unmask.training.checkpoint_files import prune, set_aside
from unmask.training.loop import train
from unmask.training.run_folder import RunFolder

EVERY: dict[str, Any] = {"steps": 20, "checkpoint__every": 4}


@pytest.fixture(autouse=True)
def no_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "matmul_peak", lambda *_: 1e12)


def names(run: Path) -> list[str]:
    """What lies in a run's checkpoints, steps as numbers."""
    return sorted(p.name.replace("step-000000", "") for p in (run / "checkpoints").iterdir())


def until(lab: Any, name: str, step: int, keep: int = 2, **changes: Any) -> Any:
    """A run that has gone to `step` of 20, as if it had been stopped there; its recipe."""
    recipe = lab.recipe(name, **EVERY, checkpoint__keep=keep, **changes)
    train(lab.recipe(f"{name}-whole", **EVERY, checkpoint__keep=9, **changes))
    shutil.copytree(lab.folder / f"{name}-whole", lab.folder / name)
    for folder in checkpoints(lab.folder / name):
        if int(folder.name[5:]) > step:
            shutil.rmtree(folder)
    for folder in checkpoints(lab.folder / name)[:-keep]:
        shutil.rmtree(folder)
    return recipe


def test_the_good_ones_stay_when_a_damaged_one_is_newer(lab: Any) -> None:
    recipe, run = until(lab, "run", 12, keep=2), lab.folder / "run"
    os.truncate(run / "checkpoints" / "step-00000012" / "model.safetensors", 100)
    (run / "checkpoints" / "step-00000030").mkdir()  # later steps of who knows whom
    (run / "checkpoints" / "step-00000030" / "config.json").write_text("{}")
    train(recipe, resume=True)
    # Written: 12, 16, 20. Kept: the newest two whole ones. Damaged ones are there under another name.
    assert names(run) == ["16", "20", "damaged-12", "damaged-30"]


def test_what_was_just_written_is_never_removed(lab: Any) -> None:
    recipe, run = until(lab, "run", 8, keep=1), lab.folder / "run"
    for step in (12, 16, 90):  # cut short, unreadable, of a later step: none counts, none is deleted
        shutil.copytree(run / "checkpoints" / "step-00000008", run / "checkpoints" / f"step-000000{step}")
    os.truncate(run / "checkpoints" / "step-00000012" / "config.json", 3)
    shutil.rmtree(run / "checkpoints" / "step-00000016" / "train_state")
    whole: set[Path] = set()
    prune(run, run / "checkpoints" / "step-00000008", 1, read_list(checkpoints(run)[0]).run, whole)
    assert names(run) == ["08", "12", "16", "90"]
    train(recipe, resume=True)
    assert names(run) == ["20", "damaged-12", "damaged-16", "damaged-90"]
    again = set_aside(shutil.copytree(run / "checkpoints" / "step-00000020", run / "checkpoints" / "step-00000012"))
    assert again.name == "damaged-step-00000012-2"


def test_as_many_whole_ones_stay_as_were_asked_for(lab: Any) -> None:
    recipe, run = until(lab, "run", 12, keep=3), lab.folder / "run"
    older = run / "checkpoints" / "step-00000008"
    data = bytearray((older / checkpoint.TENSORS).read_bytes())
    data[-1] ^= 1
    (older / checkpoint.TENSORS).write_bytes(data)  # found by its contents alone, behind a whole one
    whole = {run / "checkpoints" / "step-00000012"}
    shutil.copytree(older.with_name("step-00000012"), older.with_name("step-00000016"))
    run_id = read_list(older).run
    prune(run, older.with_name("step-00000016"), 3, run_id, whole)
    assert names(run) == ["04", "08", "12", "16"], "three whole ones, and one that does not count"
    prune(run, older.with_name("step-00000016"), 2, run_id, whole)
    assert names(run) == ["12", "16"]
    del recipe


def test_links_files_and_what_is_another_s_are_let_alone(lab: Any) -> None:
    until(lab, "run", 12, keep=3)
    run = lab.folder / "run"
    elsewhere = lab.folder / "elsewhere"
    (run / "checkpoints" / "step-00000004").rename(elsewhere)
    (run / "checkpoints" / "step-00000004").symlink_to(elsewhere)
    (run / "checkpoints" / "step-00000002").write_text("a file")
    (run / "checkpoints" / "notes.txt").write_text("mine")
    written = run / "checkpoints" / "step-00000012"
    prune(run, written, 1, read_list(written).run, set())
    assert names(run) == ["02", "04", "12", "notes.txt"] and (elsewhere / "config.json").is_file()
    shutil.copytree(written, run / "checkpoints" / "step-00000006")
    prune(run, written, 1, "another", set())
    assert names(run) == ["02", "04", "06", "12", "notes.txt"]


def test_what_stands_in_the_way_of_a_checkpoint_is_kept(lab: Any) -> None:
    recipe, run = until(lab, "run", 8), lab.folder / "run"
    (run / "checkpoints" / "step-00000012").write_text("a file of mine")
    (run / "checkpoints" / "step-00000016").symlink_to("nowhere")
    train(recipe, resume=True)
    assert names(run) == ["16", "20", "damaged-12", "damaged-16"]
    assert (run / "checkpoints" / "damaged-step-00000012").read_text() == "a file of mine"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def test_a_leftover_of_another_run_is_refused_and_nothing_is_lost(lab: Any) -> None:
    train(lab.recipe("one", **EVERY))
    shutil.copytree(lab.folder / "one" / "checkpoints", lab.folder / "two" / "checkpoints")
    before = contents(lab.folder / "two")
    for resume in (False, True):
        with pytest.raises(UserError, match="two/checkpoints holds step-00000016, but .*two has no recipe.yaml"):
            train(lab.recipe("two", **EVERY, seed=1), resume=resume)
    assert contents(lab.folder / "two") == before
    (lab.folder / "three" / "checkpoints").mkdir(parents=True)  # empty is nobody's
    assert train(lab.recipe("three", **EVERY, seed=1)).step == 20


def test_another_run_s_checkpoint_is_refused_at_the_start(lab: Any) -> None:
    recipe = until(lab, "run", 12)
    train(lab.recipe("other", **EVERY, seed=1))
    shutil.copytree(lab.folder / "other/checkpoints/step-00000020", lab.folder / "run/checkpoints/step-00000020")
    before = contents(lab.folder / "run")
    with pytest.raises(UserError, match="step-00000020 is of another run than .*run; move it away, or give another"):
        train(recipe, resume=True)
    assert contents(lab.folder / "run") == before
    shutil.rmtree(lab.folder / "run/checkpoints/step-00000020")
    own = lab.folder / "run" / "run.json"
    kept = own.read_text().strip()
    for text in (None, kept[:-9]):  # lost, or cut short: the line says what belongs there
        own.unlink()
        if text is not None:
            own.write_text(text)
        with pytest.raises(UserError, match="(step-00000008 is of another run|json is damaged).*put back") as caught:
            train(recipe, resume=True)
        assert kept in str(caught.value)
        own.write_text(kept)
    assert train(recipe, resume=True).step == 20


def test_a_run_that_was_copied_or_moved_whole_goes_on_where_it_lies(lab: Any) -> None:
    until(lab, "run", 12)
    shutil.copytree(lab.folder / "run", lab.folder / "copy")
    (lab.folder / "run").rename(lab.folder / "moved")
    for name in ("copy", "moved"):
        assert train(lab.recipe(name, **EVERY), resume=True).step == 20
        assert names(lab.folder / name) == ["16", "20"]
    sums = [read_list(lab.folder / name / "checkpoints" / "step-00000020").files for name in ("copy", "moved")]
    assert sums[0]["model.safetensors"] == sums[1]["model.safetensors"]


def test_what_killed_writers_left_is_cleared_at_the_next_start(lab: Any) -> None:
    recipe, run = until(lab, "run", 12), lab.folder / "run"
    place, dead = run / "checkpoints", 2**22 + 1  # above any process number
    for name in (".step-00000016.partial", ".step-00000016.partial-123", ".step-00000004.removed"):
        (place / name / "train_state").mkdir(parents=True)
        (place / name / "model.safetensors").write_text("half")
    shutil.copytree(place / "step-00000012", place / f".step-00000012.old-{dead}")  # replaced, and not taken away
    (place / "step-00000008").rename(place / f".step-00000008.old-{dead}")  # set aside, and not replaced
    for name in (f".recipe.yaml.partial-{dead}", f".versions.json.partial-{dead}", f".metrics.jsonl.partial-{dead}"):
        (run / name).write_text("half")
    for name in ("recipe.partial", "metrics.partial"):  # of before
        (run / name).write_text("half")
    for name in (".notes", f".result.json.partial-{dead}"):  # nobody's, and another command's
        (run / name).write_text("mine")
    stop_at_once(recipe)
    assert names(run) == ["08", "12"]
    assert sorted(p.name for p in run.iterdir() if "partial" in p.name or p.name.startswith(".")) == [
        ".lock", ".notes", f".result.json.partial-{dead}",
    ]  # fmt: skip
    train(recipe, resume=True)
    assert names(run) == ["16", "20"]


def stop_at_once(recipe: Any) -> None:
    """Opens the run as a resume does, and closes it."""
    RunFolder.open(recipe, True).close()


def test_a_folder_in_use_is_not_cleared(lab: Any) -> None:
    recipe = until(lab, "run", 12)
    writer = RunFolder.open(recipe, True)
    partial = lab.folder / "run" / "checkpoints" / ".step-00000777.partial"
    partial.mkdir(parents=True)
    with pytest.raises(UserError, match="is being written by another process"):
        RunFolder.open(recipe, True)
    assert partial.is_dir()
    writer.close()
    stop_at_once(recipe)
    assert not partial.exists()


SLOW_SAVE = """
import sys, time
from unmask.training import checkpoint
from unmask.cli import main
write = checkpoint.write_files
def slowly(folder, *args, **more):
    write(folder, *args, **more)
    print("half", flush=True)
    time.sleep(60)
checkpoint.write_files = slowly
main(sys.argv[1:])
"""


def test_a_save_that_is_killed_leaves_nothing_for_good(lab: Any) -> None:
    """SIGTERM, then SIGKILL in the save that it asked for, as a scheduler does."""
    recipe = lab.file("run", **EVERY)
    script = lab.folder / "slow.py"
    script.write_text(SLOW_SAVE)
    command = [*lab.command()[:1], str(script), "train", str(recipe)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None and process.stdout.readline() == "half\n"
    process.send_signal(signal.SIGTERM)
    process.kill()
    process.wait()
    assert [p.name for p in (lab.folder / "run" / "checkpoints").iterdir()] == [".step-00000004.partial"]
    train(lab.recipe("run", **EVERY), resume=True)
    assert names(lab.folder / "run") == ["16", "20"]


def test_a_list_that_cannot_be_read_is_not_deleted_by_pruning(lab: Any) -> None:
    until(lab, "run", 12, keep=3)
    run = lab.folder / "run"
    (run / "checkpoints" / "step-00000004" / FILES).write_text("{")
    written = run / "checkpoints" / "step-00000012"
    prune(run, written, 1, json.loads((run / "run.json").read_text())["id"], set())
    assert names(run) == ["04", "12"]
