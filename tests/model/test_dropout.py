"""Dropout's masks: the rate, no pattern, a function of their words alone; and the sum that they leave unbiased."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unmask.diffusion.noise import dropout_keys
from unmask.model.dropout import WORD, add_kept, kept, mixed, place_keys, steps


def masks(rate: float, samples: int = 64, length: int = 64, width: int = 96, layer: int = 0) -> torch.Tensor:
    """bool [2, B, T, E]: attention's and the MLP's."""
    keys_BL = torch.from_numpy(dropout_keys(5, np.arange(samples), layer + 1))
    return torch.stack(kept(place_keys(keys_BL[:, layer], length), steps(width), rate))


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.3, 0.5, 0.9])
def test_the_share_that_is_dropped_is_the_rate_everywhere(rate: float) -> None:
    found = 1 - masks(rate).double()
    for axes in [(0, 1, 2, 3), (1, 2, 3), (0, 2, 3), (0, 1, 3), (0, 1, 2)]:  # in all, by kind, sample, place, feature
        means = found.mean(dim=axes).flatten()
        error = (rate * (1 - rate) * len(means) / found.numel()) ** 0.5
        assert (means - rate).abs().max() < 4.5 * error
        if len(means) > 30:  # neither more even nor more uneven than independent draws
            assert 0.6 < float((((means - rate) / error) ** 2).mean()) < 1.5


def test_neighbours_are_independent() -> None:
    """Of samples, places, features, layers, and of attention and MLP."""
    a = masks(0.5, layer=0).double() - 0.5
    b = masks(0.5, layer=1).double() - 0.5
    pairs = [(a[0], a[1]), (a, b), (a[:, 1:], a[:, :-1]), (a[:, :, 1:], a[:, :, :-1]), (a[..., 1:], a[..., :-1])]
    pairs += [(a[..., 32:], a[..., :-32]), (a[:, :, 16:], a[:, :, :-16])]
    for one, other in pairs:
        assert abs(float((4 * one * other).mean())) < 4.5 / one.numel() ** 0.5


def test_words_are_golden() -> None:
    """The same on every device, compiled or not: integers, which a change of the function would show here."""
    assert mixed(torch.tensor([0, 1, 2, WORD])).tolist() == [0, 2261973619, 229111015, 2578835075]
    keys_BL = dropout_keys(3, np.array([0, 1, 1 << 40]), 2)
    assert keys_BL.tolist() == [[2512834521, 4232807336], [3655232614, 232172995], [4220493774, 3008208237]]
    attention, mlp = kept(place_keys(torch.from_numpy(keys_BL[:, 1]), 2), steps(4), 0.5)
    drawn = ["".join(map(str, found.int().flatten().tolist())) for found in (attention, mlp)]
    assert drawn == ["101001010100001100011001", "100111000010010110000110"]


@given(st.lists(st.integers(0, WORD), min_size=1, max_size=50, unique=True))
def test_mixing_is_one_to_one_and_stays_within_32_bits(words: list[int]) -> None:
    found = mixed(torch.tensor(words))
    assert len(set(found.tolist())) == len(words) and 0 <= int(found.min()) and int(found.max()) <= WORD


@given(st.integers(0, 2**63 - 1), st.lists(st.integers(0, 10**12), min_size=2, max_size=6, unique=True))
def test_keys_depend_on_seed_and_sample_alone(seed: int, k: list[int]) -> None:
    whole = dropout_keys(seed, np.array(k), 3)
    alone = np.concatenate([dropout_keys(seed, np.array([i]), 3) for i in k])
    assert np.array_equal(whole, alone) and len(np.unique(whole)) == whole.size
    assert whole.min() >= 0 and whole.max() <= WORD


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rate", [0.1, 0.3])
def test_what_is_kept_is_scaled_up_so_that_the_mean_stays(dtype: torch.dtype, rate: float) -> None:
    """By 1 / (1 - p) in fp32: a factor rounded to bf16 would be off by up to 0.4%."""
    keep = masks(rate)[0]
    x, y = torch.zeros(keep.shape), torch.full(keep.shape, 3.0, dtype=dtype)
    found = add_kept(x, y, keep, rate)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found[keep], torch.full_like(found[keep], 3 / (1 - rate)), rtol=2e-5, atol=0)
    assert (found[~keep] == 0).all()
    assert float(found.mean()) == pytest.approx(3.0, rel=4 * (rate / keep.numel()) ** 0.5)


def test_the_gradient_is_that_of_what_is_kept() -> None:
    keep = masks(0.25, 2, 3, 4)[0]
    x, y = (torch.randn(keep.shape, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda x, y: add_kept(x, y, keep, 0.25), (x, y))
