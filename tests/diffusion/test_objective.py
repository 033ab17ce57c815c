"""The NELBO: right on an enumerable model, the same for every schedule and masking, and never NaN."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from unmask.diffusion.noise import noise_levels, span_numbers
from unmask.diffusion.objective import Objective
from unmask.diffusion.objective_config import ObjectiveConfig
from unmask.diffusion.schedule import SCHEDULES
from unmask.errors import UserError
from unmask.model.config import ModelConfig
from unmask.model.transformer import Transformer
from unmask.model.visibility import keys

V, L = 5, 4
CONFIG = ModelConfig(n_layer=2, n_head=2, n_embd=16, vocab_size=V, block_size=8)
TOKENS = [3, 1, 4, 1]


@pytest.fixture(scope="module")
def network() -> Transformer:
    network = Transformer(CONFIG, seed=1)
    with torch.no_grad():  # far from uniform, so that which tokens are masked matters
        for parameter in network.parameters():
            parameter.mul_(3.0)
    return network.eval()


def cost_of_counts(network: Transformer) -> list[float]:
    """The mean over subsets of c tokens of their summed -log p, all others seen, for c from 0 to L."""
    costs = [0.0]
    for count in range(1, L + 1):
        subsets = list(itertools.combinations(range(L), count))
        total = 0.0
        for subset in subsets:
            noisy = torch.tensor([[V if i in subset else t for i, t in enumerate(TOKENS)]])
            logp = network(noisy).detach().log_softmax(-1)[0]
            total += -sum(float(logp[i, TOKENS[i]]) for i in subset)
        costs.append(total / len(subsets))
    return costs


def exact_nelbo(network: Transformer) -> float:
    """The mean over all orders of the sum of -log p, written as the mean over counts and subsets."""
    return sum(cost / count for count, cost in enumerate(cost_of_counts(network)) if count)


def expected(costs: list[float], p: np.ndarray) -> np.ndarray:
    """The summed -log p of tokens masked each with probability p."""
    return sum(math.comb(L, c) * p**c * (1 - p) ** (L - c) * cost for c, cost in enumerate(costs))  # type: ignore[return-value]


def nelbo_above(network: Transformer, least: float) -> float:
    """The mean of expected(p) / p over p from `least` to 1, by Gauss and Legendre (exact: a polynomial)."""
    x, weights = np.polynomial.legendre.leggauss(L + 1)
    p = least + (1 - least) * (x + 1) / 2
    return float((weights / 2 * expected(cost_of_counts(network), p) / p).sum())


def estimate(network: Transformer, samples: int = 20000, **fields: object) -> tuple[float, float]:
    """Mean and standard error of the objective's loss for one sequence."""
    objective = Objective(ObjectiveConfig(random_length=0.0, **fields))  # type: ignore[arg-type]
    windows = np.array([[*TOKENS, 0]] * samples)
    inputs = objective.prepare(windows, 7, np.arange(samples), CONFIG.mask_id)
    with torch.no_grad():
        logp_BTV = network(inputs.tokens_BT).log_softmax(-1)
    ce_BT = -logp_BTV.gather(-1, torch.tensor(TOKENS).expand(samples, L)[..., None])[..., 0]
    loss_B = ((inputs.tokens_BT == V) * ce_BT).sum(1) * inputs.weight_B
    whole = float(objective.loss(network, inputs).loss_sum.detach())
    assert whole == pytest.approx(float(loss_B.sum()), rel=1e-4)
    return float(loss_B.double().mean()), float(loss_B.double().std()) / math.sqrt(samples)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_fixed_counts_give_the_exact_nelbo_for_every_schedule(network: Transformer, schedule: str) -> None:
    mean, se = estimate(network, masking="fixed", schedule=schedule)
    assert mean == pytest.approx(exact_nelbo(network), abs=4 * se)


@pytest.mark.parametrize("epsilon", [1e-3, 0.05])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_bernoulli_masks_give_the_nelbo_above_epsilon_for_every_schedule(
    network: Transformer, schedule: str, epsilon: float
) -> None:
    mean, se = estimate(network, masking="bernoulli", schedule=schedule, epsilon=epsilon)
    assert mean == pytest.approx(nelbo_above(network, epsilon), abs=4 * se)
    if epsilon == 1e-3:  # what lies below is as good as nothing: it is the bound itself
        assert mean == pytest.approx(exact_nelbo(network), abs=4 * se)


@pytest.mark.parametrize("epsilon", [1e-5, 1e-3, 0.05])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_expectation_of_every_schedule_without_drawing(
    network: Transformer, schedule: str, epsilon: float
) -> None:
    """Integrated over t and over masks: no Monte Carlo error to hide in."""
    u = (np.arange(400_000) + 0.5) / 400_000
    t, slope = u**4, 4 * u**3  # finest where the weights change most
    p, weight = SCHEDULES[schedule].levels(t, epsilon)
    costs = cost_of_counts(network)
    found = float((weight * expected(costs, p) * slope).mean())
    assert found == pytest.approx(nelbo_above(network, epsilon), rel=1e-6)
    # What lies below epsilon is predicted from all the rest: no more than its share of the bound is missing.
    assert found == pytest.approx(exact_nelbo(network), rel=1.5 * epsilon)


@pytest.mark.parametrize("weighting", ["nelbo", "ce"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_epsilon_is_the_lowest_mask_probability_of_every_schedule(schedule: str, weighting: str) -> None:
    objective = Objective(ObjectiveConfig(schedule=schedule, epsilon=0.02, weighting=weighting, random_length=0.0))
    p, weight = SCHEDULES[schedule].levels(np.array([0.0, 1e-12, 0.5, 1.0]), 0.02)
    assert p[0] == pytest.approx(0.02) and p[-1] == pytest.approx(1.0) and (np.diff(p[1:]) > 0).all()
    assert np.isfinite(weight).all()
    _, _, p_B = objective.masks(0, np.arange(4000), np.full(4000, 32), 32)
    assert p_B.min() >= 0.02 - 1e-12 and p_B.max() < 1


def test_the_linear_schedule_is_what_it_always_was() -> None:
    objective = Objective(ObjectiveConfig(random_length=0.0))
    _, weight_B, p_B = objective.masks(3, np.arange(500), np.full(500, 16), 16)
    t_B = noise_levels(3, np.arange(500))
    assert np.array_equal(p_B, (1 - 1e-3) * t_B + 1e-3) and np.array_equal(weight_B, 1 / p_B), "bit for bit"


def exact_span_nelbo(network: Transformer, span: int) -> float:
    """The mean over where spans begin and over their orders of the sum of -log p, a span's tokens at once."""
    total = 0.0
    for before in range(span):
        ends = [0, *range(span - before, L, span), L]
        spans = [range(a, b) for a, b in itertools.pairwise(ends)]
        for count in range(1, len(spans) + 1):
            subsets = list(itertools.combinations(spans, count))
            for subset in subsets:
                masked = [i for places in subset for i in places]
                noisy = torch.tensor([[V if i in masked else t for i, t in enumerate(TOKENS)]])
                logp = network(noisy).detach().log_softmax(-1)[0]
                total -= sum(float(logp[i, TOKENS[i]]) for i in masked) / len(subsets) / count / span
    return total


@pytest.mark.parametrize("span", [2, 3])
@pytest.mark.parametrize("masking", ["fixed", "bernoulli"])
def test_spans_give_the_exact_bound_of_a_model_that_writes_them_whole(
    network: Transformer, masking: str, span: int
) -> None:
    assert exact_span_nelbo(network, 1) == pytest.approx(exact_nelbo(network), rel=1e-5)
    exact = exact_span_nelbo(network, span)
    mean, se = estimate(network, masking=masking, span=span)
    assert mean == pytest.approx(exact, abs=4 * se)
    assert masking == "bernoulli" or abs(exact - exact_nelbo(network)) > 6 * se, "another bound than single tokens'"


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("masking", ["fixed", "bernoulli"])
def test_spans_keep_the_expected_share_of_masks_and_stand_or_fall_together(masking: str, schedule: str) -> None:
    n, length, span = 6000, 21, 4
    config = ObjectiveConfig(masking=masking, schedule=schedule, span=span)
    lengths = np.full(n, length)
    mask_BT, weight_B, p_B = Objective(config).masks(5, np.arange(n), lengths, length)
    assert np.array_equal(p_B, Objective(replace(config, span=1)).masks(5, np.arange(n), lengths, length)[2]) == (
        masking == "bernoulli"
    ), "the level of each sample is what it is without spans"
    # Given the level each token is masked as often as it says, wherever it stands: so no place is trained more.
    for low, high in ((0.0, 0.3), (0.3, 0.7), (0.7, 1.01)):
        some = (p_B >= low) & (p_B < high)
        error = 0.5 / math.sqrt(some.sum())
        assert mask_BT[some].mean(axis=0) == pytest.approx(p_B[some].mean(), abs=4.5 * error)
    assert mask_BT.mean() == pytest.approx(config.head_share(length), abs=0.01)
    spans_BT = span_numbers(5, np.arange(n), length, span)
    alike_BT = mask_BT[:, 1:] == mask_BT[:, :-1]
    assert alike_BT[spans_BT[:, 1:] == spans_BT[:, :-1]].all()
    joined = (spans_BT[:, 1:] == spans_BT[:, :-1]).mean(axis=0)
    assert joined == pytest.approx(1 - 1 / span, abs=0.02), "no two neighbours are always apart"
    assert Objective(replace(config, weighting="ce")).masks(5, np.arange(1), lengths[:1], length)[1] == pytest.approx(
        1 / config.head_share(length)
    )


def test_fixed_counts_of_spans_mask_so_many_whole_ones_of_what_may_be_masked() -> None:
    """As fine-tuning has it: answers between turns, some of them short, and places that are never masked."""
    maskable_BT = np.random.default_rng(0).random((300, 17)) < 0.6
    maskable_BT[:, 0] = True
    objective, k = Objective(ObjectiveConfig(masking="fixed", span=3)), np.arange(300)
    mask_BT, weight_B, p_B = objective.masks(1, k, maskable_BT.sum(axis=1), 17, maskable_BT)
    for mask, maskable, weight, p, spans in zip(
        mask_BT, maskable_BT, weight_B, p_B, span_numbers(1, k, 17, 3), strict=True
    ):
        whole, there = set(spans[mask]), set(spans[maskable])
        assert np.array_equal(mask, maskable & np.isin(spans, list(whole)))
        assert len(whole) >= 1 and weight == pytest.approx(len(there) / len(whole)) == 1 / p


def test_fixed_counts_vary_less(network: Transformer) -> None:
    assert estimate(network, masking="fixed")[1] < 0.8 * estimate(network, masking="bernoulli")[1]


def test_constant_cross_entropy_normalisation() -> None:
    # A network that is always uniform has CE = ln V at every mask: every bound must be L ln V, not 2 L ln V.
    network = Transformer(CONFIG, seed=0)
    with torch.no_grad():
        network.output.weight.zero_()  # type: ignore[union-attr]
    for fields in ({"masking": "fixed"}, {"masking": "fixed", "weighting": "ce"}, {"masking": "bernoulli"}):
        mean, se = estimate(network, **fields)
        assert mean == pytest.approx(L * math.log(V), abs=4 * se + 0.01)


def test_bernoulli_mask_share_and_epsilon() -> None:
    objective = Objective(ObjectiveConfig(random_length=0.0))
    mask_BT, weight_B, p_B = objective.masks(0, np.arange(4000), np.full(4000, 32), 32)
    assert p_B.min() >= 1e-3 and weight_B.max() <= 1000.01
    assert mask_BT.mean() == pytest.approx(0.5005, abs=0.005)
    assert weight_B == pytest.approx(1 / p_B)


@pytest.mark.parametrize("span", [1, 3])
def test_noise_depends_on_seed_and_index_alone(span: int) -> None:
    objective = Objective(ObjectiveConfig(random_length=0.3, masking="fixed", span=span))
    windows = np.arange(12 * 9).reshape(12, 9) % V
    whole = objective.prepare(windows, 3, np.arange(12), V)
    for k in range(12):
        alone = objective.prepare(windows[k : k + 1], 3, np.array([k]), V)
        assert torch.equal(alone.tokens_BT[0], whole.tokens_BT[k])
        assert float(alone.weight_B[0]) == float(whole.weight_B[k])
    assert not torch.equal(whole.tokens_BT, objective.prepare(windows, 4, np.arange(12), V).tokens_BT)


def test_short_sequences_are_neither_masked_nor_seen_behind_their_end(network: Transformer) -> None:
    objective = Objective(ObjectiveConfig(random_length=1.0, masking="fixed"))
    windows = np.full((40, 9), 2)
    inputs = objective.prepare(windows, 0, np.arange(40), V)
    inside = torch.arange(8) < inputs.lengths_B[:, None]
    assert not ((inputs.tokens_BT == V) & ~inside).any()
    assert inputs.n_tokens == int(inside.sum()) < 40 * 8
    assert inputs.key_mask_BT is not None
    loss = float(objective.loss(network, inputs).loss_sum.detach())
    inputs.tokens_BT = inputs.tokens_BT.masked_fill(~inside, 4)
    assert float(objective.loss(network, inputs).loss_sum.detach()) == pytest.approx(loss, rel=1e-6)


def test_nothing_masked_is_a_zero_with_zero_gradients(network: Transformer) -> None:
    objective = Objective(ObjectiveConfig(random_length=0.0, epsilon=1e-9))
    k = np.arange(200)
    empty = next(i for i in k if not objective.masks(0, np.array([i]), np.array([2]), 2)[0].any())
    outcome = objective.loss(network, objective.prepare(np.zeros((1, 3), dtype=np.int64), 0, np.array([empty]), V))
    outcome.loss_sum.backward()
    assert float(outcome.loss_sum.detach()) == 0.0
    assert all(p.grad is None or not p.grad.any() for p in network.parameters())
    network.zero_grad(set_to_none=True)


@pytest.mark.parametrize("fields", [{}, {"mask": 3}, {"mask": 3, "shift": True, "qk_norm": True}], ids=str)
def test_the_loss_is_that_of_the_rows_of_the_network(fields: dict[str, Any]) -> None:
    """Wherever the mask lies and whatever the weights' states speak of, with short rows too."""
    network = Transformer(replace(CONFIG, **fields), seed=1)
    objective = Objective(ObjectiveConfig(random_length=0.5, masking="fixed"))
    windows = np.random.default_rng(1).integers(0, 3, (6, 9))
    inputs = objective.prepare(windows, 0, np.arange(6), network.config.mask_id)
    masked_BT = inputs.tokens_BT == network.config.mask_id
    sees = network.sees if inputs.key_mask_BT is None else keys(inputs.key_mask_BT)
    logits_NV = network(inputs.tokens_BT, sees=sees)[masked_BT]
    ce_N = torch.nn.functional.cross_entropy(logits_NV, inputs.targets_N, reduction="none")
    expected = (ce_N * inputs.weight_B[masked_BT.nonzero()[:, 0]]).sum()
    assert float(objective.loss(network, inputs).loss_sum.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_next_token_matches_cross_entropy_over_all_positions() -> None:
    config = ModelConfig(n_layer=1, n_head=2, n_embd=16, vocab_size=V, block_size=8, causal=True)
    network = Transformer(config, seed=0)
    windows = np.random.default_rng(0).integers(0, V, (3, 9))
    objective = Objective(ObjectiveConfig(kind="arm", random_length=0.0))
    outcome = objective.loss(network, objective.prepare(windows, 0, np.arange(3)))
    tokens = torch.from_numpy(windows)
    expected = torch.nn.functional.cross_entropy(network(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
    assert float(outcome.loss_sum.detach()) / 24 == pytest.approx(float(expected.detach()), rel=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "amr"}, "did you mean 'arm'"),
        ({"schedule": "linaer"}, "did you mean 'linear'"),
        ({"masking": "none"}, "objective.masking"),
        ({"epsilon": 0.0}, "infinite variance"),
        ({"random_length": 1.5}, "objective.random_length"),
    ],
)
def test_bad_fields_are_named(fields: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ObjectiveConfig(**fields)
