"""A decoder run over texts that are there already: by its own rules and its own loop, with the texts' tokens.

    for item, replayed in replay(model, pairs, {"order": "margin", "steps": 16}):
        replayed.nats_L, replayed.odds, replayed.passes

Order, quota, eligibility and guidance choose positions as `generate` lets them, seeing what they would have seen; what
is written there is the text (`decoding/rules/replay.py`). Rows share passes as those of `generate` do.

Shapes: L scored tokens of a pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from unmask.decoding.loop import Loop
from unmask.decoding.options import read_requests
from unmask.decoding.prepare import prepare
from unmask.decoding.rules.registry import Chosen
from unmask.decoding.rules.replay import NATS, ODDS, TEXT, Replay
from unmask.decoding.rules.revise import Revision
from unmask.errors import UserError, nearest
from unmask.likelihood.pairs import Pair
from unmask.likelihood.passes import batch_size, check_finite
from unmask.model.folder import Model

WAYS_OUT = {
    "order": "such as top-probability, margin or left-to-right",
    "quota": "such as even or threshold",
    "eligible": "such as block",
}
# Options of a decoder whose positions can be told from what stands in the row, and why others are none.
SETTLED = ("order", "quota", "threshold", "steps", "block", "eligible", "cache", "temperature")
UNSETTLED = {
    "order_noise": "makes the order of positions random",
    "revise": "takes tokens back, so that a text can be written in many ways",
    "top_p": "leaves tokens out of what is drawn, which a text may hold",
    "top_k": "leaves tokens out of what is drawn, which a text may hold",
}


@dataclass(frozen=True, eq=False)
class Replayed:
    """nats_L: -log p of each token where the rules came to it, 0 where they did not. odds: tokens of these that the
    decoder, at temperature 0, would not have written. tokens_L: what stands there now. passes: of the network, a guided
    one counted twice."""

    nats_L: np.ndarray
    odds: int
    tokens_L: np.ndarray
    passes: int


def replay(
    model: Model,
    pairs: Sequence[Pair],
    options: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    batch_tokens: int | None = None,
    strict: bool = False,
    own: bool = False,
) -> Iterator[tuple[int, Replayed]]:
    """Each pair's number with its replay, the longest first; for masked diffusion models.

    options: of `generate`, for all pairs or one mapping each; the model's own defaults do not count. strict: a pair is
    left at the first token that the decoder would not have written. own: write the decoder's own tokens instead, which
    is `generate`. Raises `UserError` as `generate` does.
    """
    each = [options] * len(pairs) if isinstance(options, Mapping) else list(options)
    bare = replace(model, defaults={})
    for batch in chunks(model, pairs, each, batch_tokens):
        names = {name for item in batch for name in each[item]}
        given = {name: [each[item].get(name) for item in batch] for name in names}
        yield from run(bare, [pairs[item] for item in batch], given, batch, None if own else Replay(strict))


def settled(options: Mapping[str, Any]) -> None:
    """Raises `UserError` for options of a decoder that could write a text in more than one way, or not any text."""
    for name, value in options.items():
        if name in UNSETTLED and value is not None:
            raise UserError(f"decode: {name} {UNSETTLED[name]}; leave it out", field=name)
        if name not in (*SETTLED, *UNSETTLED):
            known = f"{nearest(str(name), SETTLED)}; known: {', '.join(SETTLED)}"
            raise UserError(f"decode: '{name}' is unknown{known}", field=str(name))
    (request,) = read_requests(1, "mdm", **options)
    if not request.temperature > 0:
        raise UserError("decode: temperature is 0, which writes one text alone; give one above 0", field="temperature")
    for name, chosen in (("order", request.order), ("quota", request.quota), ("eligible", request.eligible)):
        if chosen is None or not (chosen.of.chance or chosen.of.follows_draws):
            continue
        what = "draws positions" if chosen.of.chance else "looks at the tokens that are drawn"
        mend = f"give one that follows from what stands in the row, {WAYS_OUT[name]}"
        raise UserError(f"decode: {name} '{chosen.name}' {what}; {mend}", field=name)


def chunks(
    model: Model, pairs: Sequence[Pair], each: Sequence[Mapping[str, Any]], batch_tokens: int | None
) -> Iterator[list[int]]:
    """Numbers of pairs whose rows one pass can hold, the longest first."""
    room, batch = batch_size(model, batch_tokens), list[int]()
    for item in sorted(range(len(pairs)), key=lambda i: -len(pairs[i].ids_T)):
        views = 2 if each[item].get("guidance") else 1
        if batch and len(pairs[batch[0]].ids_T) * (len(batch) + 1) * views > room:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


@torch.inference_mode()
def run(
    model: Model, pairs: Sequence[Pair], given: dict[str, Any], numbers: Sequence[int], rule: Replay | None
) -> Iterator[tuple[int, Replayed]]:
    """The replays of some pairs in one loop, an option's entries one a pair."""
    options = {**given, "length": [pair.n_tokens for pair in pairs]}
    rows = prepare(model, [context(model, pair) for pair in pairs], options, trace=False)
    if rule is not None:
        revise: Chosen[Revision] = Chosen("replay", rule)
        rows = [replace(row, request=replace(row.request, revise=revise)) for row in rows]
    loop = Loop.for_rows(model, rows)
    slots = [seat.slot for seat in loop.join(rows)]
    table, canvas = loop.canvas.table, loop.canvas
    if rule is not None:
        text_BL = table.positions(TEXT, torch.int64)
        for row, pair in zip(slots, pairs, strict=True):
            text_BL[row, : len(pair.ids_T)] = torch.from_numpy(pair.ids_T)
    for _ in loop.steps():
        pass
    nats_BL, odds_B = table.positions(NATS, torch.float64), table.rows(ODDS, torch.int64)
    for number, row, pair in zip(numbers, slots, pairs, strict=True):
        new = slice(pair.start, len(pair.ids_T))
        nats_L = nats_BL[row, new].numpy().copy()
        check_finite(model, nats_L)
        tokens_L = canvas.tokens_BL[row, new].numpy().copy()
        yield number, Replayed(nats_L, int(odds_B[row]), tokens_L, int(canvas.nfe_B[row]))


def context(model: Model, pair: Pair) -> list[int] | None:
    """As a prompt of `generate`, which puts the start of a document before an empty one itself."""
    given = pair.ids_T[: pair.start].tolist()
    if not given:
        return None
    return [] if not pair.prompt and given == [model.start_id] else given
