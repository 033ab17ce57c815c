"""One contract for every backbone: the Transformer of each variation, and the oracle of the decoding tests.

Whoever writes another backbone adds it to `BACKBONES`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from decoding.oracle import SHARP, Oracle
from model.shapes import make
from unmask.model.backbone import NEVER, Backbone, Mixture, predictions
from unmask.model.transformer import Transformer
from unmask.model.visibility import block_causal, causal, everything, keys, pairs, restarting_positions, segments

ALL: dict[str, Any] = {"qkv_bias": True, "qk_norm": True, "n_kv_head": 2, "head_dim": 6, "tie_embeddings": True}
VARIATIONS: dict[str, dict[str, Any]] = {
    "mdm": {},
    "arm": {"causal": True},
    "grouped": {"n_kv_head": 1},
    "biases": {"qkv_bias": True},
    "norms": {"qk_norm": True, "head_dim": 6},
    "shifted": {"shift": True},
    "mask-within": {"mask": 4},
    "first-is-mask": {"mask": 0, "tie_embeddings": True},
    "all": {**ALL, "mask": 10, "shift": True},
    "arm-all": {**ALL, "causal": True},
}
BACKBONES: dict[str, Callable[[], Any]] = {
    **{name: (lambda fields=fields: make(**fields)) for name, fields in VARIATIONS.items()},
    "oracle": lambda: Oracle(SHARP, context=24),
}
ROWS, WIDTH = 3, 10


@pytest.fixture(scope="module", params=BACKBONES)
def backbone(request: pytest.FixtureRequest) -> Any:
    return BACKBONES[request.param]()


@pytest.fixture(scope="module", params=VARIATIONS)
def network(request: pytest.FixtureRequest) -> Transformer:
    return make(**VARIATIONS[request.param])


@pytest.fixture(autouse=True)
def without_gradients(request: pytest.FixtureRequest) -> Any:
    with torch.no_grad():
        yield


def some_tokens(backbone: Backbone, rows: int = ROWS, width: int = WIDTH, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(backbone.config.embedding_rows, (rows, width), generator=generator)


def every_token(backbone: Backbone, rows: int, places: range) -> tuple[torch.Tensor, torch.Tensor]:
    """`at` all of these tokens, row by row."""
    return torch.arange(rows).repeat_interleave(len(places)), torch.tensor(list(places)).repeat(rows)


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)


# ------------------------------------------------------------------ every backbone


def test_it_says_what_it_is(backbone: Any) -> None:
    config = backbone.config
    assert backbone.device == torch.device("cpu") and backbone.dtype.is_floating_point
    assert backbone.sees == (causal if config.kind == "arm" else everything)
    assert config.mask_id is None or 0 <= config.mask_id < config.embedding_rows
    assert config.alignment.first == (config.kind == "arm")


def test_at_is_the_token_that_is_predicted(backbone: Any) -> None:
    tokens_BT, first = some_tokens(backbone), backbone.config.alignment.first
    whole_BTE = backbone.hidden(tokens_BT)
    assert whole_BTE.shape[:2] == tokens_BT.shape
    row_N, place_N = torch.tensor([2, 0, 0, 1, 2, 2]), torch.tensor([1, WIDTH - 1, 3, first, 3, 1])
    close(backbone.hidden(tokens_BT, at=(row_N, place_N)), whole_BTE[row_N, place_N - first])
    every = every_token(backbone, ROWS, range(first, first + WIDTH))
    close(backbone.hidden(tokens_BT, at=every), whole_BTE.flatten(0, 1))
    assert backbone.hidden(tokens_BT, at=(row_N[:0], place_N[:0])).shape == (0, whole_BTE.shape[-1])


def test_a_cache_changes_nothing(backbone: Any) -> None:
    tokens_BT, first = some_tokens(backbone), backbone.config.alignment.first
    whole_BTE = backbone.hidden(tokens_BT)
    cache = backbone.cache(ROWS, WIDTH + 2)
    positions_BT = torch.arange(WIDTH).expand(ROWS, WIDTH)
    if backbone.config.kind == "arm":  # the beginning, then what follows in two passes
        for begin, end in ((0, 4), (4, 5), (5, WIDTH)):
            at = every_token(backbone, ROWS, range(begin + 1, end + 1))
            stretch = slice(begin, end)
            found = backbone.hidden(tokens_BT[:, stretch], positions_BT=positions_BT[:, stretch], cache=cache, at=at)
            close(found, whole_BTE[:, stretch].flatten(0, 1))
        return
    slots = keys((torch.arange(WIDTH + 2) < WIDTH).expand(ROWS, -1))
    every = every_token(backbone, ROWS, range(first, first + WIDTH))
    slots_of = cache.at(torch.arange(ROWS))
    found = backbone.hidden(tokens_BT, positions_BT=positions_BT, cache=slots_of, sees=slots, at=every)
    close(found, whole_BTE.flatten(0, 1))
    # Windows of two of the rows, one shorter and filled up with queries that nobody reads.
    rows, wanted = torch.tensor([2, 0]), [range(4, 7), range(0, 2)]
    wanted_RL = torch.tensor([[place in places for place in range(WIDTH)] for places in wanted])
    window_RL = backbone.config.alignment.window(wanted_RL)
    width = int(window_RL.sum(1).max())
    positions_RQ = torch.where(window_RL, torch.arange(WIDTH), WIDTH + 2).sort(1).values[:, :width]
    tokens_RQ = F.pad(tokens_BT[rows], (0, 3)).gather(1, positions_RQ)
    at = wanted_RL.nonzero(as_tuple=True)
    slots = keys((torch.arange(WIDTH + 2) < WIDTH).expand(2, -1))
    found = backbone.hidden(tokens_RQ, positions_BT=positions_RQ, cache=cache.at(rows), sees=slots, at=at)
    close(found, whole_BTE[rows[at[0]], at[1]])


def test_what_is_not_seen_does_not_count(backbone: Any) -> None:
    short_BT, long_BT = some_tokens(backbone, 2, 6), some_tokens(backbone, 2, WIDTH, seed=1)
    long_BT[:, :6] = short_BT
    sees = backbone.sees & keys((torch.arange(WIDTH) < 6).expand(2, -1))
    close(backbone.hidden(long_BT, sees=sees)[:, :6], backbone.hidden(short_BT))


def test_positions_are_told_apart_by_their_distance(backbone: Any) -> None:
    tokens_BT, moved_BT = some_tokens(backbone), torch.arange(WIDTH).expand(ROWS, WIDTH)
    close(backbone.hidden(tokens_BT, positions_BT=moved_BT), backbone.hidden(tokens_BT))
    assert not torch.allclose(backbone.hidden(tokens_BT, positions_BT=2 * moved_BT), backbone.hidden(tokens_BT))


def test_a_mask_is_never_an_answer(backbone: Any) -> None:
    hidden_NE = backbone.hidden(some_tokens(backbone)).flatten(0, 1)
    logits_NV, found_NV = backbone.head(hidden_NE), predictions(backbone, hidden_NE)
    assert logits_NV.shape == (ROWS * WIDTH, backbone.config.vocab_size)
    if (mask := backbone.config.mask) is not None:
        assert (found_NV[:, mask] == NEVER).all() and (found_NV.softmax(-1)[:, mask] == 0).all()
        assert (logits_NV[:, mask] > -1e3).all(), "of the head it is a column like others"
        found_NV[:, mask] = logits_NV[:, mask]
    assert torch.equal(found_NV, logits_NV)


def test_head_and_cross_entropy_agree(backbone: Any) -> None:
    hidden_NE = backbone.hidden(some_tokens(backbone)).flatten(0, 1)
    targets_N = torch.arange(len(hidden_NE)) % backbone.config.vocab_size
    weights_N = torch.linspace(0.5, 2, len(hidden_NE), dtype=hidden_NE.dtype)
    total, ce_N = backbone.cross_entropy(hidden_NE, targets_N, weights_N)
    expected_N = F.cross_entropy(backbone.head(hidden_NE), targets_N, reduction="none")
    kept_N = expected_N.isfinite()  # the oracle knows tokens that cannot be
    close(ce_N[kept_N], expected_N[kept_N])
    if kept_N.all():
        close(total, (expected_N * weights_N).sum())


# ------------------------------------------------------------------ every Transformer


def test_what_may_be_seen_is_an_argument(network: Transformer) -> None:
    """The same weights to and fro, left to right, in blocks: what comes behind what is seen changes nothing."""
    tokens_BT, behind = some_tokens(network), network.config.alignment.behind
    changed_BT = tokens_BT.clone()
    changed_BT[:, 5] = (changed_BT[:, 5] + 1) % network.config.vocab_size
    blocks = [(block_causal(size), first) for size, first in ((4, 4), (5, 5), (99, 0))]
    for sees, first in ((everything, 0), (causal, 5), *blocks):
        one_BTE, other_BTE = (network.hidden(tokens, sees=sees) for tokens in (tokens_BT, changed_BT))
        moved = 0 if network.config.kind == "arm" else behind  # rows are given out in the place they speak of
        differ_T = (one_BTE - other_BTE).abs().amax((0, 2)) > 1e-5
        assert differ_T.tolist() == [place - moved >= first if place else first == 0 for place in range(WIDTH)], sees


def test_masks_compose(network: Transformer) -> None:
    tokens_BT, at = some_tokens(network), every_token(network, ROWS, range(4, 9))
    table_TS = torch.arange(WIDTH) // 3 <= torch.arange(WIDTH)[:, None] // 3
    inside_BT = torch.arange(WIDTH) != torch.tensor([0, 4, 9])[:, None]
    composed = network.hidden(tokens_BT, sees=block_causal(3) & keys(inside_BT), at=at)
    close(network.hidden(tokens_BT, sees=keys(inside_BT) & everything & pairs(table_TS), at=at), composed)
    close(network.hidden(tokens_BT, sees=pairs(table_TS & inside_BT[:, None]), at=at), composed)


def test_texts_that_share_a_row_do_not_see_each_other(network: Transformer) -> None:
    first_BT, second_BT = some_tokens(network, 2, 4), some_tokens(network, 2, 6, seed=2)
    numbers_BT = torch.tensor([[0] * 4 + [1] * 6]).expand(2, -1)
    found_BTE = network.hidden(
        torch.cat((first_BT, second_BT), dim=1),
        positions_BT=restarting_positions(numbers_BT),
        sees=network.sees & segments(numbers_BT),
    )
    close(found_BTE[:, :4], network.hidden(first_BT))
    alone_BTE = network.hidden(second_BT)
    from_second = 1 if network.config.shift else 0  # at its beginning a shifted model reads what stands before
    close(found_BTE[:, 4 + from_second :], alone_BTE[:, from_second:])


@pytest.mark.parametrize("name", [name for name, fields in VARIATIONS.items() if not fields.get("causal")])
@pytest.mark.parametrize("size", [1, 4])
def test_blocks_over_a_cache_are_exact(name: str, size: int) -> None:
    """Where attention is block-causal, keys and values of earlier blocks do not go stale."""
    network, sees = make(**VARIATIONS[name]), block_causal(size)
    tokens_BT, cache = some_tokens(network), network.cache(ROWS, WIDTH)
    whole_BTE = network.hidden(tokens_BT, sees=sees)
    for begin in range(0, WIDTH, size):
        wanted_BL = (torch.arange(WIDTH) // size == begin // size).expand(ROWS, -1)
        places = network.config.alignment.window(wanted_BL)[0].nonzero().flatten()
        at = wanted_BL.nonzero(as_tuple=True)
        found = network.hidden(
            tokens_BT[:, places],
            positions_BT=places.expand(ROWS, -1),
            sees=sees,
            cache=cache.at(torch.arange(ROWS)),
            at=at,
        )
        close(found, whole_BTE[at])


def test_a_shift_is_the_backbones_own(network: Transformer) -> None:
    """Rows of a masked model speak of their own token, whatever its weights do."""
    if network.config.kind == "arm":
        return
    fields = {name: value for name, value in network.config.to_dict().items() if name != "shift"}
    other = make(**{**fields, "shift": not network.config.shift})
    other.load_state_dict(network.state_dict())
    one_BTE, two_BTE = (n.hidden(some_tokens(network)) for n in (network, other))
    shifted_BTE, plain_BTE = (one_BTE, two_BTE) if network.config.shift else (two_BTE, one_BTE)
    assert torch.equal(shifted_BTE[:, 1:], plain_BTE[:, :-1]) and torch.equal(shifted_BTE[:, 0], plain_BTE[:, 0])


def test_a_mixture_of_tokens(network: Transformer) -> None:
    tokens_BT = some_tokens(network)
    row_M, place_M = torch.tensor([0, 2]), torch.tensor([3, 9])
    ids_MK = torch.stack((tokens_BT[row_M, place_M], torch.tensor([1, 2])), dim=1)
    only = Mixture(row_M, place_M, ids_MK, torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    blank_BT = tokens_BT.clone()
    blank_BT[row_M, place_M] = 0
    close(network.hidden(blank_BT, mixture=only), network.hidden(tokens_BT))
    even = Mixture(row_M, place_M, ids_MK, torch.full((2, 2), 0.5))
    table_RE = network.embedding.weight
    spare = make(**{**network.config.to_dict(), "vocab_size": 40})  # has rows to write the mean of two others to
    weights = {name: t for name, t in network.state_dict().items() if "embedding" not in name and "output" not in name}
    spare.load_state_dict(weights, strict=False)
    spare.embedding.weight[: len(table_RE)] = table_RE
    spare.embedding.weight[30:32] = table_RE[ids_MK].mean(1)
    mean_BT = tokens_BT.clone()
    mean_BT[row_M, place_M] = torch.tensor([30, 31])
    close(network.hidden(tokens_BT, mixture=even), spare.hidden(mean_BT))


@pytest.mark.parametrize("name", ["biases", "norms", "all", "arm-all"])
def test_bf16_stays_close(name: str) -> None:
    network = make(**VARIATIONS[name])
    tokens_BT = some_tokens(network)
    expected = network(tokens_BT)
    assert network.hold(torch.bfloat16).dtype == torch.bfloat16
    assert (network(tokens_BT) - expected).abs().max() < 0.05 * expected.abs().max()
