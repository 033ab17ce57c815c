"""How many positions a pass commits: the quotas.

    generate(model, prompts, order="confidence", quota="threshold:0.9", steps=64)

Fixed quotas know the number before the pass, from the step:

paper            k = int(n (1 - s/t)), n the masks left, t = linspace(1, 1e-5, steps + 1) in fp32 (arXiv 2410.18514)
even             the same number each step, the first ones one more (LLaDA, arXiv 2502.09992)

Adaptive ones read it from the proposals, ranked by the order; c is the largest probability of a position, H its
entropy in nats. At least one position is committed; `steps`, where given, bounds the passes, and a row that falls
behind commits as many more as it must:

threshold        every c > tau (Fast-dLLM, arXiv 2505.22618); tau 0.9
factor           the longest prefix with (k + 1)(1 - c_k) < f (the same); f = 1
entropy-bounded  the longest prefix with (sum of H) - (max of H) <= gamma (arXiv 2505.24857); gamma 0.1
klass            every c > tau whose prediction held still: KL(now || pass before) < kl for `history` passes
                 (arXiv 2511.05664); tau 0.9, kl 0.01, history 2

Shapes: R rows, K ranks (open positions by priority, then the rest).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import torch

from decoding.before.rules.orders import LAST_T
from decoding.before.rules.registry import Parameter, Registered
from decoding.before.state.turn import Turn


@dataclass
class Ranked:
    """Statistics of each row's open positions, the order's first choice first."""

    open_RK: torch.Tensor  # False: no more open positions
    confidence_RK: torch.Tensor
    entropy_RK: torch.Tensor | None = None
    held_RK: torch.Tensor | None = None  # passes in a row whose prediction hardly moved


Values = Mapping[str, float]


@dataclass(frozen=True)
class Quota(Registered):
    """A rule: `count` from the turn before the pass, or `admit` from what the pass said (exactly one is set)."""

    count: Callable[[Turn], torch.Tensor] | None = None  # turn -> count_R
    admit: Callable[[Ranked, Values], torch.Tensor] | None = None  # -> bool_RK
    entropy: bool = False  # `admit` reads it
    history: bool = False
    parameters: Mapping[str, Parameter] = field(default_factory=dict, hash=False)


def paper(turn: Turn) -> torch.Tensor:
    if turn.share_R is not None:
        return (turn.left_R * turn.share_R).long()
    shares = {steps: unmask_share(steps) for steps in set(turn.steps_R.tolist())}
    last_R = turn.steps_R - 1
    at_R = torch.minimum(turn.step_R, last_R)
    share_R = torch.stack([shares[n][i] for n, i in zip(turn.steps_R.tolist(), at_R.tolist(), strict=True)])
    return (turn.left_R * share_R).long()


@lru_cache(maxsize=64)
def unmask_share(steps: int) -> torch.Tensor:
    """1 - s/t of each step, in fp32 as the reference: rounding decides some quotas."""
    t = torch.linspace(1, LAST_T, steps + 1)
    return 1 - t[1:] / t[:-1]


def even(turn: Turn) -> torch.Tensor:
    steps_left_R = (turn.steps_R - turn.step_R).clamp(min=1)
    return -(-turn.left_R // steps_left_R)


def threshold(ranked: Ranked, values: Values) -> torch.Tensor:
    return ranked.confidence_RK > values["threshold"]


def factor(ranked: Ranked, values: Values) -> torch.Tensor:
    """Lengths k whose k-th confidence, or a worse one before it, satisfies the bound; the longest wins."""
    k_K = torch.arange(1, ranked.open_RK.shape[1] + 1)
    worst_RK = ranked.confidence_RK.cummin(1).values
    return longest(ranked.open_RK & ((k_K + 1) * (1 - worst_RK) < values["factor"]))


def entropy_bounded(ranked: Ranked, values: Values) -> torch.Tensor:
    assert ranked.entropy_RK is not None
    entropy_RK = ranked.entropy_RK.masked_fill(~ranked.open_RK, 0)
    spent_RK = entropy_RK.cumsum(1) - entropy_RK.cummax(1).values
    return longest(ranked.open_RK & (spent_RK <= values["bound"]))


def klass(ranked: Ranked, values: Values) -> torch.Tensor:
    assert ranked.held_RK is not None
    return (ranked.confidence_RK > values["threshold"]) & (ranked.held_RK >= values["history"])


def longest(fits_RK: torch.Tensor) -> torch.Tensor:
    """Every rank up to the last that fits."""
    return fits_RK.flip(1).cummax(1).values.flip(1)


SHARE = Parameter(0.9, 0.0, 1.0, above=True)
QUOTAS: dict[str, Quota] = {
    "paper": Quota(count=paper),
    "even": Quota(count=even),
    "threshold": Quota(admit=threshold, parameters={"threshold": SHARE}),
    "factor": Quota(admit=factor, parameters={"factor": Parameter(1.0, above=True)}),
    "entropy-bounded": Quota(admit=entropy_bounded, entropy=True, parameters={"bound": Parameter(0.1)}),
    "klass": Quota(
        admit=klass,
        history=True,
        parameters={"threshold": SHARE, "kl": Parameter(0.01, above=True), "history": Parameter(2, 1, whole=True)},
    ),
}
