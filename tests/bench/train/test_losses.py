"""Pairs of runs of equal seed in two types."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unmask.bench.train.losses import bench_losses, in_words
from unmask.bench.train.options import LossBenchOptions
from unmask.data.options import PrepareOptions
from unmask.data.prepare import prepare
from unmask.errors import UserError

TINY = ("model.n_layer=1", "model.n_head=1", "model.n_embd=16", "steps=6", "log_every=1", "validation.windows=4")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("text")
    for index in range(8):
        (folder / f"{index}.txt").write_text("so it goes, and on it goes again; " * 20 + str(index), encoding="utf-8")
    out = folder / "data"
    prepare(PrepareOptions([str(folder)], str(out), tokenizer="bytes", split="random:0.3"))
    return str(out)


@pytest.mark.slow
def test_pairs_differ_by_their_type_alone_and_a_second_call_goes_on(data: str, tmp_path: Path) -> None:
    options = LossBenchOptions("demo-mdm", data, str(tmp_path), seeds=2, set=TINY)
    result = bench_losses(options)
    for pair in result["pairs"]:
        assert pair["fp32"]["validation"] == pytest.approx(pair["bf16"]["validation"], abs=0.05)
    assert result["pairs"][0]["fp32"] != result["pairs"][1]["fp32"]
    recipe = json.loads((tmp_path / "losses.json").read_text())["settings"]
    assert recipe["seeds"] == 2 and "bf16 - fp32, validation" in in_words(result)
    assert bench_losses(options)["pairs"] == result["pairs"]


def test_what_it_sets_itself_and_one_seed_are_refused() -> None:
    with pytest.raises(UserError, match="--seeds is 1"):
        LossBenchOptions("demo-mdm", "d", "o", seeds=1)
    with pytest.raises(UserError, match="--set precision is what this benchmark sets itself"):
        LossBenchOptions("demo-mdm", "d", "o", set=["precision=fp32"])
    with pytest.raises(UserError, match="not KEY=VALUE"):
        LossBenchOptions("demo-mdm", "d", "o", set=["steps"])
