"""MAUVE by its authors' package where that is installed; without it nothing is claimed."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from evaluation.judged import bytes_model
from unmask.evaluation import mauve
from unmask.evaluation.judge import Judge
from unmask.evaluation.mauve import features, mauve_score


def test_features_are_hidden_states_behind_the_last_token() -> None:
    model = bytes_model(causal=True)
    found = features(Judge("me", model), ["one", "two words", "x" * 100, ""])
    assert found.shape == (4, 16) and np.isfinite(found).all()
    alone = features(Judge("me", model), ["two words"])
    assert np.allclose(found[1], alone[0]) and not np.allclose(found[0], found[1])


def test_none_without_the_package_or_with_few_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    some = np.zeros((50, 4), np.float32)
    monkeypatch.setattr(mauve, "can_mauve", lambda: False)
    assert mauve_score(some, some) is None
    monkeypatch.setattr(mauve, "can_mauve", lambda: True)
    monkeypatch.setattr(mauve, "_compute", lambda written, real: 0.5 + 0.001 * float(written[:, 0].mean()))
    assert mauve_score(some[:39], some) is None
    rising = np.arange(200, dtype=np.float32).reshape(50, 4)
    found = mauve_score(rising, rising)
    assert found is not None and found.groups == mauve.GROUPS and found.se > 0


@pytest.mark.skipif(importlib.util.find_spec("mauve") is None, reason="needs the package mauve-text")
def test_the_authors_package_tells_like_from_unlike() -> None:
    rng = np.random.default_rng(0)
    real, same, other = rng.normal(0, 1, (80, 8)), rng.normal(0, 1, (80, 8)), rng.normal(3, 1, (80, 8))
    like, unlike = mauve_score(same, real), mauve_score(other, real)
    assert like is not None and unlike is not None and 0 < unlike.value < 0.3 < like.value <= 1
