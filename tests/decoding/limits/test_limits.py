"""Patterns hold whatever the order, quota, revision or cache, each row's its own."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoding.constrained import BPE, DATE, RULES, ended
from unmask.decoding import generate
from unmask.decoding.generate import infill
from unmask.errors import UserError
from unmask.model.folder import Model


@pytest.mark.parametrize("rules", RULES, ids=str)
def test_a_date_in_a_gap(bpe_mdm: Model, rules: dict) -> None:
    for g in infill(bpe_mdm, ["On ____, the people", "(____)"], gap=8, pattern=DATE, seed=5, **rules):
        assert re.fullmatch(rf"On {DATE}, the people|\({DATE}\)", g.text or ""), g.text
        assert g.stopped == "filled"


@pytest.mark.parametrize("rules", RULES, ids=str)
@pytest.mark.parametrize("eos", ["fill", "truncate", "stop", "suppress"])
@pytest.mark.filterwarnings("ignore:guidance has no effect without a prompt")
def test_a_continuation_may_end_early(bpe_mdm: Model, rules: dict, eos: str) -> None:
    pattern = r"( [a-z]+)+ €?\d{2}\."
    for g in generate(bpe_mdm, ["On", ""], length=14, pattern=pattern, eos=eos, seed=2, **rules):
        assert re.fullmatch(pattern, g.text or ""), g.text
        assert BPE.decode(ended(g)) == g.text
        assert len(g.tokens) == 14 or eos in ("truncate", "stop")
        assert 0 not in g.tokens or eos != "suppress"


@pytest.mark.parametrize("eos", ["fill", "stop", "suppress"])
def test_the_autoregressive_twin_keeps_to_a_pattern(bpe_arm: Model, eos: str) -> None:
    for g in generate(bpe_arm, ["On", ""], length=14, pattern=r"( [a-z]+)+ €?\d{2}\.", eos=eos, seed=2):
        assert re.fullmatch(r"( [a-z]+)+ €?\d{2}\.", g.text or ""), g.text
        ended(g)


@given(st.data())
@settings(max_examples=60)
def test_rows_with_constraints_of_their_own(bpe_mdm: Model, data: st.DataObject) -> None:
    rules = data.draw(st.sampled_from(RULES))
    patterns = [r"[a-z ]*", r"[^a]+", "(é|€|ß)+", r"\W{3,8}", None]
    rows, length = 3, 8
    chosen = [data.draw(st.sampled_from(patterns)) for _ in range(rows)]
    banned = [data.draw(st.lists(st.integers(1, 200), max_size=30)) for _ in range(rows)]
    eos = [data.draw(st.sampled_from(["fill", "truncate", "stop", "suppress"])) for _ in range(rows)]
    options = {"length": length, "pattern": chosen, "banned": banned, "eos": eos, **rules}
    try:
        found = generate(bpe_mdm, ["We"] * rows, seed=data.draw(st.integers(0, 99)), **options)
    except UserError as error:
        assert "cannot be written" in str(error)
        return
    for g, pattern, ban, end in zip(found, chosen, banned, eos, strict=True):
        assert not set(g.tokens) & set(ban)
        assert bpe_mdm.config.vocab_size not in g.tokens and (len(g.tokens) == length or end in ("truncate", "stop"))
        if pattern is not None:
            assert re.fullmatch(pattern, g.text or "", re.ASCII), (pattern, g.text)
