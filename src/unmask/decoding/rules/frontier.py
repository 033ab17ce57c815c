"""A window that moves with the text: only the leftmost open positions may be written (frontier windows, 2608.05687).

    generate(model, prompts, order="confidence", quota="threshold:0.9", eligible="frontier:16")
    unmask sample RUN --prompt "The people of the" --order confidence --eligible frontier:16

A masked model that may write anywhere tends to write the end of a text, such as an answer, before what leads up to it.
Blocks cure that with walls: the last positions of a block are written before the first of the next one is looked at.
Here nothing is walled off: as soon as a position is written, the window reaches one further, past tokens that stand
there. Order and quota choose within it. With a fixed number of steps it is widened where the steps left ask for more,
so that no rest is left to the last step.

The authors report 0.852 in place of 0.528 on GSM8K. A window of one is `left-to-right`; one as wide as the text is
none, and positions that have just come into it had no earlier pass (`klass` begins to count there).

Shapes: R rows in a turn, L positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from unmask.decoding.rules.eligible import ELIGIBLE, Eligibility
from unmask.decoding.rules.registry import parameter
from unmask.decoding.state.turn import Turn


@ELIGIBLE.register("frontier")
@dataclass(frozen=True)
class Frontier(Eligibility):
    """The `size` leftmost open positions, or more where the steps left ask for it (arXiv 2608.05687)."""

    size: float = parameter(16, 1, whole=True)

    def within(self, turn: Turn) -> torch.Tensor:
        place_RL = turn.open_RL.cumsum(1)  # of an open position among the row's, from 1
        left_R = (turn.steps_R - turn.step_R).clamp(min=1)
        needed_R = torch.where(turn.steps_R > 0, -(-turn.left_R // left_R), 0)
        return turn.open_RL & (place_RL <= needed_R.clamp(min=int(self.size))[:, None])
