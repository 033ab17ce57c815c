"""Stability stop: written is what was the likeliest for some passes and is confident; checked against a replay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decoding.oracle import Chain, oracle
from unmask.cli import main
from unmask.decoding import Generation, generate
from unmask.errors import UserError
from unmask.model.config import ModelConfig
from unmask.model.folder import Model, save
from unmask.model.transformer import Transformer

MODEL = oracle(Chain.of_offsets(5, [0.8, 0.12, 0.08]), context=64)


@torch.no_grad()
def replayed(model: Model, g: Generation, passes: int, threshold: float) -> None:
    """Follows a greedy generation pass by pass: what it wrote is what the rule says of that pass's predictions."""
    network: Any = model.network
    canvas = list(g.canvas)
    for position in g.positions:
        canvas[position] = int(model.mask_id or 0)
    likeliest: dict[int, list[int]] = {position: [] for position in g.positions}
    left = set(g.positions)
    for step in sorted(set(g.steps)):
        p_LV = network.head(network.hidden(torch.tensor([canvas]))).softmax(-1)[0]
        for position in left:
            likeliest[position].append(int(p_LV[position].argmax()))
        stable = {i for i in left if len(likeliest[i]) > passes and len(set(likeliest[i][-passes - 1 :])) == 1}
        done = {i for i in stable if float(p_LV[i].max()) > threshold}
        written = {position for position, at in zip(g.positions, g.steps, strict=True) if at == step}
        assert written == done or (not done and len(written) == 1), step
        for position in written:
            canvas[position] = g.canvas[position]
        left -= written
    assert not left


@given(
    passes=st.integers(0, 3), threshold=st.sampled_from([0.0, 0.3, 0.6, 0.9]), length=st.integers(1, 14),
    first=st.integers(0, 4),
)  # fmt: skip
@settings(max_examples=40)
def test_it_writes_what_is_stable_and_confident(passes: int, threshold: float, length: int, first: int) -> None:
    quota = f"stability:passes={passes},threshold={threshold}"
    (g,) = generate(MODEL, [[first]], length=length, order="confidence", quota=quota, temperature=0.0)
    replayed(MODEL, g, passes, threshold)


def test_on_a_transformer(mdm: Model) -> None:
    rows = generate(
        mdm, [[1], [2, 3]], length=12, order="margin", quota="stability:passes=1,threshold=0.2", temperature=0.0
    )
    for g in rows:
        replayed(mdm, g, 1, 0.2)
    assert min(g.nfe for g in rows) < 12


def test_without_passes_before_it_is_threshold() -> None:
    options: dict[str, Any] = {"length": 16, "order": "confidence", "seed": 3}
    for tau in (0.3, 0.7):
        own = generate(MODEL, [[1]] * 4, quota=f"stability:passes=0,threshold={tau}", **options)
        assert own == [
            type(g)(**{**vars(g), "seconds": o.seconds, "seconds_to_first": o.seconds_to_first})
            for g, o in zip(generate(MODEL, [[1]] * 4, quota=f"threshold:{tau}", **options), own, strict=True)
        ]


def test_a_slots_next_row_begins_without_the_past() -> None:
    """All at once is possible from pass `passes` + 1 on, also of the second call's row and in every block."""
    quota = "stability:passes=3,threshold=0"
    for _ in range(2):
        (g,) = generate(MODEL, [[1]], length=12, order="left-to-right", quota=quota, temperature=0.0, block=6)
        assert [g.steps.count(step) for step in sorted(set(g.steps))][:4] == [1, 1, 1, 3]
        assert g.nfe == 8


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("passes=-1", "stability: passes is -1; give a whole number of at least 0"),
        ("1.5", "stability: passes is 1.5; give a whole number of at least 0"),
        ("threshold=2", r"stability: threshold is 2; give a number in \[0, 1\]"),
    ],
)
def test_bad_numbers(spec: str, line: str) -> None:
    with pytest.raises(UserError, match=f"quota {line}"):
        generate(MODEL, [[3]], length=4, order="confidence", quota=f"stability:{spec}")


def test_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = ModelConfig(n_layer=1, n_head=2, n_embd=16, vocab_size=11, block_size=32)
    folder = save(tmp_path / "mdm", Transformer(config, seed=0))
    words: list[Any] = ["sample", folder, "--ids", "1 2", "--length", 6, "--order", "confidence", "--json"]
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words), "--quota", "stability:passes=0,threshold=0"])
    (row,) = json.loads(capsys.readouterr().out)
    assert not ended.value.code and row["nfe"] == 1
