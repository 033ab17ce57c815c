"""The canvas: what is open, what was committed in which order, and where a row ends."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unmask.decoding import generate
from unmask.decoding.state.canvas import Canvas
from unmask.decoding.state.clock import Clock
from unmask.decoding.state.table import FullError, Table
from unmask.decoding.state.turn import TOKENS, row_uniforms
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


# ------------------------------------------------------------------ positions that move

WIDTH, MASK = 16, 9


@settings(max_examples=200)
@given(seed=st.integers(0, 2**30))
def test_a_splice_moves_all_that_is_known_of_a_position(seed: int) -> None:
    """Against a list of positions, each with what every column holds of it; the row beside it stays as it is."""
    rng = random.Random(seed)
    canvas = Canvas(Table(3, WIDTH), MASK)
    own_BL = canvas.table.positions("a rule's own", torch.float64, -1.0)
    seen_BL = canvas.table.positions("seen", torch.int64, -1, drops=True)
    canvas.join([[1, 2], [3, MASK, 4], [5]], [6, 7, 4], [(seed, 0), (seed, 1), (seed, 2)])
    clock = Clock(canvas)
    rows_R = torch.arange(3)
    clock.join(rows_R, torch.tensor([0, 8, 0]), torch.tensor([0, 4, 0]))
    own_BL.copy_(torch.rand(3, WIDTH, dtype=torch.float64))
    seen_BL.fill_(5)
    columns = {"own": own_BL, "keys": clock.keys_BL, "tokens": canvas.tokens_BL, "new": canvas.new_BL}
    columns |= {"number": canvas.number_BL, "open": canvas.open_BL}

    def draws() -> torch.Tensor:
        return row_uniforms(canvas, rows_R, torch.full((3,), TOKENS + 4))

    beside = [{name: column[row].tolist() for name, column in columns.items()} for row in (0, 2)]
    places = [{name: column[1, at].item() for name, column in columns.items()} for at in range(10)]
    drawn = {place["number"]: float(draws()[1, at]) for at, place in enumerate(places) if place["new"]}
    for _ in range(5):
        start, delete, insert = rng.randint(0, len(places)), rng.randint(0, 2), rng.randint(0, 3)
        gone = places[start : start + delete]
        fits = start + delete <= len(places) and all(place["new"] for place in gone)
        room = len(places) + insert - delete <= WIDTH
        if not (fits and room):
            before = canvas.tokens_BL.clone()
            with pytest.raises(FullError if fits else ValueError, match="splice|does not fit"):
                canvas.splice(1, start, delete, insert)
            assert torch.equal(canvas.tokens_BL, before)
            continue
        clock.splice(1, canvas.splice(1, start, delete, insert))
        assert (seen_BL[1] == -1).all()
        fresh = [{name: column[1, start + at].item() for name, column in columns.items()} for at in range(insert)]
        places[start : start + delete] = fresh
        assert int(canvas.lengths_B[1]) == len(places)
        for at, place in enumerate(places):
            assert {name: column[1, at].item() for name, column in columns.items()} == place
        for place in fresh:
            assert (place["tokens"], place["new"], place["open"], place["own"]) == (MASK, True, True, -1.0)
            assert place["number"] not in drawn and 0 < place["keys"] < 1
        now = {place["number"]: float(draws()[1, at]) for at, place in enumerate(places) if place["new"]}
        assert all(drawn.get(number, value) == value for number, value in now.items())  # its numbers go with it
        drawn |= now
        given_at = [at for at, place in enumerate(places) if not place["new"]]
        assert [places[at]["tokens"] for at in given_at] == [3, 4]
        assert given_at[-1] + 1 == int(canvas.starts_B[1])
        assert (canvas.tokens_BL[1, len(places) :] == MASK).all() and not canvas.new_BL[1, len(places) :].any()
    assert [{name: column[row].tolist() for name, column in columns.items()} for row in (0, 2)] == beside
