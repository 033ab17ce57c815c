"""Sixteen requests that differ in everything, in one batch and each alone: the same tokens.

On the oracle to the last bit: its own rows are independent to the last bit, so the engine has to be. On a Transformer,
whose rounding depends on the batch, the same tokens with probabilities to 1e-5.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from decoding.oracle import SHARP, oracle
from unmask.decoding import Generation, generate
from unmask.model.folder import Model

ORACLE = oracle(SHARP, context=64, eos_id=6)
# prompt (None: a blank), then options; those left out have their defaults.
REQUESTS: list[tuple[list[int | None], dict[str, Any]]] = [
    ([1, 2, 3], {"order": "ancestral", "steps": 5, "length": 14}),
    ([4], {"order": "confidence", "steps": 7, "length": 11, "guidance": 0.6, "temperature": 0.7}),
    ([], {"order": "margin", "quota": "even", "steps": 6, "block": 5, "length": 13, "cache": "dual:1"}),
    ([5, None, 0, None, 1], {"order": "entropy", "quota": "threshold:0.6", "length": 0}),
    ([2, 2], {"order": "high-entropy", "quota": "even", "length": 9, "top_k": 3, "cache": "reuse"}),
    ([0] * 9, {"order": "random", "steps": 4, "length": 20, "guidance": -0.4, "cache": "prefix:1", "block": 6}),
    ([3, 1], {"order": "left-to-right", "quota": "even", "length": 16, "top_p": 0.8, "eos": "truncate"}),
    ([1], {"order": "dilated", "steps": 8, "length": 17, "temperature": 0.0}),
    ([5, 5, 4], {"order": "first-hitting", "length": 6, "guidance": 1.2, "guidance_mode": "drop"}),
    ([2], {"order": "confidence", "quota": "factor:1.5", "length": 15, "revise": "edit:0.7", "block": 5}),
    ([0, 3], {"order": "ancestral", "steps": 24, "length": 12, "revise": "remdm-cap:0.2"}),
    ([4, 4, 1], {"order": "confidence", "quota": "even", "steps": 16, "length": 12, "revise": "p2"}),
    ([1, 0], {"order": "entropy", "quota": "entropy-bounded:0.4", "length": 15, "order_noise": 0.5}),
    ([3], {"order": "margin", "quota": "klass:threshold=0.5,kl=0.05", "length": 14, "cache": "dual", "block": 7}),
    ([2, 5, 2], {"order": "random", "quota": "even", "length": 18, "eos": "stop", "temperature": 1.3}),
    (
        [1, 1, 4, 0],
        {
            **{"order": "confidence", "steps": 9, "length": 10, "guidance": 0.8, "guidance_schedule": "linear"},
            **{"guidance_interval": (0.2, 0.9), "revise": "remdm-conf", "order_noise": 0.3},
        },
    ),
]
UNSET = {"guidance": 0.0, "temperature": 1.0, "order_noise": 0.0, "guidance_mode": "mask", "eos": "fill"}
UNSET |= {"guidance_schedule": "constant", "guidance_interval": (0.0, 1.0)}
NAMES = sorted({name for _, given in REQUESTS for name in given})


def seeds(round_: int) -> list[tuple[int, int]]:
    return [(1000 * round_ + 7 * row, row % 3) for row in range(len(REQUESTS))]


def prompts(model: Model) -> list[list[int]]:
    assert model.mask_id is not None
    return [[model.mask_id if token is None else token for token in prompt] for prompt, _ in REQUESTS]


def together(model: Model, rows: list[int], round_: int = 0) -> list[Generation]:
    columns = {name: [REQUESTS[row][1].get(name, UNSET.get(name)) for row in rows] for name in NAMES}
    given, drawn = prompts(model), seeds(round_)
    return generate(model, [given[row] for row in rows], seed=[drawn[row] for row in rows], **columns)


def alone(model: Model, row: int, round_: int = 0) -> Generation:
    return generate(model, [prompts(model)[row]], seed=[seeds(round_)[row]], **REQUESTS[row][1])[0]


def fields(g: Generation) -> tuple[object, ...]:
    return g.tokens, g.steps, g.probabilities, g.trace, g.nfe, g.stopped, g.positions, g.computed, g.seed


@pytest.mark.parametrize("round_", range(3))
def test_sixteen_requests_are_sixteen_single_ones_bitwise_on_the_oracle(round_: int) -> None:
    rows = list(range(16))
    found = together(ORACLE, rows, round_)
    for row, g in zip(rows, found, strict=True):
        assert fields(g) == fields(alone(ORACLE, row, round_)), REQUESTS[row]
    turned = together(ORACLE, rows[::-1], round_)[::-1]
    assert [fields(g) for g in turned] == [fields(g) for g in found]
    assert [fields(g) for g in together(ORACLE, rows, round_)] == [fields(g) for g in found]


def test_sixteen_requests_are_sixteen_single_ones_on_a_transformer(make_model) -> None:
    model = make_model(eos_id=6, seed=5)
    for row, g in enumerate(together(model, list(range(16)))):
        single = alone(model, row)
        assert (g.canvas, g.steps, g.nfe, g.stopped) == (single.canvas, single.steps, single.nfe, single.stopped)
        assert g.probabilities == pytest.approx(single.probabilities, abs=1e-5)
        assert [(e["step"], e["position"], e["token"]) for e in g.trace or []] == [
            (e["step"], e["position"], e["token"]) for e in single.trace or []
        ]


@pytest.mark.parametrize(
    "rules",
    [
        {"order": "confidence", "quota": "even"},
        {"order": "ancestral", "revise": "remdm-cap:0.2"},
        {"order": "entropy", "quota": "threshold:0.6", "order_noise": 0.5},
    ],
    ids=lambda rules: rules["order"],
)
def test_rows_that_share_their_rules_are_as_independent(rules: dict[str, Any]) -> None:
    """They take their turns together, at steps, lengths, blocks, temperatures and seeds of their own."""
    more = [
        {
            "steps": 3 + 2 * row if row % 4 else None,
            "length": 5 + row,
            "block": [None, 4, 7][row % 3],
            "guidance": [0.0, 0.6][row % 2],
            "temperature": [1.0, 0.0, 0.7][row % 3],
            "cache": [None, "dual"][row % 2],
        }
        for row in range(8)
    ]
    given = [[token for token in prompt if token < 6] for prompt in prompts(ORACLE)[:8]]
    seeds = [(17 * row, row % 2) for row in range(8)]
    columns = {name: [options[name] for options in more] for name in more[0]}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="guidance has no effect")
        found = generate(ORACLE, given, seed=seeds, **columns, **rules)
        single = [generate(ORACLE, [given[row]], seed=[seeds[row]], **more[row], **rules)[0] for row in range(8)]
    assert [fields(g) for g in found] == [fields(g) for g in single]
    assert len({g.nfe for g in found}) > 3


def test_the_requests_do_differ() -> None:
    """Neither all tokens nor all passes are the same, endings differ, and something is taken back."""
    found = together(ORACLE, list(range(16)))
    assert len({g.nfe for g in found}) > 6 and len({tuple(g.tokens) for g in found}) == 16
    assert {g.stopped for g in found} >= {"length", "filled", "eos"}
    taken_back = [row for row, g in enumerate(found) if any(e["token"] == ORACLE.mask_id for e in g.trace or [])]
    assert {10, 15} <= set(taken_back)
    assert [g.tokens for g in together(ORACLE, list(range(16)), 1)] != [g.tokens for g in found]
