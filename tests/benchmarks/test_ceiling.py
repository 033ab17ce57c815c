"""The most that FLOPs alone allow a sampler to gain."""

from __future__ import annotations

import pytest

from benchmarks.ceiling import ceiling, finish_flops
from unmask.model.flops import forward_flops
from unmask.model.presets import preset


def test_the_ceiling_is_the_stated_one() -> None:
    for size, steps, stated in (("6M", 128, 2.8), ("6M", 256, 3.8), ("19M", 128, 2.0), ("19M", 256, 2.8)):
        assert ceiling(preset(size), 0, 256, steps, "ancestral")["ratio"] == pytest.approx(stated, abs=0.05)
    config = preset("6M")
    found = ceiling(config, 10, 16, 1, "confidence")
    assert found["passes"] == 1 and found["asked"] == 16
    assert found["reference_flops"] == forward_flops(config, 26, 26)
    saved = 10 * (2.0 * config.n_embd * config.vocab_size + finish_flops(config))
    assert found["reference_flops"] - found["needed_flops"] == pytest.approx(saved)
