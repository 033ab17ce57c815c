"""How many tokens a row commits at each of its steps."""

from __future__ import annotations

import torch

from unmask.decoding.group import Answers
from unmask.decoding.limits.endings import Endings
from unmask.decoding.limits.limits import Limits
from unmask.decoding.loop import make_groups
from unmask.decoding.options import read_requests
from unmask.decoding.state.canvas import Canvas


def counts(new: int, steps: int, quota: str, block: int | None = None) -> list[tuple[int, int]]:
    """(global step, tokens committed) of a single row, left to right."""
    canvas = Canvas.of([[]], [new], mask_id=9)
    requests = read_requests(1, "mdm", order="left-to-right", quota=quota, steps=steps, block=block)
    (group,) = make_groups(canvas, requests, Limits(canvas, 9), Endings(canvas, ["fill"], [False], ()))
    found = []
    while (plan := group.next()) is not None:
        nothing = torch.zeros_like(canvas.tokens_BL)
        group.settle(plan, Answers(nothing, nothing.double()))
        found.append((int(plan.turn.global_step_R[0]), int(plan.chosen_RL.sum())))
    return found
