"""From a row's request to what it may write and where it ends.

    read_conditions(model, limits, endings, rows, requests, word_starts)

Forced tokens are written here, before the first pass. See `limits` and `endings` for what the rest becomes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from unmask.decoding.limits.constraints import Constraints, Run, read_constraints
from unmask.decoding.limits.endings import Endings
from unmask.decoding.limits.limits import Limits
from unmask.decoding.options import Request
from unmask.decoding.prompts import tokens_with_a_space
from unmask.decoding.state.canvas import Canvas
from unmask.model.folder import Model


def read_conditions(
    model: Model,
    limits: Limits,
    endings: Endings,
    rows: Sequence[int],
    requests: Sequence[Request],
    word_starts: Sequence[list[int]],
) -> None:
    """Limits and endings of rows of a canvas. Raises `UserError` for conditions that contradict each other.

    word_starts: positions, row by row, of the first token of gaps that stand for a space as well.
    """
    canvas, eos_ids = limits.canvas, endings.eos_ids
    of_rows = list(zip(rows, requests, word_starts, strict=True))
    found = [read_row(model, canvas, row, request, eos_ids, starts) for row, request, starts in of_rows]
    begins_V = tokens_with_a_space(model) if any(word_starts) else None
    for (row, _, starts), conditions in zip(of_rows, found, strict=True):
        position_N = canvas.new_BL[row].nonzero().flatten().tolist()
        limits.ban(row, sorted(conditions.banned))
        for offset, token in conditions.forced.items():
            canvas.force(row, position_N[offset], token)
        for offsets, span in conditions.spans:
            limits.span(row, [position_N[offset] for offset in offsets], span)
        if starts and begins_V is not None:
            limits.begin(row, starts, begins_V)
    modes, revises = [request.eos for request in requests], [request.revise is not None for request in requests]
    endings.join(torch.tensor(rows), modes, revises, [conditions.stops for conditions in found])


def read_row(
    model: Model, canvas: Canvas, row: int, request: Request, eos_ids: Sequence[int], word_starts: list[int]
) -> Constraints:
    banned = request.banned if request.eos != "suppress" else (*request.banned, *eos_ids)
    return read_constraints(
        model.tokenizer,
        model.config.vocab_size,
        runs_of(model, canvas, row, request, eos_ids, word_starts),
        banned=banned,
        forced=request.forced,
        pattern=request.pattern,
        choices=request.choices,
        stop=request.stop,
    )


def runs_of(
    model: Model, canvas: Canvas, row: int, request: Request, eos_ids: Sequence[int], word_starts: list[int]
) -> list[Run]:
    """The gaps of a row, and its continuation, which alone may end early and is free where there are gaps to spell."""
    start, added = int(canvas.starts_B[row]), int(canvas.added_B[row])
    ends = () if request.eos == "suppress" else tuple(eos_ids)
    known = model.tokenizer
    position_N = canvas.new_BL[row].nonzero().flatten()
    apart = torch.tensor([start, *word_starts])  # gaps behind one another in the text have no token between
    begins_N = torch.ones_like(position_N, dtype=torch.bool)
    begins_N[1:] = (position_N[1:] != position_N[:-1] + 1) | torch.isin(position_N[1:], apart)
    firsts = position_N[begins_N].tolist()
    lengths = torch.bincount(begins_N.cumsum(0) - 1).tolist() if firsts else []
    return [
        Run(
            length,
            spells=first < start or firsts[0] >= start,
            eos_ids=ends if first >= start else (),
            takes_space=first in word_starts,
            begins_text=first == added or not (known and known.spelled(canvas.tokens_BL[row, added:first].tolist())),
        )
        for first, length in zip(firsts, lengths, strict=True)
    ]
