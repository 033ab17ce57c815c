"""Invariants of the loop over all combinations of rules; guidance; independence of rows."""

from __future__ import annotations

import random
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decoding.coming_and_going import oracle_model
from unmask.decoding import ORDERS, generate
from unmask.decoding.loop import Loop
from unmask.decoding.prepare import prepare
from unmask.decoding.state.rows import Budget, GoneError
from unmask.decoding.state.table import FullError
from unmask.model.folder import Model

MASK = 7  # of the `mdm` fixture


@settings(max_examples=100)
@given(
    prompts=st.lists(st.lists(st.integers(0, MASK), max_size=9), min_size=1, max_size=4),
    length=st.integers(1, 12),
    steps=st.one_of(st.none(), st.integers(4, 20)),
    order=st.sampled_from(list(ORDERS)),
    quota=st.sampled_from([None, "paper", "even"]),
    block=st.sampled_from([None, 6, 9, 40]),
    guidance=st.sampled_from([0.0, 0.7, -1.0]),
    temperature=st.sampled_from([0.0, 0.5, 1.0]),
    stop=st.booleans(),
    seed=st.integers(0, 2**40),
)
def test_any_rules(
    mdm: Model, prompts, length, steps, order, quota, block, guidance, temperature, stop, seed
) -> None:  # fmt: skip
    if ORDERS[order].own_quota:
        quota = None
    if order == "first-hitting":
        steps = None
    options = dict(
        length=length, steps=steps, order=order, quota=quota, block=block, guidance=guidance, temperature=temperature
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = generate(mdm, prompts, seed=seed, trace=True, eos="truncate" if stop else "fill", **options)
        alone = generate(
            mdm, [prompts[-1]], seed=[(seed, len(prompts) - 1)], eos="truncate" if stop else "fill", **options
        )[0]
    for prompt, g in zip(prompts, found, strict=True):
        blanks = [i for i, token in enumerate(prompt) if token == MASK]
        new = blanks + list(range(len(prompt), len(prompt) + length))
        assert g.positions == new
        assert MASK not in g.canvas and all(0 <= token < MASK for token in g.canvas)
        assert [t for i, t in enumerate(g.canvas) if i not in new] == [t for t in prompt if t != MASK]
        assert g.tokens == [g.canvas[i] for i in new]
        passes = len(set(g.steps))
        guided = guidance != 0 and len(blanks) < len(prompt)
        assert g.nfe == passes * (2 if guided else 1)
        assert passes <= len(new) and all(0 <= s < (steps or len(new)) for s in g.steps)
        assert all(0 < p <= 1 for p in g.probabilities)
        assert sorted(e["position"] for e in g.trace) == new
        assert [e["step"] for e in g.trace] == sorted(g.steps)
        if block:
            per_block = [g.steps[i : i + block] for i in range(0, len(new), block)]
            assert all(max(a) < min(b) for a, b in zip(per_block, per_block[1:], strict=False))
    assert alone.tokens == found[-1].tokens and alone.steps == found[-1].steps


def logits(model: Model, tokens: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model.network(torch.tensor([tokens]))[0]


def test_no_guidance_is_one_plain_pass(mdm: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    hidden = mdm.network.hidden
    monkeypatch.setattr(mdm.network, "hidden", lambda tokens, **k: (sizes.append(len(tokens)), hidden(tokens, **k))[1])
    g = generate(mdm, [[1, 2, 3]], length=4, steps=1, guidance=0.0, order="confidence", temperature=0)[0]
    assert sizes == [1] and g.nfe == 1
    expected = logits(mdm, [1, 2, 3] + [MASK] * 4)[3:].double().log_softmax(-1)
    assert g.tokens == expected.argmax(-1).tolist()
    assert g.probabilities == pytest.approx(expected.amax(-1).exp().tolist(), rel=1e-6)
    assert generate(mdm, [[1, 2, 3]], length=4, steps=1, order="confidence", temperature=0)[0] == g  # bit for bit


@pytest.mark.parametrize("guidance", [0.8, -0.5])
def test_guidance_formula(mdm: Model, guidance: float) -> None:
    g = generate(mdm, [[1, 2, 3]], length=4, steps=1, guidance=guidance, order="confidence", temperature=0)[0]
    c, u = logits(mdm, [1, 2, 3] + [MASK] * 4)[3:], logits(mdm, [MASK] * 7)[3:]
    expected = (u + (1 + guidance) * (c - u)).softmax(-1)
    assert g.tokens == expected.argmax(-1).tolist()
    assert g.probabilities == pytest.approx(expected.amax(-1).tolist(), rel=1e-4)
    assert g.nfe == 2


def test_guidance_hides_only_what_was_given(mdm: Model) -> None:
    """Of an infilled row the blanks filled meanwhile stay visible to both halves."""
    prompt = [1, MASK, 3, MASK]
    g = generate(mdm, [prompt], length=0, steps=2, guidance=0.8, order="left-to-right", quota="even", temperature=0)[0]
    first = g.canvas[1]
    c, u = logits(mdm, [1, first, 3, MASK])[3], logits(mdm, [MASK, first, MASK, MASK])[3]
    assert g.canvas[3] == int((u + 1.8 * (c - u)).argmax())


def test_guidance_without_a_prompt_is_said_once_and_free(mdm: Model) -> None:
    with pytest.warns(UserWarning, match="no effect") as caught:
        g = generate(mdm, [[], []], length=6, steps=6, guidance=1.0)
    assert len(caught) == 1
    plain = generate(mdm, [[], []], length=6, steps=6)
    assert g == plain


@pytest.mark.filterwarnings("ignore:guidance has no effect")
def test_guidance_doubles_only_rows_with_a_prompt(mdm: Model) -> None:
    free, guided = generate(mdm, [[], [1, 2]], length=6, steps=6, guidance=1.0, order="left-to-right", quota="even")
    assert (free.nfe, guided.nfe) == (6, 12)
    assert free.tokens == generate(mdm, [[]], length=6, steps=6, order="left-to-right", quota="even")[0].tokens


def test_a_stopped_row_ends_behind_its_first_eos(make_model) -> None:
    model = make_model(vocab_size=12, eos_id=0)
    prompts = [[0, 1]] * 24
    whole = generate(model, prompts, length=16, steps=16, order="left-to-right", quota="even")
    short = generate(model, prompts, length=16, steps=16, order="left-to-right", quota="even", eos="truncate")
    assert any(g.stopped == "eos" for g in whole) and any(g.stopped == "length" for g in whole)
    for a, b in zip(whole, short, strict=True):
        cut = a.tokens.index(0) + 1 if 0 in a.tokens else 16
        assert b.tokens == a.tokens[:cut] and b.stopped == a.stopped and b.nfe == cut
        assert len(b.canvas) == 2 + cut and len(a.tokens) == 16


def test_a_stopped_row_is_settled_in_any_order(make_model) -> None:
    model = make_model(vocab_size=4, eos_id=0)
    whole = generate(model, [[1]] * 24, length=16, order="random")
    short = generate(model, [[1]] * 24, length=16, order="random", eos="truncate")
    assert sum(g.nfe for g in short) < sum(g.nfe for g in whole)
    for a, b in zip(whole, short, strict=True):
        cut = a.tokens.index(0) + 1 if 0 in a.tokens else 16
        assert b.tokens == a.tokens[:cut] and b.nfe <= a.nfe


@pytest.mark.parametrize("cut", [1, 5])
def test_head_in_pieces_gives_the_same(mdm: Model, monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    options = dict(length=12, steps=4, order="entropy", guidance=0.5)
    whole = generate(mdm, [[1, 2], [3]], **options)
    monkeypatch.setattr("unmask.decoding.passes.logits.LOGITS_AT_ONCE", cut * MASK)
    pieces = generate(mdm, [[1, 2], [3]], **options)
    assert [g.tokens for g in pieces] == [g.tokens for g in whole]


def test_the_published_greedy_samples(published, tmp_path) -> None:
    """The reference's outputs: paper quota, guidance, temperature 0, and the ARM's greedy continuation."""
    import json

    from safetensors.torch import load_file

    import unmask

    smdm = pytest.importorskip("unmask.interop.smdm")
    folder = published
    models = {}
    for kind in ("mdm", "arm"):
        smdm.convert(folder / f"{kind}.safetensors", folder / "config.json", tmp_path / kind, rope="fp32")
        models[kind] = unmask.load(tmp_path / kind)
    expected = json.loads((folder / "expected.json").read_text())
    prompt = load_file(folder / "tensors.safetensors")["ids"][0, :16].tolist()
    samples = expected["greedy_samples(prompt=ids[0,:16], length=48)"]
    assert len(samples) == 6
    for name, tokens in samples.items():
        guidance, steps = name.removeprefix("cfg").split("_steps")
        g = generate(
            models["mdm"],
            [prompt, prompt[:7]],  # the second row must not disturb the first
            length=32,
            steps=int(steps),
            order="confidence",
            guidance=float(guidance),
            temperature=0,
        )[0]
        assert g.canvas == tokens, name
    g = generate(models["arm"], [prompt], length=32, temperature=0)[0]
    assert g.canvas == expected["arm_greedy(prompt=ids[0,:16], length=48)"]


# ------------------------------------------------------------------ positions that move


SPLICED = [
    {"order": "confidence", "quota": "klass:threshold=0.3,kl=0.2"},
    {"order": "dilated", "quota": "even", "block": 4, "guidance": 0.5},
    {"order": "ancestral", "steps": 14, "revise": "remdm-cap:0.2"},
    {"order": "left-to-right", "quota": "even", "cache": "reuse", "guidance": 0.7, "guidance_mode": "drop"},
]


@pytest.mark.parametrize("options", SPLICED, ids=lambda options: options["order"])
@pytest.mark.parametrize("cache", [None, "dual:1", "prefix:1"])
def test_a_row_is_filled_while_its_positions_move(options: dict[str, Any], cache: str | None) -> None:
    """Nothing given or written is lost, and a row with a cache, which is dropped, writes what one without it writes."""
    if cache is not None and "cache" in options:
        return
    model = oracle_model()
    found = []
    for kind in (None, cache):
        rng = random.Random(7)
        rows = prepare(model, [[1, 2, 3], [4]], {"length": 12, "cache": kind, **options}, seed=5)
        loop = Loop(model, Budget(2, 40))
        seats = loop.join(rows)
        while loop.running:
            loop.step()
            start = rng.randint(int(loop.canvas.starts_B[0]), int(loop.canvas.lengths_B[0]))
            if loop.canvas.passes < 6 and not loop.over_B[0]:
                before = loop.canvas.tokens_BL[0, : int(loop.canvas.lengths_B[0])].tolist()
                delete = rng.randint(0, min(1, len(before) - start))
                insert = rng.randint(0, 2)
                loop.splice(seats[0], start, delete, insert)
                after = loop.canvas.tokens_BL[0, : int(loop.canvas.lengths_B[0])].tolist()
                assert after == before[:start] + [model.mask_id] * insert + before[start + delete :]
        assert not loop.canvas.open_BL.any() and len(loop.table.taken) == 2
        found.append([loop.canvas.tokens_BL[row, : int(loop.canvas.lengths_B[row])].tolist() for row in range(2)])
        assert model.mask_id not in found[-1][0] and found[-1][0][:3] == [1, 2, 3] and len(found[-1][0]) > 15
    assert found[0] == found[1]
    plain = generate(model, [[4]], length=12, seed=[(5, 1)], **options)[0]
    assert plain.canvas == found[0][1]  # the row beside it


def test_a_splice_that_cannot_be_says_why() -> None:
    model = oracle_model()
    options = {"length": 4, "pattern": ["[abc]*", None], "forced": [None, {1: 3}], "eos": "suppress"}
    loop = Loop(model, Budget(2, 8, positions=12))
    first, second = loop.join(prepare(model, [[1, 2], [1]], options))
    for seat, splice, error, line in [
        (second, (5, 1), ValueError, "a splice of positions 5 to 6 of the row in slot 1 lies beyond its 5"),
        (second, (0, 1), ValueError, "a splice of positions 0 to 1 of the row in slot 1 takes out given tokens"),
        (second, (2, 1), ValueError, "a splice of positions 2 to 3 of the row in slot 1 takes out given tokens"),
        (second, (2, 0, 2), FullError, "2 positions join 11 that are taken, of 12"),
        (first, (3, 0, 1), ValueError, "a splice at position 3 of the row in slot 0 lies within a pattern"),
        (first, (5, 1), ValueError, "a splice at position 5 of the row in slot 0 lies within a pattern"),
    ]:
        before = loop.canvas.tokens_BL.clone(), loop.positions_B.clone()
        with pytest.raises(error, match=f"^{line}$"):
            loop.splice(seat, *splice)
        assert torch.equal(before[0], loop.canvas.tokens_BL) and torch.equal(before[1], loop.positions_B)
    loop.splice(first, 2, insert=1)  # before the pattern, which moves
    while loop.running:
        loop.step()
    assert set(loop.canvas.tokens_BL[0, 3:7].tolist()) <= {0, 1, 2}
    with pytest.raises(GoneError, match="the row in slot 0 has ended; its positions stay"):
        loop.splice(first, 6)
    loop.leave([first])
    with pytest.raises(GoneError, match="has left"):
        loop.splice(first, 6)


def test_noise_on_an_order_concerns_its_own_row(mdm: Model) -> None:
    """Rows without any are not ranked by noisy scores, whose near ties are others."""
    rows = prepare(mdm, [[1], [1], [1]], {"length": 6, "order": "confidence", "order_noise": [0.0, 1.0, 0.5]})
    loop = Loop.for_rows(mdm, rows)
    loop.join(rows)
    assert [(group.rows_G.tolist(), group.noisy) for group in loop.groups.values()] == [([0], False), ([1, 2], True)]
