"""The canvas: a batch of rows with given tokens and positions still to be filled.

    canvas = Canvas.of([[5, 7, mask_id], [9]], [4, 4], mask_id=mask_id, seeds=[(0, 0), (0, 1)])
    canvas.commit(rows_R, chosen_RL, tokens_RL, probability_RL, step_R)

A row is its prompt, in which mask tokens are blanks, followed by `length` new positions; shorter rows are padded on
the right. The canvas lives on the CPU: only tokens go to the model's device and only proposals come back. A ``watch``
callback is given the canvas itself after every pass, to be read, not written.

Shapes: B rows, L positions, R rows taking part in a pass.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch


class Canvas:
    """State of a batch while it is filled; all tensors are [B, L] or [B] and lie on the CPU."""

    def __init__(
        self,
        tokens_BL: torch.Tensor,
        new_BL: torch.Tensor,
        lengths_B: torch.Tensor,
        starts_B: torch.Tensor,
        mask_id: int,
        added_B: torch.Tensor | None = None,
    ) -> None:
        rows = len(tokens_BL)
        self.mask_id = mask_id
        self.tokens_BL = tokens_BL
        self.new_BL = new_BL  # positions this call fills
        self.open_BL = new_BL.clone()  # those of them not filled now
        self.forced_BL = torch.zeros_like(new_BL)  # those filled by the caller's word
        self.lengths_B = lengths_B  # a row's positions; beyond lies padding
        self.starts_B = starts_B  # where a row's continuation begins: the length of its prompt
        # How many tokens of it the caller did not give: the end of sequence behind which a text begins.
        self.added_B = torch.zeros_like(starts_B) if added_B is None else added_B
        self.rank_BL = new_BL.cumsum(1) - 1  # index among the row's new positions; meaningless elsewhere
        self.probability_BL = torch.zeros(tokens_BL.shape, dtype=torch.float64)
        self.step_BL = torch.full(tokens_BL.shape, -1)
        self.nfe_B = torch.zeros(rows, dtype=torch.int64)
        self.computed_B = torch.zeros(rows, dtype=torch.int64)  # token positions the network ran for the row
        self.passes = 0  # passes of the batch so far; a guided pass counts once here, twice in nfe_B
        self.seeds: list[tuple[int, int]] = [(0, row) for row in range(rows)]
        self.ended: list[str | None] = [None] * rows  # why a row ended before its length
        self.trace: list[list[dict[str, Any]]] | None = None
        self.done = False
        self.started = time.perf_counter()
        self.first_B = torch.full((rows,), -1.0, dtype=torch.float64)  # seconds until the first commit
        self.finished_B = torch.full((rows,), -1.0, dtype=torch.float64)  # and until the last one

    @classmethod
    def of(
        cls,
        prompts: Sequence[Sequence[int]],
        lengths: Sequence[int],
        mask_id: int,
        seeds: Sequence[tuple[int, int]] | None = None,
        trace: bool = False,
        added: Sequence[int] | None = None,
    ) -> Canvas:
        """Rows of `prompts` (in which `mask_id` marks a blank), each followed by so many new positions."""
        starts_B = torch.tensor([len(prompt) for prompt in prompts])
        lengths_B = starts_B + torch.tensor(list(lengths))
        tokens_BL = torch.full((len(prompts), int(lengths_B.max())), mask_id)
        for row, prompt in enumerate(prompts):
            tokens_BL[row, : len(prompt)] = torch.tensor(prompt, dtype=torch.int64)
        inside_BL = torch.arange(tokens_BL.shape[1]) < lengths_B[:, None]
        added_B = None if added is None else torch.tensor(list(added))
        canvas = cls(tokens_BL, inside_BL & (tokens_BL == mask_id), lengths_B, starts_B, mask_id, added_B)
        if seeds is not None:
            canvas.seeds = list(seeds)
        if trace:
            canvas.trace = [[] for _ in prompts]
        return canvas

    @property
    def rows(self) -> torch.Tensor:
        """0 .. B - 1."""
        return torch.arange(len(self.tokens_BL))

    @property
    def given_BL(self) -> torch.Tensor:
        """Positions of the prompt that hold a token of the caller's: what guidance hides, in `score` as here."""
        theirs_BL = torch.arange(self.tokens_BL.shape[1]) >= self.added_B[:, None]
        return self.inside_BL & ~self.new_BL & theirs_BL

    @property
    def inside_BL(self) -> torch.Tensor:
        return torch.arange(self.tokens_BL.shape[1]) < self.lengths_B[:, None]

    def commit(
        self,
        rows_R: torch.Tensor,
        chosen_RL: torch.Tensor,
        tokens_RL: torch.Tensor,
        probability_RL: torch.Tensor,
        step_R: torch.Tensor,
    ) -> None:
        """Writes the proposed tokens at the chosen positions; `step_R` is each row's own step."""
        at_N, position_N = chosen_RL.nonzero(as_tuple=True)
        if not len(at_N):
            return
        row_N = rows_R[at_N]
        self.write(row_N, position_N, tokens_RL[at_N, position_N], probability_RL[at_N, position_N], step_R[at_N])

    def write(
        self,
        row_N: torch.Tensor,
        position_N: torch.Tensor,
        tokens_N: torch.Tensor,
        probability_N: torch.Tensor,
        step_N: torch.Tensor,
    ) -> None:
        """Commits N tokens, each at its row and position."""
        self.tokens_BL[row_N, position_N] = tokens_N
        self.probability_BL[row_N, position_N] = probability_N
        self.step_BL[row_N, position_N] = step_N
        self.open_BL[row_N, position_N] = False
        now = time.perf_counter() - self.started
        self.first_B[row_N] = torch.where(self.first_B[row_N] < 0, now, self.first_B[row_N])
        self.finished_B[row_N] = now
        self._record(row_N, step_N, position_N, tokens_N, probability_N)

    def remask(self, rows_R: torch.Tensor, chosen_RL: torch.Tensor, step_R: torch.Tensor) -> None:
        """Opens committed positions again."""
        at_N, position_N = chosen_RL.nonzero(as_tuple=True)
        if not len(at_N):
            return
        row_N = rows_R[at_N]
        self.tokens_BL[row_N, position_N] = self.mask_id
        self.probability_BL[row_N, position_N] = 0.0
        self.step_BL[row_N, position_N] = -1
        self.open_BL[row_N, position_N] = True
        masks_N = torch.full_like(row_N, self.mask_id)
        self._record(row_N, step_R[at_N], position_N, masks_N, torch.zeros(len(row_N), dtype=torch.float64))

    def force(self, row: int, position: int, token: int) -> None:
        """Fills a new position by the caller's word: never asked for, never revised."""
        self.tokens_BL[row, position] = token
        self.probability_BL[row, position] = 1.0
        self.open_BL[row, position] = False
        self.forced_BL[row, position] = True

    def _record(self, row_N: torch.Tensor, *columns: torch.Tensor) -> None:
        if self.trace is None:
            return
        for row, *values in zip(row_N.tolist(), *(column.tolist() for column in columns), strict=True):
            self.trace[row].append(dict(zip(("step", "position", "token", "probability"), values, strict=True)))

    def first_eos_B(self, eos_ids: Sequence[int]) -> torch.Tensor:
        """Position of the first end-of-sequence token filled in behind each prompt; L where there is none."""
        length = self.tokens_BL.shape[1]
        position_L = torch.arange(length)
        behind_BL = self.new_BL & ~self.open_BL & (position_L >= self.starts_B[:, None])
        ends_BL = torch.isin(self.tokens_BL, torch.tensor(eos_ids, dtype=torch.int64))
        return torch.where(behind_BL & ends_BL, position_L, length).amin(1)

    def settled_B(self) -> torch.Tensor:
        """Each row's first open position, up to which its text is settled; L where nothing is open."""
        length = self.tokens_BL.shape[1]
        return torch.where(self.open_BL, torch.arange(length), length).amin(1)

    def cut(self, row: int, length: int, why: str) -> None:
        """Drops a row's positions from `length` on."""
        self.lengths_B[row] = length
        self.new_BL[row, length:] = False
        self.open_BL[row, length:] = False
        self.ended[row] = why
