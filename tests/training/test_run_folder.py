"""A run goes on with what it was begun with, says in one line what differs or is damaged, and is never half there."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unmask.data.options import PrepareOptions
from unmask.data.prepare import prepare
from unmask.errors import UserError
from unmask.evaluation.compare import training_curve
from unmask.experiments.demo.run import training_facts
from unmask.model.checkpoints import FILES, checkpoints, read_list
from unmask.training import loop, run_folder
from unmask.training.loop import train
from unmask.training.metrics import read_records
from unmask.training.setup import data_record

HALF: dict[str, Any] = {"steps": 8, "checkpoint__every": 4, "checkpoint__keep": 9}


@pytest.fixture(autouse=True)
def no_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "matmul_peak", lambda *_: 1e12)


@pytest.fixture
def own(lab: Any) -> Any:
    """The lab with data of its own, to be prepared again."""
    lab.source = lab.folder / "source"
    lab.source.mkdir()
    for i in range(20):
        (lab.source / f"{i:02d}.txt").write_text(f"Chapter {i}. " + "All that is hidden comes out. " * (20 + i % 3))
    lab.data = lab.folder / "data"
    make(lab)
    return lab


def make(lab: Any, out: str = "data", **options: Any) -> None:
    given = {"tokenizer": "bpe:280", "split": "random:0.2", "workers": 1, **options}
    prepare(PrepareOptions(sources=[str(lab.source)], out=lab.folder / out, force=True, **given))


def half(lab: Any, name: str = "run", **changes: Any) -> Any:
    """A run that was stopped half-way; its recipe."""
    recipe = lab.recipe(name, **HALF, **changes)
    train(recipe)
    shutil.rmtree(lab.folder / name / "checkpoints" / "step-00000008")
    return recipe


def refused(recipe: Any, what: str) -> None:
    before = sorted(Path(recipe.out).rglob("*"))
    with pytest.raises(UserError) as caught:
        train(recipe, resume=True)
    assert what in str(caught.value) and "\n" not in str(caught.value)
    assert sorted(Path(recipe.out).rglob("*")) == before


def test_other_data_in_the_same_folder_is_refused_and_named(own: Any) -> None:
    recipe = half(own)
    (own.source / "00.txt").write_text("Another beginning. " * 40)
    make(own)
    refused(recipe, "run started from has changed: tokenizer, train data, validation data (see data.json); put back")
    assert (own.folder / "run" / "checkpoints" / "step-00000004").is_dir()


def test_each_part_is_named(own: Any) -> None:
    recipe = half(own)
    kept = shutil.copytree(own.data, own.folder / "kept")
    make(own, tokenizer="bpe:300")  # another vocabulary size
    refused(recipe, "has changed: tokenizer, train data, validation data (see data.json)")
    make(own, tokenizer=str(kept), split="random:0.3")
    refused(recipe, "has changed: train data, validation data (see data.json)")
    make(own)
    assert train(recipe, resume=True).step == 8, "prepared again from the same text it is the same data"


def test_a_copy_elsewhere_is_the_same_data(own: Any) -> None:
    half(own)
    own.data = (own.folder / "data").rename(own.folder / "moved")
    assert train(own.recipe("run", **HALF), resume=True).step == 8


def test_what_is_recorded_are_the_sums_of_the_manifest(own: Any) -> None:
    recipe = half(own)
    recorded = json.loads((own.folder / "run" / "data.json").read_text())
    manifest = prepare(PrepareOptions(sources=[str(own.source)], out=own.data, tokenizer="bpe:280", split="random:0.2"))
    assert recorded == json.loads(json.dumps(data_record(manifest)))
    assert recorded["tokenizer_sha256"] == manifest.tokenizer_hash
    assert recorded["train"]["sha256"] == [shard.sha256 for shard in manifest.splits["train"].shards]
    assert train(recipe, resume=True).step == 8


def test_a_run_begun_before_records_its_data_at_its_next_resume(own: Any, capfd: Any) -> None:
    recipe, run = half(own), own.folder / "run"
    (run / "data.json").unlink()
    make(own, tokenizer="bpe:300")  # what was not recorded then can be told from the checkpoint
    refused(recipe, "has changed: tokenizer (see ")
    assert not (run / "data.json").exists()
    make(own)
    capfd.readouterr()
    assert train(recipe, resume=True).step == 8
    told = f"{run} did not record what it was begun with, now data.json does: tokenizer, train data, validation data\n"
    assert capfd.readouterr().err.count(told) == 1
    make(own, split="random:0.3")
    refused(recipe, "has changed: train data, validation data (see data.json)")


def sft(lab: Any, name: str) -> Any:
    rows = [{"prompt": f"{i} and one?", "completion": f" {i + 1}"} for i in range(60)]
    (lab.folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    base = lab.folder / "base"
    if not base.exists():
        train(lab.recipe("base", **HALF, context=32))
    changes = {"init": str(base), "model": {}, "data": str(lab.folder / "rows.jsonl"), "sft": {"template": "raw"}}
    return lab.recipe(name, **HALF, context=32, **changes)


def test_fine_tuning_records_its_tokenizer_too(lab: Any, capfd: Any) -> None:
    recipe, run = sft(lab, "run"), lab.folder / "run"
    train(recipe)
    report = json.loads((run / "sft.json").read_text())
    assert len(report["tokenizer_sha256"]) == 64
    del report["tokenizer_sha256"]  # as before
    (run / "sft.json").write_text(json.dumps(report))
    capfd.readouterr()
    train(recipe, resume=True)
    assert "run did not record what it was begun with, now sft.json does: tokenizer\n" in capfd.readouterr().err
    report = json.loads((run / "sft.json").read_text())
    (run / "sft.json").write_text(json.dumps({**report, "tokenizer_sha256": "0" * 64}))
    refused(recipe, "run started from has changed: tokenizer (see sft.json)")
    (run / "sft.json").unlink()
    capfd.readouterr()
    train(recipe, resume=True)
    assert "now sft.json does: train data, tokenizer\n" in capfd.readouterr().err
    assert json.loads((run / "sft.json").read_text()) == report


CUT = ["sft.json", "lora.json", "data.json", "run.json", "recipe.yaml"]


@pytest.fixture(scope="module")
def damaged(lab_in: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    lab = lab_in(tmp_path_factory.mktemp("damaged"))
    recipe = sft(lab, "sft")
    train(recipe)
    train(lab.recipe("lora", **HALF, init=str(lab.folder / "base"), model={}, lora={"rank": 2}, context=32))
    return lab


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("text", ['{"a": ', "", "\x00\x01", "[]", "[" * 100_000, b"\xff\xfe"])
def test_a_file_of_the_run_that_is_damaged_is_named(damaged: Any, name: str, text: str | bytes) -> None:
    """Cut short, empty, not text, of another type, too deep: one line each, with the mend."""
    run = damaged.folder / ("sft" if name == "sft.json" else "lora")
    recipe = sft(damaged, "sft") if name == "sft.json" else damaged.recipe(
        "lora", **HALF, init=str(damaged.folder / "base"), model={}, lora={"rank": 2}, context=32
    )  # fmt: skip
    kept = (run / name).read_bytes()
    (run / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    try:
        refused(recipe, f"{run / name} is damaged")
        with pytest.raises(UserError, match="put back its own"):
            train(recipe, resume=True)
    finally:
        (run / name).write_bytes(kept)


@pytest.mark.parametrize("text", [None, '{"torch": ', "[]"])
def test_versions_are_written_anew_and_that_is_said(lab: Any, capfd: Any, text: str | None) -> None:
    recipe, path = half(lab), lab.folder / "run" / "versions.json"
    path.unlink()
    if text is not None:
        path.write_text(text)
    capfd.readouterr()
    train(recipe, resume=True)
    assert f"{path} was missing or damaged: it now holds the versions of today\n" in capfd.readouterr().err
    assert json.loads(path.read_text())["torch"]


def test_a_run_that_is_read_and_damaged_is_one_line(lab: Any) -> None:
    half(lab)
    run = lab.folder / "run"
    assert training_curve(run, lab.data) and training_facts(run)["step"] == 8
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "validation", "step')
    assert training_curve(run, lab.data)
    (run / "recipe.yaml").write_text("a: [")
    for read in (lambda: training_curve(run, lab.data), lambda: training_facts(run)):
        with pytest.raises(UserError, match="recipe.yaml is damaged"):
            read()
    (run / "metrics.jsonl").unlink()
    with pytest.raises(UserError, match="metrics.jsonl cannot be read: No such file"):
        read_records(run)


def test_every_file_is_written_whole(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run folder's files go through the one writer; the recipe is the last, and makes it a run."""
    written: list[str] = []
    write = run_folder.write_whole
    monkeypatch.setattr(run_folder, "write_whole", lambda p, text: (written.append(p.name), write(p, text)))
    half(lab)
    assert written == ["data.json", "precision.json", "run.json", "versions.json", "recipe.yaml"]
    there = {p.name for p in (lab.folder / "run").iterdir() if p.is_file()}
    assert there == {*written, "metrics.jsonl", ".lock"}
    newest = checkpoints(lab.folder / "run")[-1]
    assert read_list(newest).run == json.loads((lab.folder / "run" / "run.json").read_text())["id"]


def test_a_beginning_that_is_cut_off_can_be_begun_again(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write = run_folder.write_whole

    def killed(path: Path, text: str) -> None:
        if path.name == "recipe.yaml":
            raise KeyboardInterrupt
        write(path, text)

    monkeypatch.setattr(run_folder, "write_whole", killed)
    with pytest.raises(KeyboardInterrupt):
        train(lab.recipe("run", **HALF))
    monkeypatch.undo()
    assert train(lab.recipe("run", **HALF)).step == 8


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A folder that any user may enter."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o777)
    yield place
    shutil.rmtree(place)


CLOSED = ["recipe.yaml", "run.json", "data.json", "checkpoints", "step", "model.safetensors", FILES]


@pytest.mark.parametrize("closed", CLOSED)
def test_a_missing_permission_is_called_one(lab: Any, open_place: Path, closed: str) -> None:
    recipe = half(lab)
    run = open_place / "run"
    shutil.copytree(lab.folder / "run", run)
    for path in (run, *run.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    newest = checkpoints(run)[-1]
    place = newest if closed == "step" else newest / closed if "/" in closed or "saf" in closed else run / closed
    place.chmod(0)
    begun = json.loads((lab.folder / "run" / "data.json").read_text())
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)
        with pytest.raises(UserError, match=f"no permission to read {place}"):
            run_folder.RunFolder.open(dataclasses.replace(recipe, out=str(run)), True, {"data.json": begun}).close()
            loop.restore(None, run, Alone(), print)  # type: ignore[arg-type]
    finally:
        if root:
            os.seteuid(0)
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["step-00000004"]


class Alone:
    """`Ranks` of one process."""

    rank, size, first = 0, 1, True

    def all(self, value: Any) -> list[Any]:
        return [value]

    def same(self, value: Any) -> Any:
        return value

    def together(self, work: Any) -> Any:
        return work()
