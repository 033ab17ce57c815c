"""The objective as keys of a recipe: its choices are those that exist, and what it says of itself."""

from __future__ import annotations

import pytest

from unmask.diffusion import schedule
from unmask.diffusion.objective_config import SCHEDULES, ObjectiveConfig
from unmask.errors import UserError


def test_every_schedule_can_be_asked_for() -> None:
    assert set(SCHEDULES) == set(schedule.SCHEDULES)


def test_a_bound_is_said_to_be_one() -> None:
    assert ObjectiveConfig().is_bound and ObjectiveConfig("arm", weighting="ce").is_bound
    assert not ObjectiveConfig(weighting="ce").is_bound


def test_the_share_of_the_head() -> None:
    assert ObjectiveConfig("arm").head_share(8) == 1.0
    assert ObjectiveConfig().head_share(8) == pytest.approx(0.5, abs=1e-3)
    assert ObjectiveConfig(masking="fixed").head_share(8) == pytest.approx(4.5 / 8, abs=1e-3)
    # 8 tokens are 2 spans of 4, or 3 where the first is cut.
    assert ObjectiveConfig(masking="fixed", span=4).head_share(8) == pytest.approx((3 / 4 + 3 * 2 / 3) / 4, abs=1e-3)
    assert ObjectiveConfig(span=4).head_share(8) == ObjectiveConfig().head_share(8)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"masking": "fixd"}, r"objective.masking is 'fixd' \(did you mean 'fixed'\?\)"),
        ({"epsilon": 1.0}, "objective.epsilon is 1.0; give at least 0 and below 1"),
        ({"epsilon": 0.0}, "infinite variance"),
        ({"span": 0}, "objective.span is 0; give at least 1"),
        ({"random_length": 2.0}, "objective.random_length is 2.0; give at least 0 and at most 1"),
    ],
)
def test_bad_values_are_named(fields: dict[str, object], line: str) -> None:
    with pytest.raises(UserError, match=line):
        ObjectiveConfig(**fields)  # type: ignore[arg-type]
