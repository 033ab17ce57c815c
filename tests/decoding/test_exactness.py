"""The engine on an oracle backbone: every rule's law is the theory's (chi-square), and so is what it draws.

    make test ARGS=tests/decoding/test_exactness.py

On the exact posterior of a chain one token a pass is the chain itself, in any order that does not look at the token
drawn; several a pass are not, and by how much is known exactly.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from decoding.oracle import UNEVEN, Chain, oracle
from decoding.theory import (
    Law,
    Predict,
    State,
    ancestral_law,
    chain_law,
    chain_predictor,
    chi_square,
    one_by_one_law,
)
from unmask.decoding import generate
from unmask.model.folder import Model

L, V, SAMPLES = 3, 3, 4000
MODEL = oracle(UNEVEN, context=8)


def misfit(law: Law, prompt: State = (), model: Model = MODEL, **options: object) -> float:
    """Chi-square over the value that it exceeds once in 10,000."""
    length = len(next(iter(law)))
    found = generate(model, [list(prompt)] * SAMPLES, length=length, trace=False, **options)  # type: ignore[arg-type]
    statistic, critical = chi_square([g.tokens for g in found], law)
    return statistic / critical


def guided(prompt: State, guidance: float, temperature: float) -> Predict:
    """softmax of (u + (1 + w)(c - u)) / temperature, in which u sees a mask at every prompt position."""
    c, u = (chain_predictor(UNEVEN, L, p) for p in (prompt, (V,) * len(prompt)))

    def predict(state: State) -> np.ndarray:
        weight_LV = np.exp((np.log(u(state)) + (1 + guidance) * np.log(c(state) / u(state))) / temperature)
        return weight_LV / weight_LV.sum(1, keepdims=True)

    return predict


@pytest.mark.parametrize("steps", [1, 2, 4, 16])
def test_ancestral_is_the_reverse_process(steps: int) -> None:
    law = ancestral_law(chain_predictor(UNEVEN, L), L, V, steps)
    assert misfit(law, order="ancestral", steps=steps) < 1


@pytest.mark.parametrize(
    ("prompt", "guidance", "temperature"), [((1,), 0.0, 1.0), ((0, 2), 0.8, 1.0), ((2,), -0.5, 1.4)]
)
def test_ancestral_behind_a_prompt(prompt: State, guidance: float, temperature: float) -> None:
    law = ancestral_law(guided(prompt, guidance, temperature), L, V, 3)
    assert misfit(law, prompt, order="ancestral", steps=3, guidance=guidance, temperature=temperature) < 1


def test_first_hitting_is_the_chain() -> None:
    law = one_by_one_law(chain_predictor(UNEVEN, L), L, V, "random")
    assert misfit(law, order="first-hitting") < 1
    assert misfit(chain_law(UNEVEN, L), order="first-hitting") < 1


@pytest.mark.parametrize("order", ["left-to-right", "random", "dilated", "entropy", "high-entropy", "margin"])
def test_one_token_a_step_is_the_chain(order: str) -> None:
    """These orders look at predictions, not at the token drawn: by the chain rule nothing is lost."""
    assert misfit(chain_law(UNEVEN, L), order=order, quota="even", steps=L) < 1


def test_confidence_prefers_likely_tokens() -> None:
    """It looks at the token drawn, so even one at a time its law is another than the chain's, and known."""
    law = one_by_one_law(chain_predictor(UNEVEN, L), L, V, "confidence")
    assert misfit(law, order="confidence", quota="even", steps=L) < 1
    assert misfit(chain_law(UNEVEN, L), order="confidence", quota="even", steps=L) > 1


def test_gaps_are_filled_by_what_stands_on_both_sides() -> None:
    """A blank between two tokens, another behind them, and a continuation."""
    whole = chain_law(UNEVEN, 5)
    given = {1: 2, 3: 0}
    inside = {x: p for x, p in whole.items() if all(x[i] == token for i, token in given.items())}
    law = {(x[0], x[2], x[4]): p / sum(inside.values()) for x, p in inside.items()}
    found = generate(MODEL, [[V, 2, V, 0]] * SAMPLES, length=1, order="first-hitting", trace=False)
    statistic, critical = chi_square([g.tokens for g in found], law)
    assert statistic < critical


def test_blocks_are_left_to_right_outside_and_ancestral_inside() -> None:
    """Two blocks of two, a step each: both tokens of a block at once, the second block seeing the first."""
    law: Law = {}
    for first, p in ancestral_law(chain_predictor(UNEVEN, 2), 2, V, 1).items():
        for second, q in ancestral_law(chain_predictor(UNEVEN, 2, first), 2, V, 1).items():
            law[first + second] = p * q
    assert misfit(law, order="ancestral", steps=2, block=2) < 1
    assert misfit(chain_law(UNEVEN, 4), order="ancestral", steps=2, block=2) > 1


def test_a_broken_sampler_fails() -> None:
    """What the tests above would see: a step too many, a temperature of 0.8, a posterior off by 0.05, guidance of 0.3,
    a cut of the rarest tokens."""
    two = ancestral_law(chain_predictor(UNEVEN, L), L, V, 2)
    exact = chain_law(UNEVEN, L)
    assert misfit(two, order="ancestral", steps=3) > 1
    assert misfit(exact, order="ancestral", steps=3) > 1
    assert misfit(exact, order="first-hitting", temperature=0.8) > 1
    assert misfit(exact, order="first-hitting", top_p=0.95) > 1
    shifted = Chain(UNEVEN.transition_VV + [[-0.05, 0.05, 0], [0, 0.05, -0.05], [0, -0.05, 0.05]], UNEVEN.start_V)
    assert misfit(exact, model=oracle(shifted, context=8), order="first-hitting") > 1
    law = ancestral_law(guided((0, 2), 0.0, 1.0), L, V, 3)
    assert misfit(law, (0, 2), order="ancestral", steps=3) < 1
    assert misfit(law, (0, 2), order="ancestral", steps=3, guidance=0.3) > 1


# ------------------------------------------------------------------ draws


def test_entropy_of_samples_is_the_models() -> None:
    """Mean -log p of samples is the entropy: for float64 Gumbel noise and for `generate` (an inverse CDF), not for
    float32 Gumbel noise, whose largest value 16.6 cuts off the tail (arXiv 2409.02908).

    The published sampler draws from mask and tokens at once, at every one of many steps: log-probabilities are so low
    there that the tail needs noise float32 does not have. Half of the mass is one token's, half a tail's.
    """
    tail, steps, n = 1000, 10_000, 1500
    p_V = np.append(0.5, np.full(tail, 0.5 / tail))
    entropy = float(-(p_V * np.log(p_V)).sum())
    deviation = math.sqrt(float((p_V * np.log(p_V) ** 2).sum()) - entropy**2)
    chain = Chain(np.tile(p_V, (tail + 1, 1)), p_V)

    found = generate(oracle(chain, context=1), [[]] * n, length=1, trace=False)
    ours = np.array([g.tokens[0] for g in found])
    assert z_score(-np.log(p_V[ours]), entropy, deviation) < 4
    assert len(set(ours.tolist())) > n / 4  # the tail is all there: draws in it hardly ever agree

    rng = np.random.default_rng(0)
    for kind, follows in ((np.float64, True), (np.float32, False)):
        nll = gumbel_nll(p_V, steps, n, rng, kind)
        assert (z_score(nll, entropy, deviation) < 4) == follows
        if not follows:
            assert nll.mean() < 0.8 * entropy


def gumbel_nll(p_V: np.ndarray, steps: int, n: int, rng: np.random.Generator, kind: type) -> np.ndarray:
    """-log p of n tokens: mask (1 - 1/steps) and tokens (p/steps) compete until a token wins.

    Of the tail's noises only the largest matters, and the largest of m uniforms is u^(1/m), rounded like each.
    """
    tail = len(p_V) - 1
    grid = 2.0 ** (24 if kind is np.float32 else 53)
    logp = np.log([1 - 1 / steps, p_V[0] / steps, p_V[1] / steps]).astype(kind)
    nll: list[np.ndarray] = []
    while sum(map(len, nll)) < n:
        u = rng.random((1_000_000, 3))
        u[:, 2] **= 1 / tail
        u = np.floor(u * grid) / grid
        with np.errstate(divide="ignore"):
            noise = -np.log(-np.log(u.astype(kind)))
        winner = (logp + noise).argmax(1)
        nll.append(-np.log(p_V[np.minimum(winner[winner > 0], 2) - 1]))
    return np.concatenate(nll)[:n]


def z_score(values: np.ndarray, mean: float, deviation: float) -> float:
    return abs(float(values.mean()) - mean) / deviation * math.sqrt(len(values))


# ------------------------------------------------------------------ guidance of 0


@pytest.mark.parametrize("order", ["ancestral", "confidence", "first-hitting"])
def test_guidance_0_is_bitwise_the_unguided_path(order: str, mdm: Model) -> None:
    """On its own, beside guided rows, and where an interval or a schedule leaves none of it."""
    for model, prompt in ((MODEL, [0, 2]), (mdm, [1, 2, 3])):
        plain = generate(model, [prompt] * 3, length=5, order=order, seed=4)
        zero = generate(model, [prompt] * 3, length=5, order=order, seed=4, guidance=0.0)
        never = generate(model, [prompt] * 3, length=5, order=order, seed=4, guidance=2.0, guidance_interval=(0.0, 0.0))
        for a, *others in zip(plain, zero, never, strict=True):
            for b in others:
                assert (a.tokens, a.probabilities, a.steps, a.nfe) == (b.tokens, b.probabilities, b.steps, b.nfe)
    among = generate(MODEL, [[0, 2]] * 3, length=5, order=order, seed=4, guidance=[1.0, 0.0, 0.5])
    plain = generate(MODEL, [[0, 2]] * 3, length=5, order=order, seed=4)
    assert (among[1].tokens, among[1].probabilities, among[1].nfe) == (
        plain[1].tokens,
        plain[1].probabilities,
        plain[1].nfe,
    )
    assert among[0].probabilities != plain[0].probabilities
