"""An experiment's folder: what is kept, what goes on, and what is refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from experiments.in_process import patch
from unmask.data.options import PrepareOptions
from unmask.data.prepare import prepare
from unmask.errors import UserError
from unmask.experiments import workplace
from unmask.experiments.frame import Settings, experiment
from unmask.experiments.workplace import Ask, Workplace, write_lines
from unmask.model.config import ModelConfig
from unmask.model.folder import save
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer


def test_a_stage_is_made_once_for_the_same_facts(tmp_path: Path) -> None:
    place = Workplace(Settings(tmp_path / "x"), {"a": 1}, "x")
    made = []
    for model in ("m", "m", "n"):
        assert place.kept("s", lambda: made.append(1) or {"n": len(made)}, model=model)["n"] == len(made)
    assert len(made) == 2 and set(place.times()) == {"s"}


def squared(n: int) -> int:
    if n < 0:
        raise UserError(f"{n} is below 0")
    return n * n


@pytest.mark.parametrize("jobs", [1, 2])
def test_many_stages_are_made_by_so_many_processes_and_kept_one_by_one(tmp_path: Path, jobs: int) -> None:
    place = Workplace(Settings(tmp_path / "x", jobs=jobs), {}, "x")
    asks = {f"s{n}": Ask((n,), {"n": n}) for n in (3, 2, 1)}
    assert place.kept_each(squared, asks) == {"s3": 9, "s2": 4, "s1": 1}
    assert {"s1", "s2", "s3"} == set(place.times()) and place.kept("s2", lambda: 0, n=2) == 4
    assert place.kept_each(squared, {**asks, "s2": Ask((5,), {"n": 5})}) == {"s3": 9, "s2": 25, "s1": 1}
    with pytest.raises(UserError, match="-1 is below 0"):
        place.kept_each(squared, {"a": Ask((6,), {}), "b": Ask((-1,), {})})


def test_longer_runs_do_not_hold_up_the_next_and_what_is_done_stays_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Workplace(Settings(tmp_path / "x", jobs=2), {}, "x")
    asked: list[tuple[list[str], int]] = []

    def some_fail(commands: Any, stages: Any, at_once: int, ended: Any) -> dict[str, Any]:
        asked.append((list(commands), at_once))
        ended("b", {"step": 2, "steps": 2})
        raise UserError("a: the disk is full")

    monkeypatch.setattr(workplace, "run_together", some_fail)
    recipe = recipe_in(tmp_path)
    with pytest.raises(UserError, match="the disk is full"):
        place.train({"b": recipe, "a": recipe})
    assert asked == [(["b", "a"], 2)]
    assert place.trained("b") == {"step": 2, "steps": 2, "rows_sha256": None}

    monkeypatch.setattr(workplace, "run_together", lambda *_, **__: {"a": {"step": 1, "steps": 2}})
    with pytest.raises(UserError, match="ended at step 1 of 2; add --resume"):
        place.train({"a": recipe})


def test_a_folder_is_gone_on_with_only_when_told_and_only_by_the_same_settings(tmp_path: Path) -> None:
    out = tmp_path / "x"
    Workplace(Settings(out), {"a": {"b": 1}}, "x")
    with pytest.raises(UserError, match="add --resume"):
        Workplace(Settings(out), {"a": {"b": 1}}, "x")
    Workplace(Settings(out, resume=True), {"a": {"b": 1}}, "x")
    with pytest.raises(UserError, match="begun with a.b 1, not 2"):
        Workplace(Settings(out, resume=True), {"a": {"b": 2}}, "x")
    with pytest.raises(UserError, match="begun with size 'usual', not 'quick'"):
        Workplace(Settings(out, resume=True, quick=True), {"a": {"b": 1}}, "x")
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "mine.txt").touch()
    with pytest.raises(UserError, match="something else"):
        Workplace(Settings(tmp_path / "y"), {}, "x")


def test_a_begun_folder_goes_on_with_other_free_settings(tmp_path: Path) -> None:
    again = Settings(tmp_path / "x", resume=True)
    Workplace(Settings(tmp_path / "x"), {"a": 1, "b": 1}, "x")  # as by a version that had none
    Workplace(again, {"a": 1, "b": 2}, "x", free=("b",))
    Workplace(again, {"a": 1, "b": 3}, "x", free=("b",))
    with pytest.raises(UserError, match="was begun with a 1, not 2"):
        Workplace(again, {"a": 2, "b": 3}, "x", free=("b",))


def test_a_setting_that_came_later_is_what_it_was_before_it_came(tmp_path: Path) -> None:
    usual = experiment("reversal").settings_of(Settings(tmp_path))
    Workplace(Settings(tmp_path / "x"), {key: usual[key] for key in usual if key != "padding"}, "reversal")
    with pytest.raises(UserError, match="begun with padding 'scored', not 'seen'"):
        Workplace(Settings(tmp_path / "x", resume=True), {**usual, "padding": "seen"}, "reversal")
    Workplace(Settings(tmp_path / "x", resume=True), usual, "reversal")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Prepared data, and a model to start from, of one tokenizer."""
    (tmp_path / "texts").mkdir()
    write_texts(tmp_path / "texts", "says that")
    prepare_again(tmp_path)
    tokenizer = Tokenizer.plain_bytes()
    write_base(tmp_path, tokenizer, seed=1)
    return tmp_path


def write_texts(folder: Path, words: str) -> None:
    for i in range(12):
        (folder / f"{i}.txt").write_text(f"Text {i} {words} {i} is {i} and {i + 1} is not. " * 6)


def prepare_again(folder: Path) -> None:
    options = {"tokenizer": "bytes", "split": "random:0.5", "workers": 1, "force": (folder / "data").exists()}
    prepare(PrepareOptions(sources=[str(folder / "texts")], out=folder / "data", **options))


def write_base(folder: Path, tokenizer: Tokenizer, seed: int) -> None:
    shape = {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 16, "vocab_size": tokenizer.vocab_size}
    save(folder / "base", Transformer(ModelConfig(**shape, eos_id=tokenizer.eos_id), seed=seed), tokenizer)


def recipe_in(folder: Path, **changes: Any) -> dict[str, Any]:
    return {"data": str(folder / "data"), "init": str(folder / "base"), "context": 16, "batch_size": 2, "steps": 2,
            "precision": "fp32", "validation": {"windows": 2, "draws": 2}, **changes}  # fmt: skip


def test_a_finished_run_is_that_of_the_same_data_and_base_wherever_they_lie(
    texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch(monkeypatch)
    place = Workplace(Settings(texts / "x"), {}, "x")
    folders = place.train({"a": recipe_in(texts)})
    assert place.finished("a", recipe_in(texts)) and place.trained("a")["steps"] == 2

    moved = texts / "moved"
    moved.mkdir()
    for name in ("data", "base"):
        shutil.copytree(texts / name, moved / name)
    assert place.finished("a", recipe_in(moved)), "a path may move"
    with pytest.raises(UserError, match="was begun with steps 2, not 3"):
        place.finished("a", recipe_in(texts, steps=3))

    write_base(moved, Tokenizer.plain_bytes(), seed=2)
    with pytest.raises(UserError, match=f"{folders['a']} began with another model than {moved / 'base'}; give another"):
        place.finished("a", recipe_in(moved, data=str(texts / "data")))
    write_texts(texts / "texts", "denies that")
    prepare_again(texts)
    with pytest.raises(UserError, match="was trained on other data than"):
        place.finished("a", recipe_in(texts))


def test_rows_that_changed_are_other_rows(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patch(monkeypatch)
    rows = texts / "rows.jsonl"
    rows.write_text('{"prompt": "1 and ", "completion": "2"}\n' * 8)
    place = Workplace(Settings(texts / "x"), {}, "x")
    recipe = recipe_in(texts, data=str(rows), sft={"template": "raw"})
    place.train({"a": recipe})
    assert place.finished("a", recipe)
    rows.write_text('{"prompt": "1 and ", "completion": "3"}\n' * 8)
    with pytest.raises(UserError, match="was trained on other rows than .*rows.jsonl holds; give another --out"):
        place.train({"a": recipe})


def test_lines_are_written_where_they_are_others(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_lines(path, [{"a": "ü"}, {"a": 2}])
    assert path.read_text(encoding="utf-8") == '{"a": "ü"}\n{"a": 2}\n'
    os.utime(path, (1, 1))
    write_lines(path, iter([{"a": "ü"}, {"a": 2}]))
    assert path.stat().st_mtime == 1
    write_lines(path, [])
    assert path.read_text() == ""
