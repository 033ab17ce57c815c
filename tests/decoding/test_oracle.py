"""The oracle against sums over all sequences, its cache, and its independence of neighbours to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from decoding.oracle import SHARP, UNEVEN, Chain, Oracle
from decoding.theory import (
    ancestral_law,
    capped,
    chain_law,
    chain_predictor,
    chi_square,
    distance,
    one_by_one_law,
    parallel_decoding,
    remdm_law,
    rescaled,
)
from unmask.model.visibility import keys

FORBIDDING = Chain.of_offsets(5, [0.6, 0.4])


def every_state(length: int, size: int) -> torch.Tensor:
    return torch.cartesian_prod(*[torch.arange(size + 1)] * length)


def test_posteriors_are_those_of_all_sequences() -> None:
    states_BT = every_state(4, 3)
    predict = chain_predictor(UNEVEN, 4)
    expected = np.stack([predict(tuple(state)) for state in states_BT.tolist()])
    np.testing.assert_allclose(Oracle(UNEVEN).hidden(states_BT).exp(), expected, atol=1e-12)


def test_places_and_positions() -> None:
    network = Oracle(UNEVEN)
    states_BT = every_state(4, 3)
    whole_BTV = network.hidden(states_BT)
    index_N = torch.tensor([17, 3, 900])
    at = network.config.alignment.at(index_N, states_BT.shape[1])
    assert torch.equal(network.hidden(states_BT, at=at), whole_BTV.flatten(0, 1)[index_N])
    # Two tokens with a hole of two between them, and a window that begins at position 1.
    holey = network.hidden(torch.tensor([[1, 2]]), positions_BT=torch.tensor([[1, 4]]))
    full = network.hidden(torch.tensor([[3, 1, 3, 3, 2]]))
    assert torch.equal(holey[0, 1], full[0, 4]) and torch.equal(holey[0, 0], full[0, 1])


def test_masked_keys_do_not_count() -> None:
    network = Oracle(SHARP)
    row, padded = torch.tensor([[1, 8, 8, 4]]), torch.tensor([[1, 8, 8, 4, 0, 7]])
    inside = torch.tensor([[True] * 4 + [False] * 2])
    assert torch.equal(network.hidden(padded, sees=keys(inside))[:, :4], network.hidden(row))
    assert not torch.equal(network.hidden(padded)[:, :4], network.hidden(row))


def test_rows_are_independent_to_the_last_bit() -> None:
    network = Oracle(SHARP)
    states_BT = torch.randint(0, 9, (33, 40), generator=torch.Generator().manual_seed(0))
    together = network.hidden(states_BT)
    for row in range(33):
        assert torch.equal(network.hidden(states_BT[row : row + 1])[0], together[row])


def test_evidence_that_cannot_be_goes_to_the_left() -> None:
    found = Oracle(FORBIDDING).hidden(torch.tensor([[0, 5, 4]]))[0, 1].exp()
    np.testing.assert_allclose(found, FORBIDDING.transition_VV[0], atol=1e-12)


def test_cache_sees_what_was_last_written() -> None:
    network = Oracle(SHARP, context=16)
    tokens_BT = torch.randint(0, 9, (3, 10), generator=torch.Generator().manual_seed(1))
    positions_BT = torch.arange(10).expand(3, 10)
    rows, keys_BS = torch.arange(3), torch.ones(3, 10, dtype=torch.bool)
    cache = network.cache(3, 10)
    for sees in (keys(keys_BS), None):
        full = network.hidden(tokens_BT, positions_BT=positions_BT, sees=sees, cache=cache.at(rows))
        assert torch.equal(full, network.hidden(tokens_BT))

    # Rows 2 and 0 change inside and outside of the window; a padding query goes to the last slot.
    changed_BT = (tokens_BT + 1) % 8
    window = torch.tensor([[4, 5, 6], [5, 6, 10]])
    rows = torch.tensor([2, 0])
    asked = changed_BT[rows[:, None], window.clamp(max=9)]
    found = network.hidden(asked, positions_BT=window, sees=keys(keys_BS[rows]), cache=cache.at(rows))
    stale_BT = tokens_BT.clone()
    stale_BT[2, 4:7], stale_BT[0, 5:7] = changed_BT[2, 4:7], changed_BT[0, 5:7]
    expected = network.hidden(stale_BT)
    assert torch.equal(found[0], expected[2, 4:7]) and torch.equal(found[1, :2], expected[0, 5:7])
    assert not torch.equal(found[0], network.hidden(changed_BT)[2, 4:7])


def test_chain() -> None:
    assert SHARP.perplexity == pytest.approx(3.611, abs=1e-3)
    np.testing.assert_allclose(UNEVEN.log_probability([1, 2, 0]), np.log(0.5 * 0.8 * 0.5))
    stationary = Chain(UNEVEN.transition_VV).start_V
    np.testing.assert_allclose(stationary @ UNEVEN.transition_VV, stationary)
    statistic, critical = chi_square(UNEVEN.sample(4000, 3, np.random.default_rng(0)).tolist(), chain_law(UNEVEN, 3))
    assert statistic < critical


def test_one_token_a_pass_in_a_blind_order_is_the_chain_itself() -> None:
    """So first-hitting is exact on an exact posterior, while several tokens a pass are not."""
    predict, law = chain_predictor(UNEVEN, 3), chain_law(UNEVEN, 3)
    for order in ("left-to-right", "random"):
        assert distance(one_by_one_law(predict, 3, 3, order), law) < 1e-12
    far = [distance(ancestral_law(predict, 3, 3, steps), law) for steps in (1, 2, 4, 16)]
    assert far == sorted(far, reverse=True) and far[0] > 0.2 and far[-1] < 0.05


@pytest.mark.parametrize(
    ("sigma", "last"),
    [(capped(0.008), 0.004), (rescaled(0.015), 0.004), (capped(0.3), 0.02)],
)
def test_remasking_keeps_the_law_in_the_limit_of_many_steps(sigma, last: float) -> None:
    """However much is taken back: the share of masks that is unmasked makes up for it."""
    chain = Chain.of_offsets(3, [0.8, 0.15, 0.05])
    predict, law = chain_predictor(chain, 2), chain_law(chain, 2)
    far = [distance(remdm_law(predict, 2, 3, steps, sigma), law) for steps in (16, 64, 256)]
    assert far[0] > far[1] > far[2] and far[2] < last
    assert distance(remdm_law(predict, 2, 3, 6, capped(0.0)), ancestral_law(predict, 2, 3, 6)) < 1e-12


def test_the_recursion_over_gaps_is_the_enumeration() -> None:
    chain = Chain.of_offsets(3, [0.7, 0.25], 0.05)
    forbidden_VV = chain.transition_VV < 0.06
    for length, steps in ((3, 2), (4, 3)):
        law = ancestral_law(chain_predictor(chain, length), length, 3, steps)
        nll = -sum(p * chain.log_probability(x) for x, p in law.items()) / length
        error = sum(p for x, p in law.items() if forbidden_VV[list(x[:-1]), list(x[1:])].any())
        assert parallel_decoding(chain, length, steps, forbidden_VV) == pytest.approx((nll, error), rel=1e-9)
