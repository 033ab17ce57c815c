"""Tokens out of logits: argmax, or the inverse CDF in float64, with temperature, top-k and top-p of each row's own.

    draws = Draws(temperature_N, uniforms_N, top_p_N=top_p_N)
    proposal = propose(logits_NV, draws)                         # .tokens_N, .probability_N

Gumbel noise in float32 lowers the effective temperature: its uniforms have no values between 1 - 6e-8 and 1, which cuts
off the tail (arXiv 2409.02908). A CDF in float64 read at one uniform per position is exact and needs no V noises. It is
read in two levels, so that a pass costs little more than one exp over the logits: float32 exponentials are summed over
blocks of the vocabulary, the sums accumulate in float64, and the block that was hit is computed again in float64.

What can be decided about a draw without looking at logits is decided on the host; `Draws.needed` goes to the device
ahead, with all else that a pass needs, and tokens come back in one copy. Only where a row has a top-p is there a look
on the way: whether a few of the likeliest tokens were enough.

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

from unmask.decoding.passes.crossing import to_device, to_host
from unmask.decoding.rules.law import BLOCK, PIECE, Law, likeliest_N1, look_into, weigh
from unmask.errors import UserError

NUCLEUS = 32  # likeliest tokens among which a nucleus is looked for first
BELOW_ONE = 1 - 2.0**-53  # the largest uniform
COLDEST = 1e-20  # any temperature below is this one: float32 has none smaller to divide by


class Draws:
    """How each of N positions is drawn."""

    def __init__(
        self,
        temperature_N: torch.Tensor,
        uniforms_N: torch.Tensor,
        top_p_N: torch.Tensor | None = None,
        top_k_N: torch.Tensor | None = None,
    ) -> None:
        """On the CPU: temperature_N, float64, 0: the likeliest token; top_p_N, float64: the likeliest tokens that hold
        this much, 1: all; top_k_N, int64: so many of the likeliest tokens, 0: all. uniforms_N, float64 in [0, 1), not
        looked at where the temperature is 0."""
        self.temperature_N, self.uniforms_N, self.top_p_N, self.top_k_N = temperature_N, uniforms_N, top_p_N, top_k_N
        self.needed: dict[str, torch.Tensor] = {}  # on the device
        self.there: dict[str, torch.Tensor] | None = None  # the same, there
        self.most = 0  # the largest top-k
        self.every = False  # whether the masses of all rows are others than `Law` has them
        coldest, hottest = map(float, temperature_N.aminmax()) if len(temperature_N) else (0.0, 0.0)
        self.any, self.all = hottest > 0, coldest > 0  # whether rows are drawn from at all
        if not self.any:
            return
        self.needed["uniforms"] = uniforms_N
        if not coldest == hottest == 1:
            self.needed["temperature"] = temperature_N
        elif top_p_N is None and top_k_N is None:
            return
        drawn_N = temperature_N > 0
        other_N = drawn_N & (temperature_N != 1)
        if top_k_N is not None and (limited_N := drawn_N & (top_k_N > 0)).any():
            self.needed["rows with top-k"] = rows_R = limited_N.nonzero()[:, 0]
            self.needed["top-k"] = k_R = top_k_N[rows_R]
            self.most = int(k_R.max())
            other_N |= limited_N
        if top_p_N is not None and (limited_N := drawn_N & (top_p_N < 1)).any():
            self.needed["rows with top-p"] = rows_R = limited_N.nonzero()[:, 0]
            self.needed["top-p"] = top_p_N[rows_R]
            other_N |= limited_N
        self.every = bool(other_N.all())
        if not self.every and other_N.any():
            self.needed["others"] = other_N.nonzero()[:, 0]

    def take(self, there: Sequence[torch.Tensor]) -> None:
        """What is `needed` has been sent."""
        self.there = dict(zip(self.needed, there, strict=True))

    def again(self, uniforms_N: torch.Tensor) -> Draws:
        """The same by other uniforms, which lie where the logits do."""
        if self.any and self.there is not None:
            self.there["uniforms"] = uniforms_N
        return self


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
    return brought([drawn(Law(logits_NV) if law is None else law, draws, more)])


def drawn(law: Law, draws: Draws, more: Sequence[torch.Tensor] = ()) -> list[torch.Tensor]:
    """The same where the logits are, for `brought`."""
    device = law.logits_NV.device
    if device.type == "cpu":
        check_finite(law.total_N1)
    if draws.there is None:
        draws.take(to_device(list(draws.needed.values()), device))
    if not draws.any:
        tokens_N1 = likeliest_N1(law.logits_NV, law.tops_NK)
    else:
        tokens_N1 = drawn_N1(law.logits_NV, draws, law.tops_NK, law.mass_NK)
        if not draws.all:
            assert draws.there is not None
            likeliest = likeliest_N1(law.logits_NV, law.tops_NK)
            tokens_N1 = torch.where(draws.there["temperature"][:, None] > 0, tokens_N1, likeliest)
    return [tokens_N1[:, 0], law.probability(tokens_N1), *more, law.total_N1]


def brought(pieces: Sequence[Sequence[torch.Tensor]]) -> Proposal:
    """What was drawn piece by piece, on the CPU."""
    found = list(pieces[0]) if len(pieces) == 1 else [torch.cat(column) for column in zip(*pieces, strict=True)]
    if found[0].device.type != "cpu":
        found = to_host(found)
        check_finite(found[-1])  # looked at once it has come along: looking there would be a wait of its own
    return Proposal(found[0], found[1], found[2:-1])


def check_finite(total_N1: torch.Tensor) -> None:
    if not math.isfinite(float(total_N1.sum())):
        raise UserError("the model's logits are not finite; its weights may be damaged")


# ------------------------------------------------------------------ a draw from it


def drawn_N1(logits_NV: torch.Tensor, draws: Draws, tops_NK: torch.Tensor, mass_NK: torch.Tensor) -> torch.Tensor:
    """A token of every row from `mass_NK` (at temperature 1, everything kept) or what temperature and filters make of
    it; where the temperature is 0, anything."""
    there = draws.there
    assert there is not None
    top_N1 = tops_NK.amax(-1, keepdim=True)
    temperature_N1 = there["temperature"][:, None].clamp(min=COLDEST) if "temperature" in there else None
    floor_N1 = cutoffs(logits_NV, draws, temperature_N1, tops_NK)
    if draws.every:
        mass_NK = weigh(logits_NV, top_N1, temperature_N1, floor_N1)[0]
    elif "others" in there:
        rows_R = there["others"]
        columns = logits_NV, top_N1, temperature_N1, floor_N1
        chosen = (None if column is None else column[rows_R] for column in columns)
        mass_NK = mass_NK.index_copy(0, rows_R, weigh(*chosen)[0])  # type: ignore[arg-type]
    cdf_NK, aim_N1, block_N1 = read_cdf(mass_NK, there["uniforms"][:, None])
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


def cutoffs(
    logits_NV: torch.Tensor, draws: Draws, temperature_N1: torch.Tensor | None, tops_NK: torch.Tensor
) -> torch.Tensor | None:
    """The logit of the last token kept by top-k and top-p, -inf for rows without; None where no row has any."""
    there = draws.there
    assert there is not None
    if "top-k" not in there and "top-p" not in there:
        return None
    vocabulary = logits_NV.shape[1]
    floor_N1 = logits_NV.new_full((len(logits_NV), 1), -torch.inf)
    if "top-k" in there:
        k_R1, rows_R = there["top-k"][:, None].clamp(max=vocabulary), there["rows with top-k"]
        floor_N1[rows_R] = largest(logits_NV, tops_NK, rows_R, min(draws.most, vocabulary)).gather(1, k_R1 - 1)
    if "top-p" in there:
        top_p_R1, rows_R = there["top-p"][:, None], there["rows with top-p"]
        floor_N1[rows_R] = nucleus(logits_NV, tops_NK, rows_R, top_p_R1, temperature_N1, floor_N1)
    return floor_N1


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
