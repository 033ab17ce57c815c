"""The canvas: a batch of rows with given tokens and positions still to be filled.

    canvas = Canvas.of([[5, 7, mask_id], [9]], length=4, mask_id=mask_id, seeds=[(0, 0), (0, 1)])
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
        self, tokens_BL: torch.Tensor, new_BL: torch.Tensor, lengths_B: torch.Tensor, starts_B: torch.Tensor
    ) -> None:
        self.tokens_BL = tokens_BL
        self.new_BL = new_BL  # positions this call fills
        self.open_BL = new_BL.clone()  # those of them not filled yet
        self.lengths_B = lengths_B  # a row's positions; beyond lies padding
        self.starts_B = starts_B  # where a row's continuation begins: the length of its prompt
        self.rank_BL = new_BL.cumsum(1) - 1  # index among the row's new positions; meaningless elsewhere
        self.probability_BL = torch.zeros(tokens_BL.shape, dtype=torch.float64)
        self.step_BL = torch.full(tokens_BL.shape, -1)
        self.nfe_B = torch.zeros(len(tokens_BL), dtype=torch.int64)
        self.computed_B = torch.zeros(len(tokens_BL), dtype=torch.int64)  # token positions the network ran for the row
        self.passes = 0  # passes of the batch so far; a guided pass counts once here, twice in nfe_B
        self.seeds: list[tuple[int, int]] = [(0, row) for row in range(len(tokens_BL))]
        self.trace: list[list[dict[str, Any]]] | None = None
        self.done = False
        self.started = time.perf_counter()
        self.first_B = torch.full((len(tokens_BL),), -1.0, dtype=torch.float64)  # seconds until the first commit
        self.finished_B = torch.full((len(tokens_BL),), -1.0, dtype=torch.float64)  # and until the row was done

    @classmethod
    def of(
        cls,
        prompts: Sequence[Sequence[int]],
        length: int,
        mask_id: int,
        seeds: Sequence[tuple[int, int]] | None = None,
        trace: bool = False,
    ) -> Canvas:
        """Rows of `prompts` (in which `mask_id` marks a blank), each followed by `length` new positions."""
        starts_B = torch.tensor([len(prompt) for prompt in prompts])
        lengths_B = starts_B + length
        tokens_BL = torch.full((len(prompts), int(lengths_B.max())), mask_id)
        for row, prompt in enumerate(prompts):
            tokens_BL[row, : len(prompt)] = torch.tensor(prompt, dtype=torch.int64)
        inside_BL = torch.arange(tokens_BL.shape[1]) < lengths_B[:, None]
        canvas = cls(tokens_BL, inside_BL & (tokens_BL == mask_id), lengths_B, starts_B)
        if seeds is not None:
            canvas.seeds = list(seeds)
        if trace:
            canvas.trace = [[] for _ in prompts]
        return canvas

    @property
    def given_BL(self) -> torch.Tensor:
        """Positions of the prompt that hold a token: what guidance hides."""
        return self.inside_BL & ~self.new_BL

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
        row_N = rows_R[at_N]
        self.tokens_BL[row_N, position_N] = tokens_RL[at_N, position_N]
        self.probability_BL[row_N, position_N] = probability_RL[at_N, position_N]
        self.step_BL[row_N, position_N] = step_R[at_N]
        self.open_BL[row_N, position_N] = False
        now = time.perf_counter() - self.started
        self.first_B[row_N] = torch.where(self.first_B[row_N] < 0, now, self.first_B[row_N])
        self.finished_B[row_N] = now
        if self.trace is not None:
            columns = (step_R[at_N], position_N, tokens_RL[at_N, position_N], probability_RL[at_N, position_N])
            for row, *values in zip(row_N.tolist(), *(column.tolist() for column in columns), strict=True):
                self.trace[row].append(dict(zip(("step", "position", "token", "probability"), values, strict=True)))

    def first_eos_B(self, eos_id: int) -> torch.Tensor:
        """Position of the first end-of-sequence token filled in behind each prompt; L where there is none."""
        length = self.tokens_BL.shape[1]
        position_L = torch.arange(length)
        behind_BL = self.new_BL & ~self.open_BL & (position_L >= self.starts_B[:, None])
        return torch.where(behind_BL & (self.tokens_BL == eos_id), position_L, length).amin(1)

    def close_ended(self, eos_id: int) -> None:
        """Ends rows whose text is settled: nothing open before their first end of sequence. The rest is cut."""
        length = self.tokens_BL.shape[1]
        eos_B = self.first_eos_B(eos_id)
        open_B = torch.where(self.open_BL, torch.arange(length), length).amin(1)
        ended_B = (eos_B < length) & (eos_B < open_B)
        self.open_BL[ended_B] = False
        self.lengths_B = torch.where(ended_B, eos_B + 1, self.lengths_B)
        self.new_BL &= self.inside_BL
