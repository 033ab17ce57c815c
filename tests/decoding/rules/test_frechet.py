"""The Fréchet quota: its bound by hand, what it proves by enumeration of joint laws, and `factor` as its equal case."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from decoding.oracle import Chain, oracle
from unmask.cli import main
from unmask.decoding import generate
from unmask.decoding.rules import QUOTAS
from unmask.decoding.rules.registry import choose
from unmask.errors import UserError
from unmask.model.config import ModelConfig
from unmask.model.folder import save
from unmask.model.transformer import Transformer

MODEL = oracle(Chain.of_offsets(5, [0.9, 0.06, 0.04]), context=64)


def admitted(spec: str, *confidences: float, open_: int | None = None) -> int:
    """How many of a row's ranked positions the quota takes."""
    best_RK = torch.tensor([confidences], dtype=torch.float64)
    open_RK = (torch.arange(len(confidences)) < (len(confidences) if open_ is None else open_))[None]

    class Ranked(SimpleNamespace):
        def __getitem__(self, name: str) -> torch.Tensor:
            return {"best": best_RK}[name]

    taken = choose("quota", QUOTAS, spec).of.admit(None, Ranked(open_RK=open_RK))  # type: ignore[attr-defined]
    assert not (taken & ~open_RK).any() and (taken.long().diff() <= 0).all(), "a prefix"
    return int(taken.sum())


@pytest.mark.parametrize(
    ("confidences", "count"),
    [
        ((0.99, 0.98, 0.2), 2),  # 0.01 + 0.02 + 0.02; with the third 0.83 + 0.8
        ((0.9, 0.6), 2),  # 0.5 + 0.4 < 1, where factor has 3 x 0.4
        ((0.6, 0.9), 2),  # the order need not be by confidence
        ((0.875,) * 9, 6),  # 6/8 + 1/8; with the seventh 1
        ((0.5, 0.99), 0),  # 0.5 + 0.5
        ((0.4, 1.0), 0),
        ((1.0, 1.0, 1.0), 3),
    ],
)
def test_by_hand(confidences: tuple[float, ...], count: int) -> None:
    assert admitted("frechet", *confidences) == count


def test_padding_takes_no_part() -> None:
    assert admitted("frechet", 0.9, 0.9, 0.0, 0.0, open_=2) == 2
    assert admitted("frechet:0.25", 0.9, 0.9, 0.9) == 1 and admitted("frechet:9", 0.1, 0.1, 0.1) == 3


@given(st.floats(0.01, 0.999), st.integers(1, 12), st.sampled_from([0.5, 1.0, 2.0]))
def test_of_equal_confidences_it_is_factor(c: float, k: int, bound: float) -> None:
    near = abs((1 - c) * round(bound / (1 - c)) - bound) < 1e-9  # where rounding decides
    assert near or admitted(f"frechet:{bound}", *[c] * k) == admitted(f"factor:{bound}", *[c] * k)


@given(st.lists(st.floats(0.01, 0.999), min_size=1, max_size=8).map(lambda c: sorted(c, reverse=True)))
def test_it_never_takes_fewer_than_factor(confidences: list[float]) -> None:
    assert admitted("frechet", *confidences) >= admitted("factor", *confidences)


@given(st.integers(0, 10_000), st.integers(2, 3), st.integers(2, 3))
def test_what_it_takes_is_the_mode_of_any_joint_law(seed: int, positions: int, size: int) -> None:
    """The bound is on marginals alone: of joint laws with any dependence, peaked ones among them."""
    rng = np.random.default_rng(seed)
    joint = rng.dirichlet(np.full(size**positions, 10 ** rng.uniform(-2, 0))).reshape([size] * positions)
    marginals = [joint.sum(tuple(j for j in range(positions) if j != i)) for i in range(positions)]
    confidences = [float(p.max()) for p in marginals]
    order = np.argsort(confidences)[::-1]
    count = admitted("frechet:0.999999", *[confidences[i] for i in order])
    chosen = sorted(order[:count].tolist())
    of_chosen = joint.sum(tuple(i for i in range(positions) if i not in chosen))
    greedy = tuple(int(marginals[i].argmax()) for i in chosen)
    others = [of_chosen[x] for x in itertools.product(range(size), repeat=count) if x != greedy]
    assert all(of_chosen[greedy] > other for other in others)


def test_it_writes_more_a_pass_than_factor_and_less_with_a_lower_bound() -> None:
    def passes(quota: str) -> list[int]:
        rows = generate(MODEL, [[1]] * 12, length=16, order="confidence", quota=quota, temperature=0.0)
        return [g.nfe for g in rows]

    frechet, factor, strict = passes("frechet"), passes("factor"), passes("frechet:0.15")
    assert sum(frechet) <= sum(factor) < sum(strict) and max(strict) <= 16


@pytest.mark.parametrize("bad", ["0", "-1", "much"])
def test_a_bad_bound(bad: str) -> None:
    with pytest.raises(UserError, match=f"quota frechet: bound is {bad}; give a number above 0"):
        generate(MODEL, [[3]], length=4, order="confidence", quota=f"frechet:{bad}")


def test_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = ModelConfig(n_layer=1, n_head=2, n_embd=16, vocab_size=11, block_size=32)
    folder = save(tmp_path / "mdm", Transformer(config, seed=0))
    words: list[Any] = ["sample", folder, "--ids", "1 2", "--length", 6, "--order", "confidence", "--json"]
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words), "--quota", "frechet:100"])
    (row,) = json.loads(capsys.readouterr().out)
    assert not ended.value.code and row["nfe"] == 1 and row["settings"]["quota"] == "frechet:100"
