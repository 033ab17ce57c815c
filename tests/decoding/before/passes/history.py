"""How long predictions have held still: what the KLASS quota asks (arXiv 2511.05664).

    history = History(canvas)
    history.see(row_N, position_N, logp_NV, kl_N)     # every pass, with each position's bound on the divergence
    history.held_BL                                   # passes in a row with KL(now || pass before) below it

Shapes: B rows, L positions, N positions of a pass, V vocabulary.
"""

from __future__ import annotations

import torch

from decoding.before.state.canvas import Canvas


class History:
    """Log-probabilities of the last pass, fp32, of the positions that were asked."""

    def __init__(self, canvas: Canvas) -> None:
        self.held_BL = torch.zeros(canvas.tokens_BL.shape, dtype=torch.int64)
        self.index_BL = torch.full(canvas.tokens_BL.shape, -1)
        self.logp_NV: torch.Tensor | None = None

    def see(self, row_N: torch.Tensor, position_N: torch.Tensor, logp_NV: torch.Tensor, bound_N: torch.Tensor) -> None:
        """Compares with the pass before, and takes its place."""
        before_N = self.index_BL[row_N, position_N]
        moved_N = torch.full((len(row_N),), torch.inf, dtype=torch.float64)
        known = (before_N >= 0).nonzero().flatten()
        if self.logp_NV is not None and len(known):
            now_nV, then_nV = logp_NV[known], self.logp_NV[before_N[known]]
            # Banned tokens have probability 0 in both.
            term_nV = torch.where(now_nV > -torch.inf, now_nV.exp() * (now_nV - then_nV), 0.0)
            moved_N[known] = term_nV.sum(1).double()
        held_N = self.held_BL[row_N, position_N]
        self.held_BL[row_N, position_N] = torch.where(moved_N < bound_N, held_N + 1, 0)
        self.index_BL.fill_(-1)
        self.index_BL[row_N, position_N] = torch.arange(len(row_N))
        self.logp_NV = logp_NV
