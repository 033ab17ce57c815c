"""Rows made ready: banned, forced and chosen texts through `generate`, where they apply, what contradicts; threads."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from decoding.constrained import RULES
from unmask.decoding import generate
from unmask.decoding.generate import filled, infill
from unmask.decoding.loop import Loop
from unmask.decoding.prepare import prepare
from unmask.errors import UserError
from unmask.model.folder import Model


def test_choices_and_forced_tokens(bpe_mdm: Model, bpe_arm: Model) -> None:
    choices = [" the people", " the United States", " no more"]
    for model in (bpe_mdm, bpe_arm):
        found = generate(model, ["We are"] * 8, length=9, choices=choices, forced={0: " the"}, seed=1)
        assert {g.text for g in found} == set(choices[:2])
        assert all(g.steps[0] == -1 and g.steps[1] >= 0 for g in found)
    gaps = infill(bpe_mdm, "We are ____.", gap=2, choices=["the people", "no more"], seed=1)
    assert gaps[0].text in ("We are the people.", "We are no more.")


def test_only_gaps_are_spelled_where_there_are_gaps(bpe_mdm: Model) -> None:
    (g,) = generate(bpe_mdm, "On ____ ____ the", fill=2, length=6, pattern=r"\d+", seed=4)
    assert re.match(r"On \d+ \d+ the", g.text or "")
    assert not re.fullmatch(r"On \d+ \d+ the\d*", g.text or "")


def test_everything_forced_takes_no_pass(bpe_mdm: Model) -> None:
    (g,) = generate(bpe_mdm, "We", length=2, forced={0: " the", 1: " people"})
    assert (g.text, g.nfe) == (" the people", 0)


@pytest.mark.parametrize("rules", [*RULES, None], ids=str)
def test_stop_strings_end_the_text_before_them(bpe_mdm: Model, bpe_arm: Model, rules: dict | None) -> None:
    model, stops = bpe_mdm if rules is not None else bpe_arm, ["e", "th", "12"]
    options = {
        "length": 16,
        "pattern": "[a-z ]{0,5}(the people|1200 states).*",
        "eos": "fill",
        "seed": 3,
        **(rules or {}),
    }
    found = generate(model, ["On"] * 8, stop=stops, **options)
    whole = generate(model, ["On"] * 8, **options)
    for g, w in zip(found, whole, strict=True):
        assert g.stopped == "stop" and len(g.tokens) < 16
        assert not any(stop in (g.text or "") for stop in stops)
        if "revise" not in options:
            cut = min(at for stop in stops if (at := (w.text or "").find(stop)) >= 0)
            assert g.text == (w.text or "")[:cut] and g.nfe <= w.nfe
    if "revise" not in options:  # else a text is settled at the end only
        assert sum(g.computed for g in found) < sum(w.computed for w in whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pattern": "a(?!b)"}, "is not supported at position 1"),
        ({"pattern": "a", "choices": ["b"]}, "pattern and choices are both given"),
        ({"forced": {4: 1}}, "forced at offset 4 lies outside the 4 new tokens"),
        ({"forced": {0: 0}, "eos": "suppress"}, "forced at offset 0 is token 0 .*, which is banned"),
        ({"pattern": r"\d{99}"}, "cannot be written in exactly 4 tokens"),
    ],
)
def test_contradictions_are_said_before_the_first_pass(bpe_mdm: Model, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        generate(bpe_mdm, "We", length=4, **options)


def test_rows_are_prepared_in_threads_beside_a_loop(bpe_mdm: Model) -> None:
    """Nothing that others see is touched: what is prepared while a loop runs is what is prepared before it."""
    options = dict(length=9, choices=[" the people", " the United States", " no more"], eos="truncate", steps=6)
    prompts = [f"On 179{at}-01-08 the people" for at in range(8)]
    before = prepare(bpe_mdm, prompts, options, seed=3)
    loop = Loop.for_rows(bpe_mdm, before)
    loop.join(before)
    with ThreadPoolExecutor(4) as pool:
        found = [
            pool.submit(prepare, bpe_mdm, [prompt], options, seed=[(3, at)]) for at, prompt in enumerate(prompts)
        ]
        while loop.running:
            loop.step()
    for row, (other,) in zip(before, (future.result() for future in found), strict=True):
        mine, theirs = row.stage.table.columns, other.stage.table.columns
        assert (row.request, row.guidance, row.positions) == (other.request, other.guidance, other.positions)
        for name in ("tokens", "open", "forced", "length", "seed", "eos truncates"):
            ours, its = (torch.as_tensor(columns[name].values) for columns in (mine, theirs))
            held = ours[row.slot] if ours.ndim == 1 or name == "seed" else ours[row.slot, : row.positions]
            assert torch.equal(held, its[other.slot]), name
    assert filled(bpe_mdm, [future.result()[0] for future in found]) == filled(bpe_mdm, before)


def test_rows_filled_where_they_are_are_those_that_join(bpe_mdm: Model, bpe_arm: Model) -> None:
    """`generate` copies nothing of what it has prepared; whoever keeps rows does."""
    some = dict(length=[9, 5], eos="truncate", stop=["zz"], banned=[5], temperature=[1.0, 0.0])
    for model, options in ((bpe_mdm, dict(cache=["dual", None], block=4, guidance=[0.5, 0.0])), (bpe_arm, {})):
        kept = prepare(model, ["We the people", "On"], {**some, **options}, seed=3)
        first = filled(model, kept)
        assert generate(model, ["We the people", "On"], **some, **options, seed=3) == first == filled(model, kept)
        assert not kept[0].stage.canvas.passes
        (once,) = prepare(model, ["We the people"], {"length": 9}, seed=3)
        filled(model, [once], once=True)
        assert once.stage.canvas.passes and not once.stage.canvas.open_BL.any()
