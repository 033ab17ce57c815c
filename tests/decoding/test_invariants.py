"""What holds whatever the rules: random combinations on the oracle, a hundred in `make test` and a thousand beside it.

Prompts are left alone, no mask is left, the trace tells all, quotas and passes keep their bounds, blocks their order;
banned tokens are absent and forced ones in place; rows end where their rule says; and nothing depends on neighbours.
"""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decoding.oracle import Chain, oracle
from unmask.decoding import ORDERS, Generation, generate

V, EOS, CONTEXT = 5, 0, 24
MASK = V
MODEL = oracle(Chain.of_offsets(V, [0.5, 0.3, 0.15], 0.02), context=CONTEXT, eos_id=EOS)
JUDGED = ("confidence", "margin", "entropy", "high-entropy")
OWN_QUOTA = ("ancestral", "first-hitting")
FIXED = (None, "paper", "even")
ADAPTIVE = ("threshold:0.6", "threshold:1", "factor:1.2", "entropy-bounded:0.7", "klass:threshold=0.5,kl=0.05")
REMASKING = ("remdm-cap:0.3", "remdm-rescale:0.4", "remdm-conf", "remdm-loop:0.2")
EDITS = 3
CACHES = (None, "reuse", "prefix", "dual", "prefix:1", "dual:2")
NAMES = (
    *("length", "steps", "order", "quota", "block", "revise", "guidance", "guidance_mode", "guidance_schedule"),
    *("guidance_interval", "temperature", "top_p", "top_k", "order_noise", "cache", "eos", "banned", "forced"),
)

Request = dict[str, Any]


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """A row's prompt and options that go together."""
    order = draw(st.sampled_from(list(ORDERS)))
    length = draw(st.integers(0, 12))
    prompt = draw(st.lists(st.integers(0, MASK), max_size=8))
    if not length and MASK not in prompt:
        prompt.append(MASK)
    new = length + prompt.count(MASK)
    quota = None if order in OWN_QUOTA else draw(st.sampled_from(FIXED + ADAPTIVE))
    block = draw(st.sampled_from([None, None, 1, 3, 5, 40]))
    fixed = quota in FIXED and order != "first-hitting"
    revisions = [None, None, f"edit:threshold=0.5,passes={EDITS}"]
    revisions += REMASKING if fixed else ()
    revisions += ["p2", "p2:2"] if fixed and order in JUDGED else []
    blocks = -(-new // (block or new))
    steps = None if order == "first-hitting" else draw(st.one_of(st.none(), st.integers(blocks, blocks + 15)))
    mode = draw(st.sampled_from(["mask", "drop"])) if MASK not in prompt else "mask"
    low, high = sorted(draw(st.tuples(*[st.sampled_from([0.0, 0.3, 0.8, 1.0])] * 2)))
    forced = draw(st.dictionaries(st.integers(0, new - 1), st.integers(0, V - 1), max_size=2))
    eos = draw(st.sampled_from(["fill", "truncate", "stop", "suppress"]))
    banned = set(draw(st.lists(st.integers(0, V - 1), max_size=2))) - set(forced.values())
    if eos == "suppress":
        forced = {place: token for place, token in forced.items() if token != EOS}
    return {
        "prompt": prompt,
        "length": length,
        "steps": steps,
        "order": order,
        "quota": quota,
        "block": block,
        "revise": draw(st.sampled_from(revisions)),
        "guidance": draw(st.sampled_from([0.0, 0.0, 0.7, -0.5])),
        "guidance_mode": mode,
        "guidance_schedule": draw(st.sampled_from(["constant", "linear"])),
        "guidance_interval": (low, high),
        "temperature": draw(st.sampled_from([0.0, 0.5, 1.0])),
        "top_p": draw(st.sampled_from([None, 0.8])),
        "top_k": draw(st.sampled_from([None, 1, 3])),
        "order_noise": draw(st.sampled_from([0.0, 1.0])) if order in JUDGED else 0.0,
        "cache": draw(st.sampled_from(CACHES)),
        "eos": eos,
        "banned": sorted(banned) or None,
        "forced": forced or None,
    }


ANY = given(rows=st.lists(requests(), min_size=1, max_size=3), seed=st.integers(0, 2**40))


@settings(max_examples=100)
@ANY
def test_a_hundred_combinations_of_rules(rows: list[Request], seed: int) -> None:
    check(rows, seed)


@pytest.mark.slow
@settings(max_examples=1000)
@ANY
def test_a_thousand_combinations_of_rules(rows: list[Request], seed: int) -> None:
    check(rows, seed)


def check(rows: list[Request], seed: int) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="guidance has no effect")
        columns = {name: [request[name] for request in rows] for name in NAMES}
        found = generate(MODEL, [request["prompt"] for request in rows], seed=seed, **columns)
        last = len(rows) - 1
        single = {name: column[last:] for name, column in columns.items()}
        alone = generate(MODEL, [rows[last]["prompt"]], seed=[(seed, last)], **single)
    for request, g in zip(rows, found, strict=True):
        # Behind an empty prompt a document begins; what follows looks at the rest of the row.
        if not request["prompt"]:
            request["prompt"], request["added"] = [EOS], 1
        new = [i for i, token in enumerate(request["prompt"]) if token == MASK]
        new += range(len(request["prompt"]), len(request["prompt"]) + request["length"])
        check_tokens(request, g, new)
        check_ending(request, g, new)
        replay(request, g, new)
        check_passes(request, g, new)
    assert (alone[0].tokens, alone[0].trace, alone[0].probabilities, alone[0].nfe) == (
        *(found[last].tokens, found[last].trace, found[last].probabilities, found[last].nfe),
    )


def check_tokens(request: Request, g: Generation, new: list[int]) -> None:
    """The prompt untouched, no mask left, nothing banned, what is forced."""
    places = {position: place for place, position in enumerate(new)}
    forced = request["forced"] or {}
    banned = set(request["banned"] or []) | ({EOS} if request["eos"] == "suppress" else set())
    assert g.positions == [position for position in new if position < len(g.canvas)]
    assert g.tokens == [g.canvas[position] for position in g.positions]
    for position, token in enumerate(g.canvas):
        assert 0 <= token < V
        if position not in places:
            assert token == request["prompt"][position]
        elif places[position] in forced:
            assert token == forced[places[position]]
        else:
            assert token not in banned
    assert all(0 < p <= 1 for p in g.probabilities)


def check_ending(request: Request, g: Generation, new: list[int]) -> None:
    """Rows end behind their first end of sequence, or not at all; each says why."""
    start = len(request["prompt"])
    assert g.canvas[: request.get("added", 0)] == [EOS] * request.get("added", 0)
    behind = g.canvas[start:]
    ended = EOS in behind
    if request["eos"] in ("truncate", "stop"):
        assert len(behind) == (behind.index(EOS) + 1 if ended else request["length"])
    else:
        assert len(behind) == request["length"]
    assert g.stopped == ("eos" if ended else "length" if request["length"] else "filled")


def replay(request: Request, g: Generation, new: list[int]) -> None:
    """The trace in order: masks are filled, tokens go only by revision, block after block, at last the canvas."""
    assert g.trace is not None
    forced = {new[place] for place in request["forced"] or {}}
    canvas = {position: MASK for position in new if position not in forced}
    size = request["block"] or len(new)
    block_of = {position: rank // size for rank, position in enumerate(new)}
    revise = request["revise"] or ""
    at_step, at_block = 0, 0
    for event in g.trace:
        position, token = event["position"], event["token"]
        assert position in canvas and event["step"] >= at_step and block_of[position] >= at_block
        at_step, at_block = event["step"], block_of[position]
        if token == MASK:
            assert canvas[position] != MASK and event["probability"] == 0.0
            assert revise.startswith(("remdm", "p2"))
        else:
            assert canvas[position] == MASK or (revise.startswith("edit") and canvas[position] != token)
            assert event["probability"] > 0.0
        canvas[position] = token
    assert all(canvas[position] == g.canvas[position] for position in g.positions if position not in forced)


def check_passes(request: Request, g: Generation, new: list[int]) -> None:
    """Passes within their bound; without revision every step writes what its quota says, or at least one."""
    assert g.trace is not None
    masks = len(new) - len(request["forced"] or {})
    size = request["block"] or len(new)
    blocks = -(-len(new) // size)
    revise = request["revise"] or ""
    adaptive = request["quota"] in ADAPTIVE or request["order"] == "first-hitting"
    steps = request["steps"] or (masks if adaptive else max(min(masks, 128), blocks))
    given = any(token != MASK for token in request["prompt"][request.get("added", 0) :])
    most = steps if revise.startswith(("remdm", "p2")) else min(steps, masks)
    most += EDITS * blocks if revise.startswith("edit") else 0
    assert g.nfe <= most * (2 if request["guidance"] and given else 1)
    assert g.tokens_per_pass is None or g.nfe == 0 or g.tokens_per_pass == len(g.tokens) / g.nfe
    if revise:
        return
    written = Counter(event["step"] for event in g.trace)
    cut = len(g.positions) < len(new) or request["eos"] == "stop"
    if request["order"] == "first-hitting":
        assert set(written.values()) <= {1}
    elif request["quota"] in FIXED and request["order"] != "ancestral":
        expected = fixed_counts(request, new, steps, size)
        for step, count in written.items():
            assert count == expected[step] or (cut and count <= masks)
        assert cut or written == expected
    elif not cut:
        assert all(0 <= step < max(steps, 1) for step in written) and sum(written.values()) == masks
    if not request["guidance"]:
        assert g.nfe == len(written) or (request["cache"] == "reuse" and g.nfe <= len(written))


def fixed_counts(request: Request, new: list[int], steps: int, size: int) -> Counter[int]:
    """How many tokens each step writes: block by block, the first blocks with a step more."""
    blocks = [range(first, min(first + size, len(new))) for first in range(0, len(new), size)]
    counts: Counter[int] = Counter()
    first = 0
    for number, block in enumerate(blocks):
        n = sum(place not in (request["forced"] or {}) for place in block)
        own = steps // len(blocks) + (number < steps % len(blocks))
        t = torch.linspace(1, 1e-5, own + 1)
        for step in range(own):
            if step == own - 1:
                k = n
            elif request["quota"] == "even":
                k = -(-n // (own - step))
            else:
                k = int(n * (1 - t[step + 1] / t[step]))
            counts[first + step] += k
            n -= k
        first += own
    return +counts
