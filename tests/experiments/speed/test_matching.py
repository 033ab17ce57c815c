"""Pairs by bits/byte, from numbers made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from unmask.experiments.speed.matching import in_words, pair_of, pairs

from .conftest import quick_plan

BYTES = np.random.default_rng(0).integers(20, 90, 40)
NOISE = np.random.default_rng(1).normal(size=(3, 2, 40))


def made(**more: float) -> dict[str, np.ndarray]:
    """Nats of seeds, templates and words: each model so many bits/byte above the ARM, give or take."""
    arm = (1.5 + 0.2 * NOISE[:, :, ::-1]) * BYTES * math.log(2)
    return {"arm": arm, **{role: arm + (bits + 0.05 * NOISE) * BYTES * math.log(2) for role, bits in more.items()}}


PLAN = quick_plan()


def test_the_nearest_pair_comes_first_and_is_equal_only_within_the_margin() -> None:
    flops = {"arm": 2.0, "mdm": 2.0, "mdm-large": 33.0, "arm-equal": 1.0}
    nats = {**made(mdm=0.3, **{"mdm-large": 0.1}), "arm-equal": made(x=0.11)["x"]}
    found = pairs(nats, BYTES, flops, PLAN)
    assert [(pair["role"], pair["against"]) for pair in found] == [
        ("mdm-large", "arm-equal"), ("mdm-large", "arm"), ("mdm", "arm")
    ]  # fmt: skip
    assert [pair["equal"] for pair in found] == [True, False, False]
    assert [pair["flops_ratio"] for pair in found] == [33.0, 16.5, 1.0]
    assert found[2]["difference"]["estimate"] == pytest.approx(0.3, abs=0.02)
    assert (found[2]["difference"]["n"], found[2]["difference"]["clusters"]) == (120, 40)
    lines = in_words(found)
    assert lines[0].startswith("mdm-large less arm-equal: ") and lines[0].endswith(" bits/byte at 33.0 times its FLOPs")
    assert lines[-1] == "the nearest pair is mdm-large and arm-equal, equal within 0.03 bits/byte"
    assert pair_of(found, "mdm", "arm") == found[2] and pair_of(found, "mdm", "arm-equal") is None


def test_a_wide_interval_makes_no_pair_equal_and_compute_may_be_unknown() -> None:
    nats = made(mdm=0.3, **{"mdm-large": 0.0})
    nats["mdm-large"] = nats["mdm-large"] + 3 * NOISE * BYTES
    found = pairs(nats, BYTES, {"arm": None, "mdm": 2.0, "mdm-large": 33.0}, PLAN)
    large = pair_of(found, "mdm-large", "arm")
    assert large is not None and large["difference"]["low"] < 0 < large["difference"]["high"] and not large["equal"]
    assert found[0]["flops_ratio"] is None and "an unknown share" in in_words(found)[0]
    assert in_words(found)[-1].endswith("not equal: the margin is 0.03")
