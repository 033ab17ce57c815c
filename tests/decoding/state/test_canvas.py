"""The canvas: what is open, what was committed in which order, and where a row ends."""

from __future__ import annotations

from unmask.decoding import generate
from unmask.model.folder import Model


def test_an_end_of_sequence_in_a_blank_of_the_prompt_ends_nothing(make_model) -> None:
    model = make_model(vocab_size=2, eos_id=0)
    prompts = [[1, model.mask_id, 1]] * 24
    found = generate(model, prompts, length=3, order="left-to-right", quota="even", eos="truncate")
    assert any(g.canvas[1] == 0 for g in found)
    for g in found:
        behind = g.canvas[3:]
        assert len(behind) == (behind.index(0) + 1 if 0 in behind else 3)
        assert g.stopped == ("eos" if 0 in behind else "length")


def test_blanks_among_ids(mdm: Model) -> None:
    g = generate(mdm, [[1, 7, 2, 7]], length=0, steps=2)[0]
    assert g.positions == [1, 3] and g.canvas[0] == 1 and g.canvas[2] == 2
    assert g.text is None


def test_trace_tells_the_whole_story(mdm: Model) -> None:
    g = generate(mdm, [[1, 2]], length=6, steps=3, order="confidence")[0]
    canvas = [1, 2] + [7] * 6
    for entry in g.trace:
        assert canvas[entry["position"]] == 7
        canvas[entry["position"]] = entry["token"]
    assert canvas == g.canvas
    assert generate(mdm, [[1, 2]], length=6, trace=False)[0].trace is None
