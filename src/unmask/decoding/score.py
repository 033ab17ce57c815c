"""One pass of a masked diffusion model over some rows of a canvas, with or without guidance; the head afterwards.

    scores = score(network, canvas, turn.rows_R, asked_RL, guidance=0.5)
    for part, logits_nV in scores.chunks(): ...

Unsupervised classifier-free guidance (arXiv 2410.18514): logits = u + (1 + w)(c - u), where c sees the prompt and u
sees every prompt position replaced by the mask, positions kept; both in one batch. w = 0, and rows without a prompt,
are not doubled. The last layer and the head run only at the positions asked for, the head at some of them at a time,
so that N x V logits in float64 never stand in memory at once.

Shapes: R rows, L positions, N positions asked for (n of them at a time), E width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from unmask.decoding.canvas import Canvas
from unmask.model.transformer import Transformer

LOGITS_AT_ONCE = 1 << 24


@dataclass
class Scores:
    """Hidden states at the positions asked for, row by row, left to right."""

    network: Transformer
    hidden_NE: torch.Tensor
    guidance: float
    guided_N: torch.Tensor | None  # bool; None: no row is guided
    blind_NE: torch.Tensor | None  # without the prompt; rows that are not guided hold anything

    def chunks(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """Pieces of 0..N with their logits_nV."""
        size = max(1, LOGITS_AT_ONCE // self.network.config.vocab_size)
        for start in range(0, len(self.hidden_NE), size):
            part = slice(start, start + size)
            yield part, self.logits(part)

    def logits(self, part: slice) -> torch.Tensor:
        c_nV = self.network.head(self.hidden_NE[part])
        if self.guided_N is None or self.blind_NE is None:
            return c_nV
        u_nV = self.network.head(self.blind_NE[part])
        return torch.where(self.guided_N[part, None], u_nV + (1 + self.guidance) * (c_nV - u_nV), c_nV)


def score(
    network: Transformer, canvas: Canvas, rows_R: torch.Tensor, asked_RL: torch.Tensor, guidance: float
) -> Scores:
    """Runs the network once over the rows and counts it in the canvas."""
    device, mask_id = network.embedding.weight.device, network.config.mask_id
    assert mask_id is not None
    length = int(canvas.lengths_B[rows_R].max())
    tokens_RL = canvas.tokens_BL[rows_R, :length]
    given_RL = canvas.given_BL[rows_R, :length]
    keys_RL = canvas.inside_BL[rows_R, :length]
    guided_R = given_RL.any(1) if guidance != 0 else torch.zeros(len(rows_R), dtype=torch.bool)
    canvas.nfe_B[rows_R] += 1 + guided_R.long()
    canvas.passes += 1

    guided = bool(guided_R.any())
    batch, keys = tokens_RL, keys_RL
    if guided:
        hidden_prompt = tokens_RL.masked_fill(given_RL, mask_id)[guided_R]
        batch, keys = torch.cat([tokens_RL, hidden_prompt]), torch.cat([keys_RL, keys_RL[guided_R]])
    key_mask = None if bool(keys.all()) else keys.to(device)
    row_N, position_N = asked_RL[:, :length].nonzero(as_tuple=True)
    places = [row_N * length + position_N]
    if guided:
        twin_R = len(rows_R) + guided_R.cumsum(0) - 1
        twin_N = torch.where(guided_R, twin_R, torch.zeros_like(twin_R))[row_N]
        places.append(twin_N * length + position_N)
    hidden = network.hidden(batch.to(device), key_mask_BS=key_mask, at_N=torch.cat(places).to(device))
    hidden_NE, *blind_NE = hidden.split(len(row_N)) if len(row_N) else (hidden, hidden)
    scores = Scores(network, hidden_NE, guidance, None, None)
    if guided:
        scores.guided_N, scores.blind_NE = guided_R[row_N].to(device), blind_NE[0]
    return scores
