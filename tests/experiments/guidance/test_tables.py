"""Tables scored part by part: kept as soon as they are there, by one process or two, and known by their items."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unmask.errors import UserError
from unmask.experiments.frame import Settings
from unmask.experiments.guidance import tables
from unmask.experiments.guidance.items import Item
from unmask.experiments.guidance.scores import credits
from unmask.experiments.guidance.tables import Table, tables_of
from unmask.experiments.workplace import Workplace
from unmask.model.config import ModelConfig
from unmask.model.folder import load, save
from unmask.model.transformer import Transformer

SCALES = [0.5, 1.0]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = ModelConfig(n_layer=1, n_head=2, n_embd=16, vocab_size=11, block_size=24, eos_id=0)
    return save(tmp_path_factory.mktemp("model") / "mdm", Transformer(config, seed=2))


def items(n: int, seed: int = 0) -> list[Item]:
    rng = np.random.default_rng(seed)
    drawn = [(rng.integers(1, 11, 5).tolist(), rng.integers(1, 11, (2, 6)).tolist()) for _ in range(n)]
    return [Item(prompt, answers, f"cluster {i}") for i, (prompt, answers) in enumerate(drawn)]


def place(out: Path, jobs: int = 1) -> Workplace:
    return Workplace(Settings(out, resume=True, jobs=jobs), {}, "guidance")


def table(model: Path, n: int = 5, seed: int = 0) -> Table:
    return Table("a-test", model, items(n, seed), "mask", True)


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "AT_ONCE", 2)


@pytest.mark.usefixtures("few_at_once")
def test_two_processes_give_what_one_does(model: Path, tmp_path: Path) -> None:
    some = [table(model), dataclasses.replace(table(model), name="a-tune", ends=False)]
    one = tables_of(place(tmp_path / "one"), some, SCALES, 4)
    two = tables_of(place(tmp_path / "two", jobs=2), some, SCALES, 4)
    for name in ("a-test", "a-tune"):
        assert np.array_equal(one[name].credit_NC, two[name].credit_NC) and two[name].seconds > 0
    whole = [credits(load(model), part, SCALES, 4, "mask", True) for part in (some[0].items[:2], some[0].items[4:])]
    assert np.allclose(np.delete(one["a-test"].credit_NC, [2, 3], axis=0), np.concatenate(whole), atol=1e-4)
    kept = sorted(path.name for path in (tmp_path / "two" / "stages").iterdir())
    assert kept == [f"a-{side}-{start}.json" for side in ("test", "tune") for start in (0, 2, 4)]


@pytest.mark.usefixtures("few_at_once")
def test_what_is_there_is_not_scored_again(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tables_of(place(tmp_path / "a"), [table(model)], SCALES, 4)["a-test"]
    asked: list[str] = []
    real = tables.score_part
    monkeypatch.setattr(tables, "score_part", lambda part, *how: asked.append(part.name) or real(part, *how))
    again = tables_of(place(tmp_path / "a"), [table(model)], SCALES, 4)["a-test"]
    assert not asked and np.array_equal(again.credit_NC, first.credit_NC) and again.seconds == first.seconds
    (tmp_path / "a" / "stages" / "a-test-2.json").unlink()
    tables_of(place(tmp_path / "a"), [table(model)], SCALES, 4)
    assert asked == ["a-test-2"]


@pytest.mark.usefixtures("few_at_once")
def test_parts_are_kept_until_something_fails(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tables.score_part

    def failing(part: Table, *how: Any) -> dict:
        if part.name == "a-test-2":
            raise UserError("no room")
        return real(part, *how)

    monkeypatch.setattr(tables, "score_part", failing)
    with pytest.raises(UserError, match="no room"):
        tables_of(place(tmp_path / "a"), [table(model)], SCALES, 4)
    assert [path.name for path in (tmp_path / "a" / "stages").iterdir()] == ["a-test-0.json"]


def test_other_items_are_scored_anew(model: Path, tmp_path: Path) -> None:
    first = tables_of(place(tmp_path / "a"), [table(model)], SCALES, 4)["a-test"]
    other = tables_of(place(tmp_path / "a"), [table(model, seed=1)], SCALES, 4)["a-test"]
    assert not np.array_equal(first.credit_NC, other.credit_NC)


def test_a_bad_item_is_one_line_from_another_process_too(model: Path, tmp_path: Path) -> None:
    long = Table("b", model, [Item([1], [[1] * 30, [2] * 30], "a")], "mask", False)
    with pytest.raises(UserError, match="item 0: the continuation has 30 tokens"):
        tables_of(place(tmp_path / "b", jobs=2), [long, dataclasses.replace(long, name="c")], SCALES, 4)
