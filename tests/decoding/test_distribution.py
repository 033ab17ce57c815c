"""On a model small enough to enumerate, samples follow the exact law of each rule (chi-square)."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import torch

from unmask.decoding import generate
from unmask.model.folder import Model

V, L, SAMPLES, RARE = 3, 3, 6000, 5
# chi-square quantile at 1 - 1e-4 with V ** L - 1 = 26 degrees of freedom; few-celled laws only have a smaller one.
CRITICAL = 61.7

State = tuple[int, ...]
Law = dict[State, float]
Predict = Callable[[State], torch.Tensor]


def predictor(model: Model, prompt: State, guidance: float, temperature: float) -> Predict:
    """state -> p_LV, written out from the definition, one state at a time."""
    seen: dict[State, torch.Tensor] = {}

    def predict(state: State) -> torch.Tensor:
        if state not in seen:
            with torch.no_grad():
                c = model.network(torch.tensor([prompt + state]))[0, len(prompt) :].double()
                u = model.network(torch.tensor([(V,) * len(prompt) + state]))[0, len(prompt) :].double()
            seen[state] = ((u + (1 + guidance) * (c - u)) / temperature).softmax(-1)
        return seen[state]

    return predict


def fill_in(state: State, positions: tuple[int, ...], tokens: tuple[int, ...]) -> State:
    new = dict(zip(positions, tokens, strict=True))
    return tuple(new.get(i, token) for i, token in enumerate(state))


def joint(predict: Predict, state: State, positions: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], float]]:
    """Tokens for several positions of one pass, independent of each other, with their probability."""
    p_LV = predict(state)
    for tokens in itertools.product(range(V), repeat=len(positions)):
        probability = 1.0
        for position, token in zip(positions, tokens, strict=True):
            probability *= float(p_LV[position, token])
        yield tokens, probability


def masked(state: State) -> tuple[int, ...]:
    return tuple(i for i, token in enumerate(state) if token == V)


def ancestral_law(predict: Predict, steps: int) -> Law:
    """The reverse process itself: at every step each mask is unmasked with probability 1 - s/t."""
    law: Law = {(V,) * L: 1.0}
    t = [1 - i * (1 - 1e-5) / steps for i in range(steps + 1)]
    for i in range(steps):
        unmask = 1 - t[i + 1] / t[i] if i < steps - 1 else 1.0
        after: Law = Counter()
        for state, mass in law.items():
            for chosen in itertools.product((False, True), repeat=len(masked(state))):
                positions = tuple(itertools.compress(masked(state), chosen))
                weight = unmask ** len(positions) * (1 - unmask) ** (len(chosen) - len(positions))
                if weight:
                    for tokens, probability in joint(predict, state, positions):
                        after[fill_in(state, positions, tokens)] += mass * weight * probability
        law = dict(after)
    return law


def one_by_one_law(predict: Predict, order: str) -> Law:
    """One token a step in a given order."""
    law: Law = {(V,) * L: 1.0}
    for _ in range(L):
        after: Law = Counter()
        for state, mass in law.items():
            open_ = masked(state)
            for tokens, probability in joint(predict, state, open_):
                at = {"left-to-right": [0], "random": range(len(open_))}.get(order)
                if at is None:
                    confidence = [float(predict(state)[p, x]) for p, x in zip(open_, tokens, strict=True)]
                    # Leftmost of the highest: positions of an empty canvas differ by rounding only.
                    at = [next(i for i, c in enumerate(confidence) if c >= max(confidence) * (1 - 1e-5))]
                for i in at:
                    after[fill_in(state, (open_[i],), (tokens[i],))] += mass * probability / len(at)
        law = dict(after)
    return law


def chi_square(model: Model, law: Law, prompt: State, **options: object) -> float:
    found = generate(model, [list(prompt)] * SAMPLES, length=L, **options)  # type: ignore[arg-type]
    counts = Counter(tuple(g.tokens) for g in found)
    assert abs(sum(law.values()) - 1) < 1e-9
    assert set(counts) <= {x for x, p in law.items() if p > 0}
    # Rare outcomes are counted together: the statistic's law needs a few expected counts in every cell.
    rare = [x for x, p in law.items() if SAMPLES * p < RARE]
    cells = [(counts[x], SAMPLES * p) for x, p in law.items() if SAMPLES * p >= RARE]
    cells.append((sum(counts[x] for x in rare), max(SAMPLES * sum(law[x] for x in rare), RARE)))
    return sum((seen - expected) ** 2 / expected for seen, expected in cells)


@pytest.fixture(scope="module")
def model(make_model: Callable[..., Model]) -> Model:
    return make_model(vocab_size=V)


@pytest.mark.parametrize(
    ("steps", "prompt", "guidance", "temperature"),
    [(1, (), 0.0, 1.0), (2, (), 0.0, 1.0), (5, (), 0.0, 1.0), (3, (1, 0), 0.8, 1.0), (2, (2,), 0.0, 1.5)],
)
def test_ancestral(model: Model, steps: int, prompt: State, guidance: float, temperature: float) -> None:
    law = ancestral_law(predictor(model, prompt, guidance, temperature), steps)
    options = {"steps": steps, "guidance": guidance, "temperature": temperature}
    assert chi_square(model, law, prompt, order="ancestral", **options) < CRITICAL


def test_the_ancestral_test_can_fail(model: Model) -> None:
    """Two steps are not one, and guidance and temperature matter: the test above sees each."""
    prompt = (1, 0)
    law = ancestral_law(predictor(model, prompt, 0.8, 1.0), 3)
    for wrong in ({"steps": 1, "guidance": 0.8}, {"steps": 3}, {"steps": 3, "guidance": 0.8, "temperature": 1.3}):
        assert chi_square(model, law, prompt, order="ancestral", **wrong) > CRITICAL


@pytest.mark.parametrize("order", ["left-to-right", "random", "confidence"])
def test_one_token_a_step(model: Model, order: str) -> None:
    law = one_by_one_law(predictor(model, (), 0.0, 1.0), order)
    assert chi_square(model, law, (), order=order, quota="even", steps=L) < CRITICAL


def test_blocks_of_one_are_left_to_right(model: Model) -> None:
    law = one_by_one_law(predictor(model, (), 0.0, 1.0), "left-to-right")
    assert chi_square(model, law, (), order="ancestral", block=1, steps=L) < CRITICAL
