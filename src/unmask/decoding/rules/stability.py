"""A position is done when its prediction is stable and confident (DiffusionGemma's stop, position by position).

    generate(model, prompts, order="confidence", quota="stability:passes=2,threshold=0.7")
    unmask sample RUN --prompt "The people of the" --order confidence --quota stability:2

DiffusionGemma (transformers 5.23) ends a canvas once the likeliest tokens have been the same over some passes and their
mean entropy is small. Here each open position is asked by itself, and one that is done is written: its likeliest token
is what it was in each of the `passes` passes before, and has a probability above the threshold. `klass` asks more, that
the whole distribution held still; `threshold` is this rule with no pass before.

Which token was the likeliest, and for how many passes, are columns of the row's positions. A row that sits out a pass
keeps them; a position that was not asked in a row's pass begins anew.

Shapes: R rows in a turn, L positions, K ranks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from unmask.decoding.rules.answers import Ranked
from unmask.decoding.rules.quotas import QUOTAS, Adaptive
from unmask.decoding.rules.registry import parameter
from unmask.decoding.state.turn import Turn


@QUOTAS.register("stability")
@dataclass(frozen=True)
class Stability(Adaptive):
    """Likeliest token the same as in each of the last `passes` passes, and c > threshold, as DiffusionGemma stops."""

    reads = ("best", "likeliest")
    passes: float = parameter(2, 0, whole=True)
    threshold: float = parameter(0.9, 0.0, 1.0)

    def admit(self, turn: Turn, ranked: Ranked) -> torch.Tensor:
        answers, rows_R = ranked.answers, turn.rows_R
        token_BL = turn.table.positions("stability: likeliest", torch.int64, -1)
        same_BL = turn.table.positions("stability: passes", torch.int64)
        now_RL = answers["likeliest"].long()
        same_RL = torch.where(now_RL == token_BL[rows_R], same_BL[rows_R] + 1, 0)
        token_BL[rows_R] = torch.where(answers.asked_RL, now_RL, -1)
        same_BL[rows_R] = same_RL
        return (ranked["best"] > self.threshold) & (ranked.ranked(same_RL) >= self.passes)
