"""P2, self-planning: a pass judges committed tokens and proposals alike, and masks the lowest (arXiv 2502.03540).

    generate(model, prompts, order="confidence", steps=32, revise="p2:1")

Shapes: R rows in a turn, L positions.
"""

from __future__ import annotations

from dataclasses import dataclass

from unmask.decoding.rules.orders import TIE, top
from unmask.decoding.rules.registry import parameter
from unmask.decoding.rules.revise import REVISIONS, Before, Revision, Step
from unmask.decoding.state.turn import Turn


@REVISIONS.register("p2")
@dataclass(frozen=True)
class P2(Revision):
    """Committed tokens and proposals are ranked together, the lowest become masks (arXiv 2502.03540).

    As many are kept as the quota wants written after the step. The score of a committed token (log p, log margin,
    -entropy, as the order has it) counts eta times.
    """

    reads = ("given",)
    judges = True
    needs_scores = True
    eta: float = parameter(1.0)

    def before(self, turn: Turn) -> Before:
        return Before(asks_RL=turn.committed_RL, needs_R=turn.committed_RL.any(1))

    def after(self, step: Step) -> None:
        turn, committed_RL = step.turn, step.turn.committed_RL
        assert step.count_R is not None
        standing_RL = self.eta * step.order.score(step.answers, standing=True)
        score_RL = standing_RL.where(committed_RL, step.score_RL)
        # At the last step all are kept, and nothing is taken back.
        kept_RL = top(score_RL, turn.open_RL | committed_RL, committed_RL.sum(1) + step.count_R, TIE)
        step.chosen_RL, step.reopen_RL = kept_RL & turn.open_RL, committed_RL & ~kept_RL
