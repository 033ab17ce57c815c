"""The law of the token at each position, as statistics read it: block by block of the vocabulary, in float64.

    law = Law(logits_NV, row_N, position_N, given_N, slopes=True)
    law.best_N, law.probability(ids_N), law.slope_N

A pass costs little more than one exp over the logits: float32 exponentials are summed over blocks of the vocabulary,
the sums accumulate in float64. All is at temperature 1, on the logits' device.

Shapes: N positions, V vocabulary, K blocks of it, W tokens looked at closely.
"""

from __future__ import annotations

from functools import cached_property

import torch

BLOCK = 128  # tokens whose exponentials are summed in float32
PIECE = 1 << 18  # logits at a time, so that they stay in a core's cache from one operation to the next


NOWHERE = torch.empty(0, dtype=torch.int64)


class Law:
    """What some logits say, and of which rows and positions of the canvas they speak."""

    def __init__(
        self,
        logits_NV: torch.Tensor,
        row_N: torch.Tensor = NOWHERE,
        position_N: torch.Tensor = NOWHERE,
        given_N: torch.Tensor | None = None,
        slopes: bool = False,
        start: int = 0,
    ) -> None:
        """given_N: the tokens that stand there, where a rule asks about them, on the logits' device. slopes: `slope_N`
        will be read. start: how many of the pass's positions come before these."""
        self.start = start
        self.logits_NV, self.row_N, self.position_N, self.given_N = logits_NV.float(), row_N, position_N, given_N
        self.tops_NK = block_maxima(self.logits_NV)
        self.top_N1 = self.tops_NK.amax(-1, keepdim=True)
        self.mass_NK, self.slope_N = weigh(self.logits_NV, self.top_N1, slope=slopes)
        self.total_N1 = self.mass_NK.sum(-1, keepdim=True)

    def probability(self, ids_N1: torch.Tensor) -> torch.Tensor:
        """Of these tokens, float64 [N]."""
        return ((self.logits_NV.gather(1, ids_N1).double() - self.top_N1).exp_() / self.total_N1)[:, 0]

    @cached_property
    def best_N(self) -> torch.Tensor:
        """The probability of the likeliest token."""
        return (1 / self.total_N1)[:, 0]

    def log_probabilities(self, at: torch.Tensor | slice) -> torch.Tensor:
        """Of all tokens at some of the positions, float32 nats."""
        return self.logits_NV[at] - (self.top_N1[at] + self.total_N1[at].log()).float()


def within(rising_N: torch.Tensor, start: int, stop: int) -> slice:
    """Where the numbers from `start` to below `stop` stand among numbers of the host that rise."""
    first, last = torch.searchsorted(rising_N, torch.tensor([start, stop])).tolist()
    return slice(first, last)


def block_maxima(logits_NV: torch.Tensor) -> torch.Tensor:
    """The largest logit of each block [N, K]; NaN where there is one."""
    parts = [part_NKW.amax(-1) for part_NKW in blocks(logits_NV)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def weigh(
    logits_NV: torch.Tensor,
    top_N1: torch.Tensor,
    temperature_N1: torch.Tensor | None = None,
    floor_N1: torch.Tensor | None = None,
    slope: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """exp((logit - top) / temperature) summed over blocks, float64 [N, K], logits below the floor left out; with
    `slope` also the sum of exp(d) d, d = logit - top, over the whole row, float64 [N]."""
    rows, vocabulary = logits_NV.shape
    mass_NK = logits_NV.new_empty((rows, -(-vocabulary // BLOCK)), dtype=torch.float64)
    slope_NK = torch.empty_like(mass_NK) if slope else None
    step = max(1, rows if logits_NV.is_cuda else PIECE // vocabulary)
    buffer_nV = torch.empty_like(logits_NV[:step])
    for start in range(0, rows, step):
        part = slice(start, start + step)
        weights_nV = torch.sub(logits_NV[part], top_N1[part], out=buffer_nV[: len(top_N1[part])])
        if temperature_N1 is not None:
            weights_nV.div_(temperature_N1[part].float())
        differences_nV = None if slope_NK is None else weights_nV.clamp(min=-1000.0)  # 0 * -inf is no number
        weights_nV.exp_()
        if floor_N1 is not None:
            # Ones and zeros as float32: several times faster than a mask of bools.
            weights_nV.mul_(torch.ge(logits_NV[part], floor_N1[part], out=torch.empty_like(weights_nV)))
        sum_blocks(weights_nV, mass_NK[part])
        if differences_nV is not None and slope_NK is not None:
            sum_blocks(differences_nV.mul_(weights_nV), slope_NK[part])
    return mass_NK, None if slope_NK is None else slope_NK.sum(-1)


def sum_blocks(values_nV: torch.Tensor, out_nK: torch.Tensor) -> None:
    start = 0
    for part_nKW in blocks(values_nV):
        out_nK[:, start : start + part_nKW.shape[1]] = part_nKW.sum(-1)
        start += part_nKW.shape[1]


def blocks(values_NV: torch.Tensor) -> list[torch.Tensor]:
    """Views [N, K, W]: the whole blocks, and the shorter one at the end where there is one."""
    whole = values_NV.shape[1] // BLOCK * BLOCK
    parts = [values_NV[:, :whole].unflatten(1, (-1, BLOCK))] if whole else []
    return parts if whole == values_NV.shape[1] else [*parts, values_NV[:, None, whole:]]


def look_into(logits_NV: torch.Tensor, block_N1: torch.Tensor) -> torch.Tensor:
    """The logits of one block of each row [N, W]; -inf behind the end of the vocabulary."""
    vocabulary = logits_NV.shape[1]
    columns_NW = block_N1 * BLOCK + torch.arange(min(BLOCK, vocabulary), device=logits_NV.device)
    if vocabulary % BLOCK == 0 or vocabulary < BLOCK:
        return logits_NV.gather(1, columns_NW)
    values_NW = logits_NV.gather(1, columns_NW.clamp(max=vocabulary - 1))
    return values_NW.masked_fill_(columns_NW >= vocabulary, -torch.inf)


def likeliest_N1(logits_NV: torch.Tensor, tops_NK: torch.Tensor) -> torch.Tensor:
    """The first token with the largest logit."""
    block_N1 = tops_NK.argmax(-1, keepdim=True)
    return look_into(logits_NV, block_N1).argmax(-1, keepdim=True).add_(block_N1, alpha=BLOCK)


def runner_up_N1(logits_NV: torch.Tensor, tops_NK: torch.Tensor) -> torch.Tensor:
    """The second largest logit: of the other blocks or within the best one; -inf in a vocabulary of one."""
    block_N1 = tops_NK.argmax(-1, keepdim=True)
    others_N1 = tops_NK.scatter(1, block_N1, -torch.inf).amax(-1, keepdim=True)
    inside_NW = look_into(logits_NV, block_N1)
    rest_N1 = inside_NW.scatter(1, inside_NW.argmax(-1, keepdim=True), -torch.inf).amax(-1, keepdim=True)
    return others_N1.maximum(rest_N1)
