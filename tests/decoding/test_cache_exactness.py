"""Caches: with every pass refreshed each equals none, whatever the rules; without, a network's output may differ.

On the oracle a slot of the cache is a token. Neither what stands before a block nor what stands behind it changes while
the block is filled, so there even a cache that is never refreshed is exact to the last bit, which tests every index of
the windows. A Transformer's keys and values do go stale, as the paper's (Fast-dLLM, arXiv 2505.22618) do.
"""

from __future__ import annotations

import pytest

from decoding.oracle import SHARP, CacheView, oracle
from unmask.decoding import ORDERS, Generation, generate
from unmask.model.folder import Model

ORACLE = oracle(SHARP, context=48)
MASK, SMALLEST_MASK = 8, 7  # of the oracle, and of the `mdm` fixture
LENGTHS = [12, 7, 12, 15, 1]
# Different lengths, blanks within a prompt, no prompt; no token above the smaller vocabulary's.
PROMPTS = [[1, 2, 3], [4], [], [5, None, 6, 0, None, 1, 1], [3, 3]]
ALL = ("prefix:1", "dual:1", "reuse")


def prompts(mask_id: int) -> list[list[int]]:
    return [[mask_id if token is None else token for token in prompt] for prompt in PROMPTS]


def drawn(found: list[Generation]) -> list[object]:
    return [(g.tokens, g.steps, g.probabilities, g.trace) for g in found]


def written(found: list[Generation]) -> list[object]:
    return [(g.canvas, g.steps) for g in found]


def options(order: str, **more: object) -> dict[str, object]:
    steps = None if order == "first-hitting" else [9, 4, None, 12, None]
    guidance = [0.0, 0.6, 0.0, -0.4, 0.3]
    return {"length": LENGTHS, "order": order, "steps": steps, "guidance": guidance, "seed": 3, **more}


@pytest.mark.filterwarnings("ignore:guidance has no effect")
@pytest.mark.parametrize("block", [None, 5, [1, 4, 5, 30, None]])
@pytest.mark.parametrize("order", list(ORDERS))
def test_every_cache_equals_no_cache_on_the_oracle(order: str, block: object) -> None:
    rules = options(order, block=block)
    if block == [1, 4, 5, 30, None]:
        rules["steps"] = None if order == "first-hitting" else [15, 4, None, 12, None]
    plain = generate(ORACLE, prompts(MASK), **rules)
    for cache in (*ALL, "prefix", "dual", "dual:2", "prefix:3", ["reuse", "dual", "prefix", None, "dual:1"]):
        assert drawn(generate(ORACLE, prompts(MASK), cache=cache, **rules)) == drawn(plain), cache


@pytest.mark.filterwarnings("ignore:guidance has no effect")
@pytest.mark.parametrize(
    "rules",
    [
        {"order": "confidence", "quota": "threshold:0.6"},
        {"order": "entropy", "quota": "entropy-bounded:0.5"},
        {"order": "margin", "quota": "klass:0.5", "block": 4},
        {"order": "confidence", "quota": "even", "steps": 20, "revise": "p2"},
        {"order": "ancestral", "steps": 24, "revise": "remdm-cap:0.2"},
        {"order": "ancestral", "steps": 24, "revise": "remdm-conf", "block": 6},
        {"order": "confidence", "quota": "factor:1.5", "revise": "edit:0.7", "block": 5},
        {"order": "confidence", "quota": "even", "guidance_mode": "drop", "block": 4},
        {"order": "ancestral", "guidance_interval": (0.2, 0.7), "guidance_schedule": "linear"},
    ],
    ids=lambda rules: rules.get("revise") or rules.get("quota"),
)
def test_refreshed_caches_equal_no_cache_whatever_the_rules(mdm: Model, rules: dict[str, object]) -> None:
    """Passing guidance, revision, adaptive quotas: on the oracle to the last bit, on a network in tokens."""
    rules = {"length": 14, "guidance": [0.0, 0.6, 0.3, -0.4, 0.3], "seed": 5, **rules}
    for model, mask_id, same in ((ORACLE, MASK, drawn), (mdm, SMALLEST_MASK, written)):
        given = prompts(mask_id)
        if rules.get("guidance_mode") == "drop":  # which has no place for blanks of a prompt
            given[3] = given[3][2:4]
        plain = generate(model, given, **rules)
        for cache in ALL:
            assert same(generate(model, given, cache=cache, **rules)) == same(plain), cache


@pytest.mark.filterwarnings("ignore:guidance has no effect")
@pytest.mark.parametrize("order", list(ORDERS))
def test_refreshed_caches_equal_no_cache_on_a_transformer(mdm: Model, order: str) -> None:
    for block in (None, 5):
        rules = options(order, block=block)
        plain = generate(mdm, prompts(SMALLEST_MASK), **rules)
        for cache in ALL:
            found = generate(mdm, prompts(SMALLEST_MASK), cache=cache, **rules)
            assert written(found) == written(plain), (cache, block)
            for a, b in zip(found, plain, strict=True):
                assert a.probabilities == pytest.approx(b.probabilities, abs=1e-5)
                assert a.nfe == b.nfe


def test_stale_caches_differ_and_run_less(mdm: Model) -> None:
    """So the equalities above are no accident: without refreshing a network's keys and values go stale.

    Two blocks of ten behind a prompt of three, a token a pass: a whole pass each, then nine from the block on (20 or 10
    positions) or of the block alone (10).
    """
    rules = {"length": 20, "order": "confidence", "quota": "even", "block": 10, "seed": 1}
    plain = generate(mdm, [[1, 2, 3]] * 8, **rules)
    assert {g.computed for g in plain} == {20 * 23}
    for cache, computed in (("prefix", 2 * 23 + 9 * 20 + 9 * 10), ("dual", 2 * 23 + 9 * 10 + 9 * 10)):
        stale = generate(mdm, [[1, 2, 3]] * 8, cache=cache, **rules)
        assert written(stale) != written(plain)
        assert [g.nfe for g in stale] == [g.nfe for g in plain]
        assert {g.computed for g in stale} == {computed}


def test_the_oracle_sees_a_window_that_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = {"length": 20, "order": "confidence", "quota": "even", "block": 10, "seed": 1}
    plain = generate(ORACLE, [[1, 2, 3]] * 4, **rules)
    first_writes = CacheView.write

    def forgets(view: CacheView, positions_RQ, tokens_RQ):
        if positions_RQ.shape[1] < 23:
            return view.cache.tokens_BS[view.rows_R, :-1]
        return first_writes(view, positions_RQ, tokens_RQ)

    monkeypatch.setattr(CacheView, "write", forgets)
    assert written(generate(ORACLE, [[1, 2, 3]] * 4, cache="dual", **rules)) != written(plain)
    assert written(generate(ORACLE, [[1, 2, 3]] * 4, cache="dual:1", **rules)) == written(plain)
