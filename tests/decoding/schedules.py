"""How many tokens a row commits at each of its steps."""

from __future__ import annotations

import torch

from decoding.oracle import Chain, oracle
from unmask.decoding.loop import Loop
from unmask.decoding.prepare import prepare
from unmask.decoding.rules.answers import Answers


def counts(new: int, steps: int, quota: str, block: int | None = None) -> list[tuple[int, int]]:
    """(global step, tokens committed) of a single row, left to right."""
    model = oracle(Chain.of_offsets(9, [1.0]), context=new)
    rows = prepare(model, None, dict(length=new, order="left-to-right", quota=quota, steps=steps, block=block))
    loop = Loop.for_rows(model, rows)
    loop.join(rows)
    (group,) = loop.groups.values()
    found = []
    while (plan := group.next()) is not None:
        nothing = torch.zeros_like(loop.canvas.tokens_BL)
        group.settle(plan, Answers(plan.asked_RL, {"tokens": nothing, "probability": nothing.double()}))
        found.append((int(plan.turn.global_step_R[0]), int(plan.chosen_RL.sum())))
    return found
