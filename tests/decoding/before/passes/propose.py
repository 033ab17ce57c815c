"""Tokens out of logits: argmax, or the inverse CDF in float64, with temperature, top-k and top-p of each row's own.

    draws = Draws(temperature_N, uniforms_N, top_p_N=top_p_N)
    proposal = propose(logits_NV, draws, want={"entropy"})       # .tokens_N, .probability_N, .entropy_N

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
from collections.abc import Set
from dataclasses import dataclass

import numpy as np
import torch

from unmask.errors import UserError

BLOCK = 128  # tokens whose exponentials are summed in float32
PIECE = 1 << 18  # logits at a time, so that they stay in a core's cache from one operation to the next
NUCLEUS = 32  # likeliest tokens among which a nucleus is looked for first
BELOW_ONE = 1 - 2.0**-53  # the largest uniform
COLDEST = 1e-20  # any temperature below is this one: float32 has none smaller to divide by


@dataclass
class Draws:
    """How each of N positions is drawn; all tensors on the CPU."""

    temperature_N: torch.Tensor  # float64, 0: the likeliest token
    uniforms_N: torch.Tensor  # float64 in [0, 1); not looked at where the temperature is 0
    top_p_N: torch.Tensor | None = None  # float64: the likeliest tokens that hold this much; 1: all
    top_k_N: torch.Tensor | None = None  # int64: so many of the likeliest tokens; 0: all


@dataclass
class Proposal:
    """A token for each position, on the CPU; the rest where `want` asked for it, at temperature 1, before top-k/p."""

    tokens_N: torch.Tensor  # int64
    probability_N: torch.Tensor  # float64, of the token
    best_N: torch.Tensor | None = None  # float64, of the likeliest token
    margin_N: torch.Tensor | None = None  # float64, of the likeliest less that of the next
    entropy_N: torch.Tensor | None = None  # float64, nats
    given_N: torch.Tensor | None = None  # float64, of the ids given
    logp_NV: torch.Tensor | None = None  # float32, nats


def propose(
    logits_NV: torch.Tensor, draws: Draws, want: Set[str] = frozenset(), given_N: torch.Tensor | None = None
) -> Proposal:
    """Draws a token at every position of logits_NV (on any device; -inf bans a token).

    want: of "best", "margin", "entropy" and "logp". given_N: ids whose probability is wanted. Raises `UserError` where
    a row has NaN, +inf, or nothing but -inf.
    """
    device, logits_NV = logits_NV.device, logits_NV.float()
    tops_NK = block_maxima(logits_NV)
    top_N1 = tops_NK.amax(-1, keepdim=True)
    mass_NK, slope_N = weigh(logits_NV, top_N1, slope="entropy" in want)
    total_N1 = mass_NK.sum(-1, keepdim=True)
    if not math.isfinite(float(total_N1.sum())):
        raise UserError("the model's logits are not finite; its weights may be damaged")
    temperature_N = draws.temperature_N
    coldest, hottest = map(float, temperature_N.aminmax()) if len(temperature_N) else (0.0, 0.0)
    if coldest > 0:
        tokens_N1 = drawn_N1(logits_NV, draws, tops_NK, mass_NK)
    else:
        tokens_N1 = likeliest_N1(logits_NV, tops_NK)
        if hottest > 0:
            drawn_here_N1 = (temperature_N > 0)[:, None].to(device)
            tokens_N1 = torch.where(drawn_here_N1, drawn_N1(logits_NV, draws, tops_NK, mass_NK), tokens_N1)

    def probability_N(ids_N1: torch.Tensor) -> torch.Tensor:
        return ((logits_NV.gather(1, ids_N1).double() - top_N1).exp_() / total_N1)[:, 0].cpu()

    proposal = Proposal(tokens_N1[:, 0].cpu(), probability_N(tokens_N1))
    if given_N is not None:
        proposal.given_N = probability_N(given_N[:, None].to(device))
    if "best" in want:
        proposal.best_N = (1 / total_N1)[:, 0].cpu()
    if "margin" in want:
        proposal.margin_N = ((1 - (runner_up_N1(logits_NV, tops_NK).double() - top_N1).exp()) / total_N1)[:, 0].cpu()
    if slope_N is not None:
        proposal.entropy_N = (total_N1[:, 0].log() - slope_N / total_N1[:, 0]).cpu()
    if "logp" in want:
        proposal.logp_NV = (logits_NV - (top_N1 + total_N1.log()).float()).cpu()
    return proposal


# ------------------------------------------------------------------ the law, block by block


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
    return cdf_NW, aim_N1, torch.searchsorted(cdf_NW, aim_N1, right=True)


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
