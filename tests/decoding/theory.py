"""What a sampler should do, worked out from its definition: laws by enumeration, errors by recursion, chi-square.

    law = ancestral_law(chain_predictor(chain, 3), 3, chain.size, steps=4)        # {(0, 2, 1): 0.031, ...}
    statistic, critical = chi_square([g.tokens for g in found], law)
    nll, error = parallel_decoding(chain, length=32, steps=16)

Nothing here is shared with `unmask.decoding`: a state is a tuple of tokens, the mask being `size`, and a law is a dict.

Shapes: L positions, V vocabulary.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache

import numpy as np

from decoding.oracle import Chain

State = tuple[int, ...]
Law = dict[State, float]
Predict = Callable[[State], np.ndarray]  # state -> p_LV

LAST_T = 1e-5
# Cells with fewer expected counts than this go together: the statistic's law needs a few in each.
RARE = 5.0
# 1 - 1e-4 quantile of the normal law.
Z = 3.719


# ------------------------------------------------------------------ the chain, by enumeration


def chain_law(chain: Chain, length: int) -> Law:
    """Every sequence with its probability."""
    return {x: math.exp(chain.log_probability(x)) for x in itertools.product(range(chain.size), repeat=length)}


def chain_predictor(chain: Chain, length: int, prompt: State = ()) -> Predict:
    """p(x_i | visible) behind a prompt, by summing over all sequences; a visible position is left out of its own."""
    size = chain.size
    sequences = np.array(list(itertools.product(range(size), repeat=len(prompt) + length)))
    probability = np.exp(chain.log_probabilities(sequences))

    @cache
    def predict(state: State) -> np.ndarray:
        whole = (*prompt, *state)
        found = np.zeros((length, size))
        for i in range(length):
            at = len(prompt) + i
            seen = [j for j, token in enumerate(whole) if token != size and j != at]
            fits = (sequences[:, seen] == [whole[j] for j in seen]).all(1)
            found[i] = np.bincount(sequences[fits, at], probability[fits], size)
        return found / found.sum(1, keepdims=True)

    return predict


# ------------------------------------------------------------------ laws of samplers, by enumeration


def fill_in(state: State, positions: Sequence[int], tokens: Sequence[int]) -> State:
    new = dict(zip(positions, tokens, strict=True))
    return tuple(new.get(i, token) for i, token in enumerate(state))


def masked(state: State, size: int) -> list[int]:
    return [i for i, token in enumerate(state) if token == size]


def joint(p_LV: np.ndarray, positions: Sequence[int]) -> Iterator[tuple[State, float]]:
    """Tokens for several positions of one pass, independent of each other, with their probability."""
    for tokens in itertools.product(range(p_LV.shape[1]), repeat=len(positions)):
        probability = math.prod(float(p_LV[i, x]) for i, x in zip(positions, tokens, strict=True))
        if probability:
            yield tokens, probability


def subsets(positions: Sequence[int], share: float) -> Iterator[tuple[list[int], float]]:
    """Which of the positions an event of probability `share`, independent at each, takes."""
    for chosen in itertools.product((False, True), repeat=len(positions)):
        weight = share ** sum(chosen) * (1 - share) ** (len(chosen) - sum(chosen))
        if weight:
            yield list(itertools.compress(positions, chosen)), weight


def times(steps: int) -> list[float]:
    return [1 - i * (1 - LAST_T) / steps for i in range(steps + 1)]


def ancestral_law(predict: Predict, length: int, size: int, steps: int) -> Law:
    """The reverse process itself: at every step each mask is unmasked with probability 1 - s/t."""
    law: Law = {(size,) * length: 1.0}
    t = times(steps)
    for i in range(steps):
        unmask = 1 - t[i + 1] / t[i] if i < steps - 1 else 1.0
        after: Law = Counter()
        for state, mass in law.items():
            for positions, weight in subsets(masked(state, size), unmask):
                for tokens, probability in joint(predict(state), positions):
                    after[fill_in(state, positions, tokens)] += mass * weight * probability
        law = dict(after)
    return law


def one_by_one_law(predict: Predict, length: int, size: int, order: str) -> Law:
    """One token a step: "left-to-right", "random" (which first-hitting is) or "confidence"."""
    law: Law = {(size,) * length: 1.0}
    for _ in range(length):
        after: Law = Counter()
        for state, mass in law.items():
            open_, p_LV = masked(state, size), predict(state)
            for tokens, probability in joint(p_LV, open_):
                at = {"left-to-right": [0], "random": list(range(len(open_)))}.get(order)
                if at is None:
                    confidence = [float(p_LV[i, x]) for i, x in zip(open_, tokens, strict=True)]
                    # Leftmost of the highest: positions of an empty canvas differ by rounding only.
                    at = [next(i for i, c in enumerate(confidence) if c >= max(confidence) * (1 - 1e-5))]
                for i in at:
                    after[fill_in(state, (open_[i],), (tokens[i],))] += mass * probability / len(at)
        law = dict(after)
    return law


# sigma of every position, from (time, sigma_max, confidences); a confidence is None at a mask.
Sigma = Callable[[float, float, Sequence[float | None]], Sequence[float]]


def capped(eta: float) -> Sigma:
    return lambda t, most, confidences: [min(eta, most)] * len(confidences)


def rescaled(eta: float) -> Sigma:
    return lambda t, most, confidences: [eta * most] * len(confidences)


def by_confidence(t: float, most: float, confidences: Sequence[float | None]) -> Sequence[float]:
    weights = [0.0 if c is None else math.exp(-c) for c in confidences]
    return [most * weight / (sum(weights) or 1.0) for weight in weights]


def looped(eta: float, t_on: float, t_off: float) -> Sigma:
    return lambda t, most, confidences: [min(eta, most) if t_off < t <= t_on else 0.0] * len(confidences)


def looped_alpha(t_on: float, t_off: float, alpha_on: float) -> Callable[[float], float]:
    points = ([0.0, t_off, t_on, 1.0], [1.0, alpha_on, alpha_on, 0.0])
    return lambda t: float(np.interp(t, *points))


def remdm_law(
    predict: Predict,
    length: int,
    size: int,
    steps: int,
    sigma: Sigma,
    alpha: Callable[[float], float] = lambda t: 1 - t,
    watch: Sequence[int] = (),
) -> Law:
    """ReMDM (arXiv 2503.00307): at a step from t to s, all positions seeing the same canvas, a token is masked with
    probability sigma <= sigma_max = min(1, (1 - alpha_s) / alpha_t), and a mask becomes a token with probability
    (alpha_s - (1 - sigma) alpha_t) / (1 - alpha_t). The last step masks nothing and writes all. With `watch` the law
    is that of the canvases after these steps, one behind the other."""
    # Of a state also count what was watched and, where sigma reads them, its tokens' probabilities when written.
    reads = sigma is by_confidence
    law: dict[tuple[State, tuple[float | None, ...], State], float] = {((size,) * length, (None,) * length, ()): 1.0}
    t = times(steps)
    for i in range(steps):
        alpha_t, alpha_s = alpha(t[i]), alpha(t[i + 1])
        most = min(1.0, (1 - alpha_s) / alpha_t) if alpha_t else 1.0
        after: dict[tuple[State, tuple[float | None, ...], State], float] = Counter()
        for (state, confidences, seen), mass in law.items():
            p_LV, sigma_L, changes = predict(state), sigma(t[i], most, confidences), []
            for at, token in enumerate(state):
                if token == size:
                    unmask = (alpha_s - (1 - sigma_L[at]) * alpha_t) / (1 - alpha_t) if i < steps - 1 else 1.0
                    new = [(x, float(p) if reads else 0.0, unmask * float(p)) for x, p in enumerate(p_LV[at])]
                    changes.append([*new, (size, None, 1 - unmask)])
                else:
                    remask = sigma_L[at] if i < steps - 1 else 0.0
                    changes.append([(size, None, remask), (token, confidences[at], 1 - remask)])
            for change in itertools.product(*changes):
                weight = mass * math.prod(probability for _, _, probability in change)
                if weight:
                    new_state = tuple(x for x, _, _ in change)
                    after[new_state, tuple(c for _, c, _ in change), seen + new_state * (i in watch)] += weight
        law = dict(after)
    found: Law = Counter()
    for (state, _, seen), mass in law.items():
        found[seen if watch else state] += mass
    return dict(found)


def distance(law: Law, other: Law) -> float:
    """Total variation."""
    return sum(abs(law.get(x, 0.0) - other.get(x, 0.0)) for x in {*law, *other}) / 2


# ------------------------------------------------------------------ chi-square


def chi_square(samples: Iterable[Sequence[int]], law: Law) -> tuple[float, float]:
    """The statistic, and the value that it exceeds once in 10,000 if the samples follow the law.

    Infinite where a sample is impossible under the law.
    """
    counts = Counter(tuple(sample) for sample in samples)
    total = sum(counts.values())
    assert abs(sum(law.values()) - 1) < 1e-9
    rare = [x for x, p in law.items() if total * p < RARE]
    cells = [(counts[x], total * p) for x, p in law.items() if total * p >= RARE]
    rest = total * sum(law[x] for x in rare)
    if rest >= RARE:
        cells.append((sum(counts[x] for x in rare), rest))
    statistic = sum((seen - expected) ** 2 / expected for seen, expected in cells)
    if any(law.get(x, 0.0) <= 0 for x in counts):
        statistic = math.inf
    return statistic, critical(len(cells) - 1)


def critical(freedom: int) -> float:
    """What chi-square with so many degrees of freedom exceeds once in 10,000 (Wilson and Hilferty 1931)."""
    return float(freedom * (1 - 2 / (9 * freedom) + Z * math.sqrt(2 / (9 * freedom))) ** 3)


# ------------------------------------------------------------------ errors of parallel decoding, gap by gap


def parallel_decoding(chain: Chain, length: int, steps: int, forbidden_VV: np.ndarray) -> tuple[float, float]:
    """Of ancestral sampling with an exact posterior of a stationary chain: the expected -log p of a sample per token
    (nats, under the chain), and the probability that it has a forbidden transition somewhere.

    Between two tokens a and b that stand, nothing else matters: a gap of n masks at a step is a state. A step writes
    each mask with the same probability, independently of each other given a and b, and leaves smaller gaps, which are
    independent given the tokens at their ends. The ends of the sequence are tokens of their own: index V.
    """
    size, n_max = chain.size, length
    powers = chain.powers(length + 1)
    before = np.concatenate([powers, np.broadcast_to(chain.start_V, (length + 2, 1, size))], axis=1)  # [d, A, V]
    after = np.concatenate([powers, np.ones((length + 2, size, 1))], axis=2)  # [e, V, B]

    # Of every gap n between a and b when a step begins: chance of no error, and expected -log p of its n + 1 pairs.
    clean_nAB = np.zeros((n_max + 1, size + 1, size + 1))
    nll_nAB = np.zeros_like(clean_nAB)
    clean_0, nll_0 = np.ones((size + 1, size + 1)), np.zeros((size + 1, size + 1))
    clean_0[:size, :size] = ~forbidden_VV
    nll_0[:size, :size], nll_0[size, :size] = -np.log(chain.transition_VV), -np.log(chain.start_V)
    clean_nAB[0], nll_nAB[0] = clean_0, nll_0

    t = times(steps)
    for step in reversed(range(steps)):
        share = 1 - t[step + 1] / t[step] if step < steps - 1 else 1.0
        clean_next, nll_next = clean_nAB.copy(), nll_nAB.copy()
        for n in range(1, n_max + 1):
            # [i, A, B, D]: mass on position i being the last one written so far, with token D (i = 0: the left end).
            shape = (n + 1, size + 1, size + 1, size + 1)
            mass, good, cost = np.zeros(shape), np.zeros(shape), np.zeros(shape)
            mass[0] = good[0] = np.eye(size + 1)[:, None, :]
            for j in range(1, n + 2):
                gaps = np.arange(j - 1, -1, -1)  # masks between i and j that stay
                weight_i = ((1 - share) ** gaps)[:, None, None, None]
                m, g, c = (x[:j] * weight_i for x in (mass, good, cost))
                if j > n:  # the right end
                    clean_nAB[n] = np.einsum("iabd,idb->ab", g, clean_next[gaps])
                    nll_nAB[n] = np.einsum("iabd,idb->ab", m, nll_next[gaps]) + c.sum((0, 3))
                    break
                p = before[j][:, None, :] * after[n + 1 - j].T[None]  # [A, B, V]
                p = share * p / p.sum(2, keepdims=True)
                mass[j, ..., :size] = p * m.sum((0, 3))[..., None]
                good[j, ..., :size] = p * contract(g, clean_next[gaps][..., :size])
                cost[j, ..., :size] = p * (contract(m, nll_next[gaps][..., :size]) + c.sum((0, 3))[..., None])
    return float(nll_nAB[length, size, size] / length), float(1 - clean_nAB[length, size, size])


def contract(x_iABD: np.ndarray, y_iDV: np.ndarray) -> np.ndarray:
    """Sum over i and D."""
    i, a, b, d = x_iABD.shape
    return (x_iABD.transpose(1, 2, 0, 3).reshape(a * b, i * d) @ y_iDV.reshape(i * d, -1)).reshape(a, b, -1)
