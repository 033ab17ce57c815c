"""From a pass's hidden states to logits: the head, some positions at a time, and guidance.

    scores = scorer(rows_R, asked_RL, block_RL, block_R, w_R)
    for part, logits_nV in scores.chunks(): ...

The head runs at the positions asked for only, and so that N x V logits never stand in memory at once. Which of them are
guided is known on the host before the pass, so that nothing is looked at on the device.

Shapes: N positions asked for (n of them at a time), M guided ones, E width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from unmask.decoding.rules.law import within
from unmask.model.backbone import Backbone, predictions

LOGITS_AT_ONCE = 1 << 24


def pieces(count: int, vocab_size: int) -> list[slice]:
    """0..N in parts whose logits may stand in memory."""
    size = max(1, LOGITS_AT_ONCE // vocab_size)
    return [slice(start, start + size) for start in range(0, count, size)]


@dataclass
class Blind:
    """Hidden states of what guidance compares with, of the guided positions in their order; on the device."""

    hidden_ME: torch.Tensor
    w_M: torch.Tensor  # fp32
    at_M: torch.Tensor | None  # which of the N these are; None: all
    here_M: torch.Tensor | None  # the same, on the host


@dataclass
class Scores:
    """Hidden states at the positions asked for, row by row, left to right."""

    network: Backbone
    hidden_NE: torch.Tensor
    blind: Blind | None = None

    def chunks(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """Pieces of 0..N with their logits_nV."""
        for part in pieces(len(self.hidden_NE), self.network.config.vocab_size):
            yield part, self.logits(part)

    def logits(self, part: slice) -> torch.Tensor:
        c_nV, blind = predictions(self.network, self.hidden_NE[part]), self.blind
        if blind is None:
            return c_nV
        if blind.at_M is None or blind.here_M is None:
            u_nV = predictions(self.network, blind.hidden_ME[part])
            return u_nV + (1 + blind.w_M[part, None]) * (c_nV - u_nV)
        guided = within(blind.here_M, part.start, part.stop)
        at_m = blind.at_M[guided] - part.start
        u_mV = predictions(self.network, blind.hidden_ME[guided])
        return c_nV.index_copy_(0, at_m, u_mV + (1 + blind.w_M[guided, None]) * (c_nV[at_m] - u_mV))
