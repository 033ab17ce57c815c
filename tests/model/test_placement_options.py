"""Where a model lies and in which type: the same words for every verb that has one."""

from __future__ import annotations

from unmask.model.placement_options import PlacementOptions, TypesOptions, VerifyOptions
from unmask.options import declared


def test_every_class_says_the_same_of_what_they_share() -> None:
    one, many = ({each.name: each for each in declared(cls)} for cls in (PlacementOptions, TypesOptions))
    assert one["device"].default == many["device"].default == "auto"
    assert (one["dtype"].default, many["dtype"].default) == ("fp32", ["fp32"])
    assert one["verify"] == many["verify"] == declared(VerifyOptions)[0]
