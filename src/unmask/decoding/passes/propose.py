"""Tokens out of logits: argmax, or the inverse CDF in float64, with temperature, top-k and top-p of each row's own.

    draws = Draws(temperature_N, uniforms_N, top_p_N=top_p_N)
    proposal = propose(logits_NV, draws)                         # .tokens_N, .probability_N

Gumbel noise in float32 lowers the effective temperature: its uniforms have no values between 1 - 6e-8 and 1, which cuts
off the tail (arXiv 2409.02908). A CDF in float64 read at one uniform per position is exact and needs no V noises. It is
read in two levels, so that a pass costs little more than one exp over the logits: float32 exponentials are summed over
blocks of the vocabulary, the sums accumulate in float64, and the block that was hit is computed again in float64.

Order of the filters as in Hugging Face's `generate`: temperature, then top-k, then top-p of what is left. Tokens as
likely as the last one kept are kept too. Probabilities are told at temperature 1 and before the filters.

Shapes: N positions (R of them), V vocabulary, K blocks of it, W tokens looked at closely.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from unmask.decoding.passes.crossing import to_host
from unmask.decoding.rules.law import BLOCK, PIECE, Law, likeliest_N1, look_into, weigh
from unmask.errors import UserError

NUCLEUS = 32  # likeliest tokens among which a nucleus is looked for first
BELOW_ONE = 1 - 2.0**-53  # the largest uniform
COLDEST = 1e-20  # any temperature below is this one: float32 has none smaller to divide by


@dataclass
class Draws:
    """How each of N positions is drawn; tensors on the CPU, but for uniforms that were sent ahead."""

    temperature_N: torch.Tensor  # float64, 0: the likeliest token
    uniforms_N: torch.Tensor  # float64 in [0, 1); not looked at where the temperature is 0
    top_p_N: torch.Tensor | None = None  # float64: the likeliest tokens that hold this much; 1: all
    top_k_N: torch.Tensor | None = None  # int64: so many of the likeliest tokens; 0: all


@dataclass
class Proposal:
    """A token for each position, on the CPU, its probability at temperature 1 before top-k and top-p."""

    tokens_N: torch.Tensor  # int64
    probability_N: torch.Tensor  # float64
    more: Sequence[torch.Tensor] = ()  # what came along


def propose(
    logits_NV: torch.Tensor, draws: Draws, law: Law | None = None, more: Sequence[torch.Tensor] = ()
) -> Proposal:
    """Draws a token at every position of logits_NV (on any device; -inf bans a token).

    law: what is known of them already. more: tensors of the device that are wanted with the tokens. Raises `UserError`
    where a row has NaN, +inf, or nothing but -inf.
    """
    law = Law(logits_NV) if law is None else law
    here = logits_NV.device.type == "cpu"
    if here:
        check_finite(law.total_N1)
    logits_NV, temperature_N = law.logits_NV, draws.temperature_N
    coldest, hottest = map(float, temperature_N.aminmax()) if len(temperature_N) else (0.0, 0.0)
    if coldest > 0:
        tokens_N1 = drawn_N1(logits_NV, draws, law.tops_NK, law.mass_NK)
    else:
        tokens_N1 = likeliest_N1(logits_NV, law.tops_NK)
        if hottest > 0:
            drawn_here_N1 = (temperature_N > 0)[:, None].to(logits_NV.device)
            tokens_N1 = torch.where(drawn_here_N1, drawn_N1(logits_NV, draws, law.tops_NK, law.mass_NK), tokens_N1)
    found = [tokens_N1[:, 0], law.probability(tokens_N1), *more]
    if not here:  # looked at once it has come along: looking there would be a wait of its own
        *found, total_N1 = to_host([*found, law.total_N1])
        check_finite(total_N1)
    return Proposal(found[0], found[1], found[2:])


def check_finite(total_N1: torch.Tensor) -> None:
    if not math.isfinite(float(total_N1.sum())):
        raise UserError("the model's logits are not finite; its weights may be damaged")


# ------------------------------------------------------------------ a draw from it


def drawn_N1(logits_NV: torch.Tensor, draws: Draws, tops_NK: torch.Tensor, mass_NK: torch.Tensor) -> torch.Tensor:
    """A token of every row from `mass_NK` (at temperature 1, everything kept) or what temperature and filters make of
    it; where the temperature is 0, anything."""
    device, plain = logits_NV.device, bool((draws.temperature_N == 1).all())
    top_N1 = tops_NK.amax(-1, keepdim=True)
    temperature_N1 = None if plain else draws.temperature_N[:, None].to(device).clamp(min=COLDEST)
    floor_N1 = cutoffs(logits_NV, draws, temperature_N1, tops_NK)
    if not plain or floor_N1 is not None:
        mass_NK = reshaped(logits_NV, draws, temperature_N1, floor_N1, top_N1, mass_NK)
    cdf_NK, aim_N1, block_N1 = read_cdf(mass_NK, draws.uniforms_N[:, None].to(device))
    inside_NW = look_into(logits_NV, block_N1)
    if floor_N1 is not None:
        inside_NW.masked_fill_(inside_NW < floor_N1, -torch.inf)
    fine_NW = inside_NW.double().sub_(top_N1)
    if temperature_N1 is not None:
        fine_NW.div_(temperature_N1)
    # How far into the block: a uniform again.
    mass_N1 = mass_NK.gather(1, block_N1)
    share_N1 = ((aim_N1 - (cdf_NK.gather(1, block_N1) - mass_N1)) / mass_N1).clamp_(0, BELOW_ONE)
    *_, at_N1 = read_cdf(fine_NW.exp_(), share_N1)
    return at_N1.add_(block_N1, alpha=BLOCK)


def read_cdf(mass_NW: torch.Tensor, uniforms_N1: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The CDF [N, W], the height at which it is read and the place where it passes that [N, 1]; that has some mass.

    A uniform is at most 1 - 2^-53, which rounds every height to below the total.
    """
    cdf_NW = mass_NW.cumsum(-1)
    aim_N1 = uniforms_N1 * cdf_NW[:, -1:]
    place_N1 = torch.searchsorted(cdf_NW, aim_N1, right=True)
    if place_N1.device.type != "cpu":  # where numbers that are none have not been found out yet
        place_N1.clamp_(max=cdf_NW.shape[1] - 1)
    return cdf_NW, aim_N1, place_N1


def reshaped(
    logits_NV: torch.Tensor,
    draws: Draws,
    temperature_N1: torch.Tensor | None,
    floor_N1: torch.Tensor | None,
    top_N1: torch.Tensor,
    mass_NK: torch.Tensor,
) -> torch.Tensor:
    """Block masses at each row's temperature with its filters; rows without either keep the masses they have."""
    other_N = (draws.temperature_N > 0) & (draws.temperature_N != 1)
    if floor_N1 is not None:
        other_N |= floor_N1.isfinite()[:, 0].cpu()
    if other_N.all():
        return weigh(logits_NV, top_N1, temperature_N1, floor_N1)[0]
    rows_R = other_N.nonzero()[:, 0].to(logits_NV.device)
    chosen = (None if column is None else column[rows_R] for column in (logits_NV, top_N1, temperature_N1, floor_N1))
    return mass_NK.index_copy(0, rows_R, weigh(*chosen)[0])  # type: ignore[arg-type]


def cutoffs(
    logits_NV: torch.Tensor, draws: Draws, temperature_N1: torch.Tensor | None, tops_NK: torch.Tensor
) -> torch.Tensor | None:
    """The logit of the last token kept by top-k and top-p, -inf for rows without; None where no row has any."""
    if draws.top_k_N is None and draws.top_p_N is None:
        return None
    drawn_N = draws.temperature_N > 0
    floor_N1 = logits_NV.new_full((len(logits_NV), 1), -torch.inf)
    found = False
    if draws.top_k_N is not None:
        rows_R = (drawn_N & (draws.top_k_N > 0) & (draws.top_k_N < logits_NV.shape[1])).nonzero()[:, 0]
        if len(rows_R):
            found = True
            k_R, rows_R = draws.top_k_N[rows_R].to(logits_NV.device), rows_R.to(logits_NV.device)
            floor_N1[rows_R] = largest(logits_NV, tops_NK, rows_R, int(k_R.max())).gather(1, k_R[:, None] - 1)
    if draws.top_p_N is not None:
        rows_R = (drawn_N & (draws.top_p_N < 1)).nonzero()[:, 0]
        if len(rows_R):
            found = True
            top_p_R1, rows_R = draws.top_p_N[rows_R, None].to(logits_NV.device), rows_R.to(logits_NV.device)
            floor_N1[rows_R] = nucleus(logits_NV, tops_NK, rows_R, top_p_R1, temperature_N1, floor_N1)
    return floor_N1 if found else None


def nucleus(
    logits_NV: torch.Tensor,
    tops_NK: torch.Tensor,
    rows_R: torch.Tensor,
    top_p_R1: torch.Tensor,
    temperature_N1: torch.Tensor | None,
    floor_N1: torch.Tensor,
) -> torch.Tensor:
    """The logit of the last of the likeliest tokens that together hold top-p of what top-k left, [R, 1].

    Looked for among a few of the likeliest first, then among all of them, sorted, some rows at a time.
    """
    top_N1 = tops_NK.amax(-1, keepdim=True)
    aim_R1 = top_p_R1 * weigh(logits_NV, top_N1, temperature_N1, floor_N1)[0].sum(-1, keepdim=True)[rows_R]

    def search(part: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Found among so many of the likeliest, for some of the rows; and for which of them these were enough."""
        here = rows_R[part]
        values_RW, floor_R1 = largest(logits_NV, tops_NK, here, width), floor_N1[here]
        held_RW = values_RW.double().sub_(top_N1[here])
        if temperature_N1 is not None:
            held_RW.div_(temperature_N1[here])
        held_RW = held_RW.exp_().masked_fill_(values_RW < floor_R1, 0.0).cumsum(-1)
        last_R1 = torch.searchsorted(held_RW, aim_R1[part])
        return values_RW.gather(1, last_R1.clamp(max=width - 1)).maximum(floor_R1), last_R1[:, 0] < width

    vocabulary = logits_NV.shape[1]
    found_R1, enough_R = search(torch.arange(len(rows_R), device=rows_R.device), min(NUCLEUS, vocabulary))
    for part in (~enough_R).nonzero()[:, 0].split(max(1, PIECE // vocabulary)):
        found_R1[part] = search(part, vocabulary)[0]
    return found_R1


def largest(logits_NV: torch.Tensor, tops_NK: torch.Tensor, rows_R: torch.Tensor, width: int) -> torch.Tensor:
    """The largest logits of these rows, sorted [R, width].

    They lie in the `width` blocks with the largest maxima, or in the short one at the end.
    """
    whole = logits_NV.shape[1] // BLOCK
    if 2 * width >= whole:
        return largest_of_all(logits_NV[rows_R], width)
    blocks_RW = tops_NK[rows_R, :whole].topk(width, sorted=False).indices
    values_RX = logits_NV[:, : whole * BLOCK].unflatten(1, (whole, BLOCK))[rows_R[:, None], blocks_RW].flatten(1)
    if whole < tops_NK.shape[1]:
        values_RX = torch.cat([values_RX, logits_NV[rows_R, whole * BLOCK :]], dim=1)
    return values_RX.topk(width).values


def largest_of_all(logits_RV: torch.Tensor, width: int) -> torch.Tensor:
    if logits_RV.is_cuda or width <= NUCLEUS:
        return logits_RV.topk(width).values
    # Sorting all by numpy's vectorised sort takes less time than `topk` for a few hundred, and a tenth of torch's sort.
    return torch.from_numpy(np.sort(logits_RV.numpy(), axis=1)).flip(1)[:, :width]
