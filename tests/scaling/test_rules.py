"""Rules of learning rate and batch."""

from __future__ import annotations

from unmask.scaling.rules import Batch, LearningRate


def test_rules_are_what_they_say():
    assert Batch().of(2.5e6, 128) == 2
    assert Batch().of(2.5e6 * 2**5, 128) == round(256 * 2 ** (5 * 0.8) / 128)
    assert Batch().of(1.0, 1024) == 1
    assert LearningRate().of(1e6, 512) == 3e-3
    assert LearningRate().of(16e6, 512) == 1.5e-3
    assert LearningRate(most=1e-3).of(1e3, 512) == 1e-3
