"""Passes: nothing is run twice, and the head where it is asked alone."""

from __future__ import annotations

import math

import pytest
import torch

from unmask.errors import UserError
from unmask.likelihood import score
from unmask.model.folder import Model

CONTEXT, ANSWER = [1, 2], [2, 0, 1]


def test_the_half_without_the_prompt_is_run_once_for_all_prompts(mdm: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    hidden = mdm.network.hidden
    monkeypatch.setattr(mdm.network, "hidden", lambda t, **k: (rows.append(len(t)), hidden(t, **k))[1])
    pairs = [([1, 2], ANSWER), ([2, 2], ANSWER), ([0, 1], ANSWER)]
    found = score(mdm, pairs, method="chain-rule", guidance=0.5)
    assert sum(rows) == 3 * 3 + 3
    rows.clear()
    assert [score(mdm, [pair], method="chain-rule", guidance=0.5)[0].logprob for pair in pairs] == pytest.approx(
        [s.logprob for s in found], rel=1e-5
    )
    assert sum(rows) == 18
    rows.clear()
    # Masks that were drawn twice run once too, and so does an answer of each length that is masked whole.
    score(mdm, [([1, 2], [2, 0]), ([1, 2], [1, 1])], draws=400, batch_tokens=10**6)
    assert sum(rows) == 1 + 2 * 2


def test_no_guidance_is_one_pass_and_the_head_runs_where_asked(mdm: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    hidden, head = mdm.network.hidden, mdm.network.head
    monkeypatch.setattr(mdm.network, "hidden", lambda t, **k: (rows.append(len(t)), hidden(t, **k))[1])
    asked: list[int] = []
    monkeypatch.setattr(mdm.network, "head", lambda h: (asked.append(len(h)), head(h))[1])
    score(mdm, [(CONTEXT, ANSWER)], method="chain-rule")
    assert (sum(rows), sum(asked)) == (3, 3)
    rows.clear()
    score(mdm, [(CONTEXT, ANSWER)], method="chain-rule", guidance=0.5)
    assert sum(rows) == 6  # both halves


def test_guidance_of_an_arm_is_refused(arm: Model) -> None:
    with pytest.raises(UserError, match="guidance needs a masked diffusion model"):
        score(arm, [([1], [2])], guidance=0.5)


def test_damaged_weights_are_named(make_model) -> None:
    model = make_model()
    with torch.no_grad():
        model.network.output.weight[0, 0] = math.nan
    with pytest.raises(UserError, match="logits are not finite; the weights are damaged"):
        score(model, [([1], [2, 1])])
