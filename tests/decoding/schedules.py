"""How many tokens a row commits at each of its steps."""

from __future__ import annotations

import torch

from decoding.oracle import Chain, oracle
from unmask.decoding.limits.endings import Endings
from unmask.decoding.limits.limits import Limits
from unmask.decoding.loop import Loop
from unmask.decoding.options import read_requests
from unmask.decoding.rules.answers import Answers
from unmask.decoding.rules.guidance import Guidance
from unmask.decoding.state.canvas import Canvas


def counts(new: int, steps: int, quota: str, block: int | None = None) -> list[tuple[int, int]]:
    """(global step, tokens committed) of a single row, left to right."""
    canvas = Canvas.of([[]], [new], mask_id=9)
    requests = read_requests(1, "mdm", order="left-to-right", quota=quota, steps=steps, block=block)
    loop = Loop(oracle(Chain.of_offsets(9, [1.0]), context=new).network, Limits(canvas, 9), Endings(canvas, ()))
    loop.join(canvas.rows, requests, [Guidance()])
    (group,) = loop.groups.values()
    found = []
    while (plan := group.next()) is not None:
        nothing = torch.zeros_like(canvas.tokens_BL)
        group.settle(plan, Answers(plan.asked_RL, {"tokens": nothing, "probability": nothing.double()}))
        found.append((int(plan.turn.global_step_R[0]), int(plan.chosen_RL.sum())))
    return found
