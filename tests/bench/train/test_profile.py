"""The phases of a step."""

from __future__ import annotations

from unmask.bench.train.arms import exactness_seconds
from unmask.bench.train.profile import phases


def test_phases_add_up_and_leave_the_arm_as_it_was(arm_of):
    arm = arm_of("ours")
    found = phases(arm, 0)
    assert set(found) == {"data", "layers, forward", "head and loss", "backward", "clip and optimizer"}
    assert all(0 <= seconds < 5 for seconds in found.values())
    assert not {"update", "forward_backward"} & vars(arm.engine).keys()
    assert exactness_seconds(arm, steps=2) > 0
