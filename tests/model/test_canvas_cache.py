"""Windows of a bidirectional model against its kept keys and values."""

from __future__ import annotations

import pytest
import torch

from unmask.model.config import ModelConfig
from unmask.model.transformer import Transformer
from unmask.model.visibility import keys


@pytest.fixture(scope="module", params=[2, 1], ids=["multi-head", "grouped"])
def network(request) -> Transformer:
    shape = {"n_layer": 3, "n_head": 2, "n_kv_head": request.param, "n_embd": 16, "block_size": 12}
    return Transformer(ModelConfig(vocab_size=9, causal=False, **shape), seed=0).eval()


def whole(network: Transformer, tokens_BT: torch.Tensor, cache, rows: list[int], **options) -> torch.Tensor:
    positions_BT = torch.arange(tokens_BT.shape[1]).expand_as(tokens_BT)
    return network.hidden(tokens_BT, positions_BT=positions_BT, cache=cache.at(torch.tensor(rows)), **options)


@torch.inference_mode()
@pytest.mark.parametrize("places", [[4, 5, 6], [1, 4, 9], [0], list(range(12))], ids=str)
def test_a_window_over_fresh_slots_equals_the_whole(network: Transformer, places: list[int]) -> None:
    """Also at the end of the context, where the slot for padding lies outside it."""
    tokens_BT = torch.randint(0, 10, (3, 12), generator=torch.Generator().manual_seed(1))
    cache = network.cache(3, 12)
    plain = network.hidden(tokens_BT)
    assert torch.equal(whole(network, tokens_BT, cache, [0, 1, 2]), plain)
    for rows in ([0, 1, 2], [1], [2, 0]):
        window = torch.tensor(places).expand(len(rows), -1)
        got = network.hidden(tokens_BT[rows][:, places], positions_BT=window, cache=cache.at(torch.tensor(rows)))
        torch.testing.assert_close(got, plain[rows][:, places], rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_padding_queries_and_hidden_keys_change_nothing(network: Transformer) -> None:
    tokens_BT = torch.randint(0, 10, (2, 12), generator=torch.Generator().manual_seed(2))
    lengths = torch.tensor([12, 7])
    keys_BS = torch.arange(12) < lengths[:, None]
    plain = network.hidden(tokens_BT, sees=keys(keys_BS))
    cache = network.cache(2, 12)
    whole(network, tokens_BT, cache, [0, 1], sees=keys(keys_BS))
    window = torch.tensor([[3, 4, 8], [5, 12, 12]])  # 12: the slot for padding
    tokens = torch.stack([tokens_BT[0, [3, 4, 8]], torch.tensor([int(tokens_BT[1, 5]), 9, 9])])
    got = network.hidden(tokens, positions_BT=window, sees=keys(keys_BS), cache=cache.at(torch.tensor([0, 1])))
    torch.testing.assert_close(got[0], plain[0, [3, 4, 8]], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(got[1, :1], plain[1, [5]], rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_rows_keep_their_own_slots(network: Transformer) -> None:
    first, second = (torch.full((1, 6), token) for token in (1, 5))
    cache = network.cache(2, 6)
    whole(network, first, cache, [0])
    whole(network, second, cache, [1])
    window = torch.tensor([[2, 3]])
    for row, tokens in enumerate((first, second)):
        got = network.hidden(tokens[:, 2:4], positions_BT=window, cache=cache.at(torch.tensor([row])))
        torch.testing.assert_close(got, network.hidden(tokens)[:, 2:4], rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_what_is_told_on_the_host_is_what_would_be_looked_at(network: Transformer) -> None:
    tokens_BT = torch.randint(0, 10, (2, 6), generator=torch.Generator().manual_seed(3))
    for rows, places in (([0, 1], [2, 3]), ([1, 0], [0, 4]), ([1], [5])):
        rows_R, window = torch.tensor(rows), torch.tensor(places).expand(len(rows), -1)
        found = []
        for here in ((), (window, rows_R)):
            cache = network.cache(2, 6)
            slots = cache.at(rows_R, *here)
            found.append(network.hidden(tokens_BT[rows][:, places], positions_BT=window, cache=slots))
            found.append(cache.keys)
        assert torch.equal(found[0], found[2]) and torch.equal(found[1], found[3])
