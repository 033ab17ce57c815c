"""Remasking: the published formulas, what they keep, and what becomes of a canvas."""

from __future__ import annotations

import pytest
import torch

from unmask.decoding import generate
from unmask.decoding.group import Group
from unmask.decoding.rules.registry import choose
from unmask.decoding.rules.remdm import Remasking
from unmask.decoding.rules.revise import REVISIONS
from unmask.decoding.state.canvas import Canvas
from unmask.decoding.state.clock import Clock
from unmask.model.folder import Model


def at_step(spec: str, step: int, steps: int, committed: int = 2, length: int = 6):
    """sigma at each position, and the share of masks unmasked, of a row with some tokens in place."""
    canvas = Canvas.of([[]], [length], mask_id=9)
    canvas.open_BL[0, :committed] = False
    canvas.probability_BL[0, :committed] = torch.tensor([0.9, 0.2, 0.5, 0.4][:committed], dtype=torch.float64)
    clock = Clock(canvas)
    clock.join(canvas.rows, torch.tensor([steps]), torch.tensor([0]))
    clock.now_B5[0, 1] = step
    rule = choose("revise", REVISIONS, spec)
    assert isinstance(rule.of, Remasking)
    sigma_RL, share_R = rule.of.probabilities(clock.turn(torch.tensor([0])))
    return sigma_RL[0], float(share_R[0])


def test_cap() -> None:
    # t = 0.5, s = 0.25: alpha 0.5 and 0.75, sigma_max 0.5
    sigma_L, share = at_step("remdm-cap:0.1", 2, 4)
    assert sigma_L.tolist() == pytest.approx([0.1] * 6, abs=1e-4)
    assert share == pytest.approx((0.75 - 0.9 * 0.5) / 0.5, abs=1e-4)
    assert at_step("remdm-cap:0.9", 2, 4)[0][0] == pytest.approx(0.5, abs=1e-4)


def test_rescale() -> None:
    assert at_step("remdm-rescale:0.1", 2, 4)[0][0] == pytest.approx(0.05, abs=1e-4)


def test_conf_shares_sigma_max_among_the_committed_the_doubtful_first() -> None:
    sigma_L, share = at_step("remdm-conf", 2, 4)
    weights = torch.tensor([-0.9, -0.2]).softmax(0)
    assert sigma_L[:2].tolist() == pytest.approx((0.5 * weights).tolist(), abs=1e-4)
    assert sigma_L[2:].tolist() == [0] * 4 and share == pytest.approx(0.5, abs=1e-4)


def test_loop_has_three_phases() -> None:
    """Up to alpha_on, there for a while with remasking, then to 1."""
    spec = "remdm-loop:eta=0.05,t_on=0.55,t_off=0.2,alpha_on=0.9"
    (rise, to_alpha_on, stay, end) = (at_step(spec, step, 4) for step in range(4))
    assert rise[1] == pytest.approx(0.9 * 0.25 / 0.45, abs=1e-4)
    assert to_alpha_on[1] == pytest.approx(1 - 0.1 / (1 - 0.5), abs=1e-4)
    assert stay[0][0] == pytest.approx(0.05) and stay[1] == pytest.approx(0.05 * 0.9 / 0.1, abs=1e-4)
    assert [float(sigma_L[0]) for sigma_L, _ in (rise, to_alpha_on)] == [0, 0]
    assert end[1] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("spec", ["remdm-cap:0.3", "remdm-rescale:0.5", "remdm-conf", "remdm-loop:0.3"])
def test_tokens_are_taken_back_and_none_is_missing(mdm: Model, spec: str) -> None:
    found = generate(mdm, [[1, 2]] * 6, length=20, steps=40, revise=spec)
    events = [event for g in found for event in g.trace]
    assert any(event["token"] == mdm.mask_id for event in events)
    for g in found:
        canvas = [1, 2] + [7] * 20
        for event in g.trace:
            assert canvas[event["position"]] == 7 or event["token"] == 7
            canvas[event["position"]] = event["token"]
        assert canvas == g.canvas and 7 not in canvas


def test_the_number_of_masks_follows_the_noise_level(mdm: Model) -> None:
    """ReMDM keeps the law of each level: half of the masks are left at t = 0.5, with remasking as without."""
    for spec in (None, "remdm-cap:0.2"):
        found = generate(mdm, [[]] * 400, length=16, steps=8, revise=spec)
        left = []
        for g in found:
            written: set[int] = set()
            for event in g.trace:
                if event["step"] < 4:
                    (written.discard if event["token"] == 7 else written.add)(event["position"])
            left.append(16 - len(written))
        mean = sum(left) / len(left)
        assert mean == pytest.approx(8, abs=4 * 2 / 400**0.5), spec


def test_rows_that_need_a_pass_are_not_planned_again_for_each_silent_step_of_others(mdm: Model, monkeypatch) -> None:
    """Of many steps few commit: a row is planned once a step of its own, and once more for its pass."""
    planned, plan = [], Group.plan
    monkeypatch.setattr(Group, "plan", lambda self, turn: (planned.append(len(turn.rows_R)), plan(self, turn))[1])
    rows, steps = 40, 64
    found = generate(mdm, [[1]] * rows, length=2, steps=steps, revise="remdm-cap:0.1")
    assert sum(planned) <= rows * steps + sum(g.nfe for g in found)


def test_remasking_goes_with_other_orders(mdm: Model) -> None:
    for order in ("confidence", "left-to-right", "dilated"):
        (g,) = generate(mdm, [[1]], length=16, steps=32, order=order, quota="even", revise="remdm-rescale:0.5")
        assert any(event["token"] == 7 for event in g.trace) and 7 not in g.canvas
