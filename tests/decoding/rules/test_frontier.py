"""Frontier windows: only the leftmost open positions are written, at any order, quota and number of steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoding.oracle import SHARP, oracle
from unmask.cli import main
from unmask.decoding import Generation, generate
from unmask.errors import UserError
from unmask.model.config import ModelConfig
from unmask.model.folder import save
from unmask.model.transformer import Transformer

MODEL = oracle(SHARP, context=64)


def places(g: Generation) -> list[list[int]]:
    """By pass: where among the open positions of then, from the left and from 0, it wrote."""
    left, found = sorted(g.positions), []
    for step in sorted(set(g.steps)):
        now = [position for position, at in zip(g.positions, g.steps, strict=True) if at == step]
        found.append([left.index(position) for position in now])
        left = [position for position in left if position not in now]
    return found


@given(
    size=st.integers(1, 6),
    order=st.sampled_from(["confidence", "random", "entropy", "dilated", "left-to-right"]),
    quota=st.sampled_from(["paper", "even", "threshold:0.3", "factor:2"]),
    steps=st.one_of(st.none(), st.integers(1, 14)),
    seed=st.integers(0, 99),
)
def test_nothing_is_written_beyond_the_window(size: int, order: str, quota: str, steps: int | None, seed: int) -> None:
    options = {"length": 10, "order": order, "quota": quota, "steps": steps, "seed": seed}
    blank = MODEL.mask_id
    assert blank is not None
    (g,) = generate(MODEL, [[1, blank, 2, blank, blank]], eligible=f"frontier:{size}", **options)
    bound = steps if quota not in ("paper", "even") else steps or 13  # fixed quotas have a step a blank by default
    left, written = 13, places(g)
    for step, ranks in zip(sorted(set(g.steps)), written, strict=True):
        needed = 0 if bound is None else -(-left // max(1, bound - step))
        assert max(ranks) < max(size, needed)
        left -= len(ranks)
    assert left == 0
    if steps is None and quota == "even":
        assert all(max(ranks) < size for ranks in written) and len(written) == 13


def test_a_window_of_one_is_left_to_right_and_a_wide_one_is_none() -> None:
    options = {"length": 9, "order": "confidence", "quota": "even", "seed": 4}
    (one,) = generate(MODEL, [[3]], eligible="frontier:1", **options)
    (left,) = generate(MODEL, [[3]], **{**options, "order": "left-to-right"})
    assert one.steps == list(range(9)) == left.steps and one.tokens == left.tokens
    (wide,) = generate(MODEL, [[3]], eligible="frontier:9", **options)
    (free,) = generate(MODEL, [[3]], **options)
    assert wide.tokens == free.tokens and wide.steps == free.steps != one.steps


def test_steps_are_kept_evenly_and_not_by_the_last_one() -> None:
    (g,) = generate(MODEL, [[3]], length=12, order="confidence", quota="even", eligible="frontier:2", steps=4)
    assert [g.steps.count(step) for step in range(4)] == [3, 3, 3, 3]


@pytest.mark.parametrize("bad", ["0", "2.5", "-1", "wide"])
def test_a_bad_window(bad: str) -> None:
    with pytest.raises(UserError, match=f"eligible frontier: size is {bad}; give a whole number of at least 1"):
        generate(MODEL, [[3]], length=4, order="confidence", eligible=f"frontier:{bad}")
    with pytest.raises(UserError, match="block is short for eligible"):
        generate(MODEL, [[3]], length=4, eligible="frontier:2", block=2)


def test_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = ModelConfig(n_layer=1, n_head=2, n_embd=16, vocab_size=11, block_size=32)
    folder = save(tmp_path / "mdm", Transformer(config, seed=0))
    words = ["--ids", "1 2", "--length", "6", "--order", "random", "--quota", "even", "--eligible", "frontier:1"]
    with pytest.raises(SystemExit) as ended:
        main(["sample", str(folder), *words, "--json"])
    (row,) = json.loads(capsys.readouterr().out)
    assert not ended.value.code and row["steps"] == list(range(6)) and row["settings"]["eligible"] == "frontier:1"
