"""Self-BLEU against nltk's BLEU of each sample with all others, and its error against leaving groups out."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from unmask.evaluation.self_bleu import GROUPS, mean_self_bleu, self_bleu


def samples(n: int, seed: int, longest: int = 14) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 5, rng.integers(4, longest)).tolist() for _ in range(n)]


@pytest.mark.parametrize("seed", range(4))
def test_is_nltks_bleu_with_its_first_smoothing(seed: int) -> None:
    bleu = pytest.importorskip("nltk.translate.bleu_score")
    some = samples(9, seed)
    smooth = bleu.SmoothingFunction(epsilon=0.1).method1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = [
            bleu.sentence_bleu(some[:i] + some[i + 1 :], one, smoothing_function=smooth) for i, one in enumerate(some)
        ]
    assert mean_self_bleu(some) == pytest.approx(float(np.mean(theirs)))


def test_known_values() -> None:
    assert mean_self_bleu([[1, 2, 3, 4, 5]] * 3) == pytest.approx(1)
    assert mean_self_bleu([[1, 2, 3, 4], [5, 6, 7, 8]]) == 0
    assert math.isnan(self_bleu(samples(5, 0)).se)
    with pytest.raises(ValueError, match="two samples"):
        mean_self_bleu([[1, 2]])


def test_the_error_is_the_jackknifes_and_falls_with_the_samples() -> None:
    few, many = self_bleu(samples(60, 1)), self_bleu(samples(600, 2))
    assert few.groups == many.groups == GROUPS and 0 < many.se < few.se < 0.1
    assert few.interval is not None and few.interval[0] < few.value < few.interval[1]
