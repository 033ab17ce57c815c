"""How many tokens are jointly safe, by the whole profile of confidences (Fréchet profiles, Fast-dLLM++, 2606.02955).

    generate(model, prompts, order="confidence", quota="frechet:1")
    unmask sample RUN --prompt "The people of the" --order confidence --quota frechet:0.5

Let c_1 ... c_k be the confidences of a prefix of the order. Whatever the dependence of its positions, the likeliest
tokens stand there together with a probability of at least 1 - sum (1 - c_i): Fréchet's lower bound. Any other
assignment differs at some position, so none has more than the largest of the 1 - c_i. While the former is more than the
latter,

    sum (1 - c_i) + max (1 - c_i) < 1,

taking the likeliest token everywhere at once is what the joint law would have as its mode. `factor` asks the same with
every confidence as low as the worst, (k + 1)(1 - c_k) < 1: equal where all are, else never more than here. `bound` in
place of 1 asks for more (below 1), or for less; the authors' margin is 1 - bound.

Shapes: R rows, K ranks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from unmask.decoding.rules.answers import Ranked
from unmask.decoding.rules.quotas import QUOTAS, Adaptive, longest
from unmask.decoding.rules.registry import parameter
from unmask.decoding.state.turn import Turn


@QUOTAS.register("frechet")
@dataclass(frozen=True)
class Frechet(Adaptive):
    """The longest prefix of the order with (sum of 1 - c) + (largest 1 - c) < bound (arXiv 2606.02955)."""

    reads = ("best",)
    bound: float = parameter(1.0, above=True)

    def admit(self, turn: Turn, ranked: Ranked) -> torch.Tensor:
        doubt_RK = (1 - ranked["best"]).masked_fill(~ranked.open_RK, 0)
        return longest(ranked.open_RK & (doubt_RK.cumsum(1) + doubt_RK.cummax(1).values < self.bound))
