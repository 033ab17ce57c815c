"""Pairs by bits/byte, from numbers made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from unmask.experiments.speed.matching import in_words, pairs

BYTES = np.random.default_rng(0).integers(20, 90, 40)
NOISE = np.random.default_rng(1).normal(size=(3, 2, 40))


def made(**more: float) -> dict[str, np.ndarray]:
    """Nats of seeds, templates and words: each model so many bits/byte above the ARM, give or take."""
    arm = (1.5 + 0.2 * NOISE[:, :, ::-1]) * BYTES * math.log(2)
    return {"arm": arm, **{role: arm + (bits + 0.05 * NOISE) * BYTES * math.log(2) for role, bits in more.items()}}


def test_the_nearest_pair_comes_first_and_is_equal_only_within_its_interval() -> None:
    flops = {"arm": 2.0, "mdm": 2.0, "large": 33.0}
    found = pairs(made(mdm=0.3, large=0.0), BYTES, flops)
    assert [pair["role"] for pair in found] == ["large", "mdm"]
    assert [pair["equal"] for pair in found] == [True, False]
    assert [pair["flops_ratio"] for pair in found] == [16.5, 1.0]
    assert found[1]["difference"]["estimate"] == pytest.approx(0.3, abs=0.02)
    assert (found[1]["difference"]["n"], found[1]["difference"]["clusters"]) == (120, 40)
    lines = in_words(found)
    assert lines[0].startswith("large less arm: ") and lines[0].endswith(" bits/byte at 16.5 times the ARM's FLOPs")
    assert lines[-1] == "the nearest pair is large and arm, equal within its interval"


def test_a_word_where_no_pair_is_equal_and_where_compute_is_unknown() -> None:
    found = pairs(made(mdm=0.3, large=-0.2), BYTES, {"arm": None, "mdm": 2.0, "large": 33.0})
    assert not any(pair["equal"] for pair in found) and found[0]["role"] == "large"
    assert found[0]["flops_ratio"] is None and "an unknown share" in in_words(found)[0]
    assert in_words(found)[-1].startswith("the nearest pair is large and arm, not equal: none lies within")
