"""Rules that take tokens back, on the oracle: ReMDM's laws (chi-square), P2 and editing step by step.

ReMDM (arXiv 2503.00307) against the enumeration of its transition kernel, whose law tends to the data's with the number
of steps (`test_oracle.py`); P2 (arXiv 2502.03540) and LLaDA2.1's editing,
deterministic at temperature 0, against plain loops over predictions from sums over all sequences.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from decoding.oracle import SHARP, UNEVEN, Chain, oracle
from decoding.theory import (
    Law,
    Predict,
    Sigma,
    State,
    ancestral_law,
    by_confidence,
    capped,
    chain_law,
    chain_predictor,
    chi_square,
    looped,
    looped_alpha,
    masked,
    remdm_law,
    rescaled,
)
from unmask.decoding import Generation, generate

COINS = Chain([[0.9, 0.1], [0.2, 0.8]], [0.6, 0.4])
SAMPLES = 2500
LOOP = {"t_on": 0.6, "t_off": 0.2}
# Strong enough to show: with the defaults a few steps hardly take anything back.
KERNELS: list[tuple[str, Sigma, dict[str, object]]] = [
    ("remdm-cap:0.4", capped(0.4), {}),
    ("remdm-rescale:0.7", rescaled(0.7), {}),
    ("remdm-conf", by_confidence, {}),
    (
        "remdm-loop:eta=0.3,t_on=0.6,t_off=0.2,alpha_on=0.7",
        looped(0.3, **LOOP),
        {"alpha": looped_alpha(**LOOP, alpha_on=0.7)},
    ),
]


# The canvas after the second step and after the fourth: ReMDM keeps the law of each, so it takes both to see it.
STEPS, WATCH = 5, (1, 3)


def kernel_law(length: int, sigma: Sigma, **more: object) -> Law:
    return remdm_law(chain_predictor(COINS, length), length, 2, STEPS, sigma, watch=WATCH, **more)  # type: ignore


def sample(length: int, revise: str | None) -> list[State]:
    rules = {"order": "ancestral", "steps": STEPS, "revise": revise}
    found = generate(oracle(COINS, context=4), [[]] * SAMPLES, length=length, **rules)
    after = [canvases(g, 2, STEPS) for g in found]
    assert all(states[-1] == tuple(g.tokens) for states, g in zip(after, found, strict=True))
    return [tuple(token for step in WATCH for token in states[step]) for states in after]


def canvases(g: Generation, size: int, steps: int) -> list[State]:
    """The new tokens after every step, replayed."""
    assert g.trace is not None
    state, after = {position: size for position in g.positions}, []
    for step in range(steps):
        for event in g.trace:
            if event["step"] == step:
                state[event["position"]] = event["token"]
        after.append(tuple(state.values()))
    return after


@pytest.mark.parametrize(("revise", "sigma", "more"), KERNELS, ids=[spec.partition(":")[0] for spec, _, _ in KERNELS])
def test_remdm_has_the_law_of_its_kernel(revise: str, sigma: Sigma, more: dict[str, object]) -> None:
    length = 3 if sigma is by_confidence else 2  # a canvas large enough for tokens to share sigma
    statistic, critical = chi_square(sample(length, revise), kernel_law(length, sigma, **more))
    assert statistic < critical


def test_the_kernel_test_can_fail() -> None:
    """Another eta, other rules and plain ancestral decoding have laws that the test tells apart."""
    found = sample(2, "remdm-cap:0.4")
    for other in (capped(0.1), capped(0.0), rescaled(0.3), by_confidence):
        statistic, critical = chi_square(found, kernel_law(2, other))
        assert statistic > critical
    statistic, critical = chi_square(sample(2, None), kernel_law(2, capped(0.0)))
    assert statistic < critical


def test_remdm_with_many_steps_has_the_law_of_the_data() -> None:
    """However much is taken back on the way; the same test tells it from positions written apart."""
    rules = {"order": "ancestral", "steps": 32, "revise": "remdm-cap:0.05", "trace": False}
    found = [g.tokens for g in generate(oracle(UNEVEN, context=4), [[]] * 600, length=2, **rules)]
    predict = chain_predictor(UNEVEN, 2)
    for law in (chain_law(UNEVEN, 2), remdm_law(predict, 2, 3, 32, capped(0.05))):
        statistic, critical = chi_square(found, law)
        assert statistic < critical
    statistic, critical = chi_square(found, ancestral_law(predict, 2, 3, 1))
    assert statistic > critical


# ------------------------------------------------------------------ P2


def p2(predict: Predict, length: int, size: int, steps: int, eta: float) -> list[State]:
    """The canvas after every step: the best of what stands and of what is proposed, one more of them each step."""
    state, after = (size,) * length, []
    for step in range(steps):
        p_LV, open_ = predict(state), masked(state, size)
        write = -(-len(open_) // (steps - step))
        new = [int(p_LV[i].argmax()) if i in open_ else token for i, token in enumerate(state)]
        score = [math.log(p_LV[i, x]) * (1 if i in open_ else eta) for i, x in enumerate(new)]
        best = sorted(range(length), key=lambda i: -score[i])[: length - len(open_) + write]
        state = tuple(x if i in best else size for i, x in enumerate(new))
        after.append(state)
        if size not in state:
            return after
    return after


@pytest.mark.parametrize("eta", [1.0, 0.5, 3.0])
@pytest.mark.parametrize("steps", [3, 5])
def test_p2_step_by_step(steps: int, eta: float) -> None:
    model, swaps = oracle(UNEVEN, context=16), 0
    for prompt in ((), (0,), (1,), (2,)):
        expected = p2(chain_predictor(UNEVEN, 5, prompt), 5, 3, steps, eta)
        rules = {"order": "confidence", "quota": "even", "steps": steps, "revise": f"p2:{eta}", "temperature": 0}
        g = generate(model, [list(prompt)], length=5, **rules)[0]
        assert canvases(g, 3, len(expected)) == expected
        swaps += sum(event["token"] == 3 for event in g.trace or [])
    if eta == 3.0:  # hard on what stands
        assert swaps > 0


def test_p2_by_hand() -> None:
    """The chance of a 0 is 0.6, then 0.6 * 0.9 + 0.4 * 0.2 = 0.62, then 0.62 * 0.9 + 0.38 * 0.2 = 0.634: the last of
    three is written first. Beside it the others stand at 0.6 * 0.83 / 0.634 and 0.62 * 0.9 / 0.634, both above its own
    0.634, so of two places it gets neither; between two steps of 0.9 it is written again at the end."""
    rules = {"length": 3, "order": "confidence", "quota": "even", "steps": 3, "temperature": 0}
    (g,) = generate(oracle(COINS, context=4), [[]], revise="p2:1", **rules)
    events = sorted((e["step"], e["position"], e["token"], e["probability"]) for e in g.trace or [])
    assert [event[:3] for event in events] == [(0, 2, 0), (1, 0, 0), (1, 1, 0), (1, 2, 2), (2, 2, 0)]
    expected = [0.634, 0.6 * 0.83 / 0.634, 0.62 * 0.9 / 0.634, 0.0, 0.9]
    assert [event[3] for event in events] == pytest.approx(expected)


# ------------------------------------------------------------------ editing


def edited(predict: Predict, length: int, size: int, steps: int, threshold: float, passes: int = 16) -> list[State]:
    """The canvas after every pass: proposals written as the quota says while tokens that stand give way; then passes
    that only edit, until one changes nothing."""
    state, after, editing = (size,) * length, [], 0
    while editing < passes:
        p_LV, open_ = predict(state), masked(state, size)
        write = -(-len(open_) // max(1, steps - len(after)))
        best = sorted(open_, key=lambda i: -p_LV[i].max())[:write]
        sure = [i for i in range(length) if i not in open_ and p_LV[i].max() > threshold]
        new = tuple(int(p_LV[i].argmax()) if i in best + sure else token for i, token in enumerate(state))
        editing += not open_
        if new == state and not open_:
            return after
        state = new
        after.append(state)
    return after


def test_editing_pass_by_pass() -> None:
    """Five tokens in one or two passes clash, and editing changes some. At a low threshold two neighbours change places
    for ever; after sixteen passes that only edit it ends."""
    chain = Chain(np.random.default_rng(1).dirichlet([0.3] * 4, 4), np.array([0.4, 0.3, 0.2, 0.1]))
    model, mended, longest = oracle(chain, context=16), 0, 0
    for prompt in ((), (0,), (1,), (1, 1)):
        for steps, threshold in ((1, 0.6), (2, 0.6), (3, 0.8), (1, 0.3)):
            expected = edited(chain_predictor(chain, 5, prompt), 5, 4, steps, threshold)
            rules = {"order": "confidence", "quota": "even", "steps": steps, "temperature": 0}
            g = generate(model, [list(prompt)], length=5, revise=f"edit:{threshold}", **rules)[0]
            assert tuple(g.tokens) == expected[-1]
            written = [(event["position"], event["token"]) for event in g.trace or []]
            before = [(4,) * 5, *expected[:-1]]
            changes = [
                (len(prompt) + i, x)
                for old, new in zip(before, expected, strict=True)
                for i, x in enumerate(new)
                if x != old[i]
            ]
            assert sorted(written) == sorted(changes)
            mended += len(written) - 5
            longest = max(longest, len(expected))
    assert mended > 0 and longest == 1 + 16


def test_editing_mends_clashes() -> None:
    """On the sharp chain fewer sequences are faulty with it than without, at the same passes that write."""
    model = oracle(SHARP, context=24)
    rules = {"length": 16, "order": "confidence", "quota": "even", "steps": 4, "seed": 2}
    plain, mended = (generate(model, [[]] * 200, **rules, revise=revise) for revise in (None, "edit:0.5"))
    faulty = [sum(SHARP.log_probability(g.tokens) < -60 for g in found) for found in (plain, mended)]
    assert faulty[1] < faulty[0]


@pytest.mark.parametrize(
    ("revise", "block"), [("remdm-cap:0.3", None), ("remdm-rescale:0.4", None), ("remdm-conf", None), ("remdm-conf", 8)]
)
def test_a_position_taken_back_waits_like_any_other(revise: str, block: int | None) -> None:
    """`random` takes the masks in uniformly random order: how often a commitment falls on a position that was taken
    back is the share of such positions among the masks, step by step."""
    rules = {"order": "random", "quota": "paper", "steps": 32, "block": block, "revise": revise}
    found = generate(oracle(COINS, context=24), [None] * 150, length=16, **rules)
    hits, expected, variance = 0, 0.0, 0.0
    for g in found:
        masks, taken_back = set(range(16)), set[int]()
        events = list(g.trace or [])
        while events:
            step = events[0]["step"]
            now = [event for event in events if event["step"] == step]
            events = events[len(now) :]
            at = {p for p in masks if block is None or p // block == now[0]["position"] // block}
            written = [event["position"] for event in now if event["token"] != COINS.size]
            back, n, k = len(taken_back & at), len(at), len(written)
            hits += sum(position in taken_back for position in written)
            if k:
                expected += k * back / n
                variance += k * back / n * (1 - back / n) * ((n - k) / (n - 1) if n > 1 else 0)
            masks -= set(written)
            taken_back -= set(written)
            opened = {event["position"] for event in now if event["token"] == COINS.size}
            masks, taken_back = masks | opened, taken_back | opened
    assert expected > 50 and abs(hits - expected) < 4 * variance**0.5, (hits, expected, variance**0.5)


def test_the_order_of_positions_opened_again_is_a_function_of_the_seed() -> None:
    """The same alone and in a batch."""
    rules = {"order": "random", "steps": 24, "revise": "remdm-cap:0.3", "length": 12}
    model = oracle(COINS, context=16)
    together = generate(model, [None] * 6, seed=5, **rules)
    for row in (0, 3):
        assert generate(model, [None], seed=[(5, row)], **rules)[0] == together[row]
