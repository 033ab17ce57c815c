"""Caches: what they run, what they keep exact, and where they only approximate."""

from __future__ import annotations

import pytest
import torch

from unmask.decoding import generate
from unmask.decoding.passes.caches import CACHES
from unmask.decoding.passes.score import Scorer
from unmask.decoding.rules.guidance import Guidance
from unmask.decoding.rules.registry import choose
from unmask.decoding.state.canvas import Canvas
from unmask.model.folder import Model

PROMPTS = [[1, 2, 3], [], [4] * 9, [5, 7, 6]]
RULES = [
    {"order": "confidence", "steps": 8},
    {"order": "ancestral", "steps": 8},
    {"order": "margin", "quota": "threshold:0.3"},
    {"order": "entropy", "quota": "even", "steps": 8, "revise": "p2"},
    {"order": "random", "quota": "even", "steps": 8, "revise": "edit:0.3"},
    {"order": "ancestral", "steps": 12, "revise": "remdm-cap:0.2"},
]


@pytest.mark.parametrize("cache", ["reuse", "prefix:1", "dual:1"])
@pytest.mark.parametrize("options", RULES, ids=lambda options: f"{options['order']}-{options.get('revise')}")
@pytest.mark.parametrize("guidance", [0.0, 0.6])
def test_exact_caches_change_nothing(mdm: Model, options, cache: str, guidance: float) -> None:
    shared = {**options, "length": 14, "block": 5, "guidance": [guidance, 0.0, guidance, guidance]}
    plain, cached = (generate(mdm, PROMPTS, cache=name, **shared) for name in (None, cache))
    for a, b in zip(plain, cached, strict=True):
        assert b.tokens == a.tokens and b.steps == a.steps
        assert b.probabilities == pytest.approx(a.probabilities, rel=1e-4)
        assert (b.nfe, b.computed) == (a.nfe, a.computed) or cache == "reuse"


def test_what_is_run_again(mdm: Model) -> None:
    """Twelve new positions behind a prompt of three, in blocks of four, a pass a token."""
    options = dict(length=12, block=4, order="left-to-right", quota="even", steps=12)
    computed = {
        cache: generate(mdm, [[1, 2, 3]], cache=cache, **options)[0].computed
        for cache in (None, "prefix", "dual", "dual:2", "dual:1")
    }
    assert computed[None] == computed["dual:1"] == 12 * 15
    assert computed["dual"] == 3 * 15 + 9 * 4
    assert computed["prefix"] == 3 * 15 + 3 * (12 + 8 + 4)
    assert computed["dual:2"] == 6 * 15 + 6 * 4


def test_a_stale_cache_is_an_approximation(mdm: Model) -> None:
    options = dict(length=24, block=8, order="confidence", quota="even", steps=24, temperature=0)
    plain = generate(mdm, PROMPTS[:3], **options)
    for cache in ("prefix", "dual"):
        stale = generate(mdm, PROMPTS[:3], cache=cache, **options)
        assert [g.probabilities for g in plain] != [g.probabilities for g in stale]


def test_dual_is_attention_to_keys_of_the_last_whole_pass(mdm: Model) -> None:
    """The second pass of a block by hand: the prefix's and suffix's states come from the first."""
    options = dict(length=4, block=4, order="left-to-right", quota="even", steps=4, temperature=0)
    (g,) = generate(mdm, [[1, 2, 3]], cache="dual", **options)
    cache = mdm.network.cache(1, 7)
    row = torch.tensor([[1, 2, 3, 7, 7, 7, 7]])
    with torch.no_grad():
        mdm.network.hidden(row, positions_BT=torch.arange(7)[None], cache=cache.at(torch.tensor([0])))
        for step in range(1, 4):
            row[0, 2 + step] = g.tokens[step - 1]
            window = torch.arange(3, 7)[None]
            hidden = mdm.network.hidden(row[:, 3:], positions_BT=window, cache=cache.at(torch.tensor([0])))
            assert int(mdm.network.head(hidden)[0, step].argmax()) == g.tokens[step]


def test_reuse_skips_passes_of_an_unchanged_row(mdm: Model) -> None:
    canvas = Canvas.of([[1, 2], [3]], [3, 3], mask_id=7)
    caches = [choose("cache", CACHES, "reuse")] * 2
    scorer = Scorer(mdm.network, canvas)
    scorer.join(canvas.rows, [Guidance(0.5), Guidance()], caches)
    rows_R, w_R = torch.arange(2), [0.5, 0.0]

    def ask(asked_RL: torch.Tensor) -> torch.Tensor:
        scores = scorer(rows_R, asked_RL, canvas.new_BL, torch.zeros(2, dtype=torch.int64), w_R)
        return torch.cat([logits for _, logits in scores.chunks()])

    with torch.inference_mode():
        first = ask(canvas.open_BL)
        assert canvas.nfe_B.tolist() == [2, 1] and canvas.passes == 1
        assert torch.equal(ask(canvas.open_BL), first)
        fewer_RL = canvas.open_BL.clone()
        fewer_RL[0, 2] = False
        assert torch.equal(ask(fewer_RL), first[1:])
        assert canvas.nfe_B.tolist() == [2, 1] and canvas.passes == 1
        canvas.tokens_BL[1, 2] = 4  # only this row must run again
        assert torch.equal(ask(canvas.open_BL)[:3], first[:3]) and canvas.nfe_B.tolist() == [2, 2]


@pytest.mark.filterwarnings("ignore:guidance has no effect")
def test_mixed_caches_share_a_batch(mdm: Model) -> None:
    caches = [None, "prefix", "dual:3", "reuse"]
    options = dict(length=12, block=4, order="margin", quota="even", steps=12, guidance=0.5)
    together = generate(mdm, PROMPTS, cache=caches, **options)
    for row, (prompt, cache) in enumerate(zip(PROMPTS, caches, strict=True)):
        (alone,) = generate(mdm, [prompt], cache=cache, seed=[(0, row)], **options)
        assert (alone.tokens, alone.nfe, alone.computed) == (
            together[row].tokens,
            together[row].nfe,
            together[row].computed,
        )
