"""What a pass looks at: the rows themselves, and what guidance compares them with.

    views = views_of(canvas, guidances, rows_R, asked_RL, block_RL, block_R, guided=[1])    # 3 views of 2 rows

The paper's guidance hides the prompt where it stands; without a prompt, or behind another one, positions move
(`rules/guidance.py`).

Shapes: B slots, R rows, U views, L positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from unmask.decoding.rules.guidance import Guidance
from unmask.decoding.state.canvas import Canvas


@dataclass
class Views:
    """First the rows, in their order, then the other views of those that are guided."""

    row_U: torch.Tensor  # index into the canvas
    kind_U: torch.Tensor  # 0: the row itself, 1: what guidance compares with
    tokens_UL: torch.Tensor
    lengths_U: torch.Tensor
    asked_UL: torch.Tensor
    block_UL: torch.Tensor
    block_U: torch.Tensor


def views_of(
    canvas: Canvas,
    guidances: Sequence[Guidance],
    rows_R: torch.Tensor,
    asked_RL: torch.Tensor,
    block_RL: torch.Tensor,
    block_R: torch.Tensor,
    guided: list[int],
) -> Views:
    """guidances: of every slot. guided: which of the R rows are."""
    own = Views(
        rows_R,
        torch.zeros_like(rows_R),
        canvas.tokens_BL[rows_R],
        canvas.lengths_B[rows_R],
        asked_RL,
        block_RL,
        block_R,
    )
    if not guided:
        return own
    rows, given_BL = rows_R[guided], canvas.given_BL
    if all(guidances[row].hides_in_place for row in rows.tolist()):
        tokens_UL = own.tokens_UL[guided].masked_fill(given_BL[rows], canvas.mask_id)
        lengths_U, asked_UL, block_UL = own.lengths_U[guided], asked_RL[guided], block_RL[guided]
    else:
        seen = []
        for row in rows.tolist():
            length = int(canvas.lengths_B[row])
            tokens, given = canvas.tokens_BL[row, :length].tolist(), given_BL[row, :length].tolist()
            seen.append(guidances[row].blind(tokens, given, int(canvas.starts_B[row]), canvas.mask_id))
        width = max(canvas.tokens_BL.shape[1], *(len(tokens) for tokens, _ in seen))
        own.tokens_UL = widen(own.tokens_UL, width, canvas.mask_id)
        own.asked_UL, own.block_UL = (widen(x, width, False) for x in (asked_RL, block_RL))
        lengths_U = torch.tensor([len(tokens) for tokens, _ in seen])
        tokens_UL = torch.full((len(seen), width), canvas.mask_id)
        for at, (tokens, _) in enumerate(seen):
            tokens_UL[at, : len(tokens)] = torch.tensor(tokens)
        shifts = [shift for _, shift in seen]
        asked_UL, block_UL = (
            torch.stack([x[at].roll(shift) for at, shift in zip(guided, shifts, strict=True)])
            for x in (own.asked_UL, own.block_UL)
        )
    return Views(
        torch.cat([own.row_U, rows]),
        torch.cat([own.kind_U, torch.ones_like(rows)]),
        torch.cat([own.tokens_UL, tokens_UL]),
        torch.cat([own.lengths_U, lengths_U]),
        torch.cat([own.asked_UL, asked_UL]),
        torch.cat([own.block_UL, block_UL]),
        torch.cat([own.block_U, block_R[guided]]),
    )


def widen(x_UL: torch.Tensor, width: int, fill: int | bool) -> torch.Tensor:
    """Padded on the right to `width` columns."""
    missing = width - x_UL.shape[1]
    return x_UL if missing <= 0 else torch.cat([x_UL, x_UL.new_full((len(x_UL), missing), fill)], dim=1)
