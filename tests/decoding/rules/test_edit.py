"""Editing: committed tokens give way to likelier ones, without masks."""

from __future__ import annotations

import torch

from unmask.decoding import generate
from unmask.model.folder import Model


def test_edit_replaces_tokens_without_masks(mdm: Model) -> None:
    options = dict(length=20, order="random", quota="even", steps=4, temperature=1.0)
    found = generate(mdm, [[1]] * 8, revise="edit:0.3", **options)
    edits = [g for g in found if len(g.trace) > 20]
    assert edits
    for g in found:
        assert all(event["token"] != 7 for event in g.trace) and 7 not in g.canvas
        assert g.nfe <= 4 + 16
    # Nothing is more probable than certain.
    assert [g.tokens for g in generate(mdm, [[1]] * 8, revise="edit:1", **options)] == [
        g.tokens for g in generate(mdm, [[1]] * 8, **options)
    ]


def test_edits_end_when_nothing_changes(mdm: Model) -> None:
    """The last pass of a row found nothing to edit, or was the last allowed."""
    found = generate(mdm, [[1, 2]] * 8, length=12, order="random", quota="even", steps=2, revise="edit:0.5,passes=20")
    still = 0
    for g in found:
        with torch.no_grad():
            best = mdm.network(torch.tensor([g.canvas]))[0].softmax(-1)[2:].max(-1)
        settled = all(t == int(b) or p <= 0.5 for t, b, p in zip(g.tokens, best.indices, best.values, strict=True))
        assert settled or g.nfe == 22
        still += settled and g.nfe < 22
    assert still
