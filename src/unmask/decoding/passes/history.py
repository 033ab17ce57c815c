"""How long predictions have held still: what the KLASS quota asks (arXiv 2511.05664).

    history = History(canvas, vocab_size, device)
    history.read(rows_R)                              # rows whose quota reads it
    history.see(row_N, position_N, logp_NV, kl_N)     # every pass, with each position's bound on the divergence
    history.held_BL                                   # passes in a row with KL(now || pass before) below it

Shapes: B rows, R of them, L positions, N positions of a pass, V vocabulary.
"""

from __future__ import annotations

import torch

from unmask.decoding.state.canvas import Canvas


class History:
    """Log-probabilities of a row's last pass, fp32, at the positions that were asked there, on the model's device."""

    def __init__(self, canvas: Canvas, vocab_size: int, device: torch.device) -> None:
        self.held_BL = canvas.table.positions("held", torch.int64)
        self.known_BL = canvas.table.positions("known before", torch.bool)
        self.before = canvas.table.sparse("log-probabilities before", torch.float32, vocab_size, device)

    def read(self, rows_R: torch.Tensor) -> None:
        """These rows take room for it."""
        self.before.take(rows_R)

    def see(self, row_N: torch.Tensor, position_N: torch.Tensor, logp_NV: torch.Tensor, bound_N: torch.Tensor) -> None:
        """Compares with each row's pass before, and takes its place."""
        place_N = self.before.place_B[row_N]
        moved_N = torch.full((len(row_N),), torch.inf, dtype=torch.float64)
        known = self.known_BL[row_N, position_N].nonzero().flatten()
        if len(known):
            now_nV, then_nV = logp_NV[known], self.before.values[place_N[known], position_N[known]]
            # Banned tokens have probability 0 in both.
            term_nV = torch.where(now_nV > -torch.inf, now_nV.exp() * (now_nV - then_nV), 0.0)
            moved_N[known] = term_nV.sum(1).double()
        held_N = self.held_BL[row_N, position_N]
        self.held_BL[row_N, position_N] = torch.where(moved_N < bound_N, held_N + 1, 0)
        self.known_BL[row_N] = False
        self.known_BL[row_N, position_N] = True
        self.before.values[place_N, position_N] = logp_NV
