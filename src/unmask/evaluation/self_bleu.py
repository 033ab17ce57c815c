"""Self-BLEU: how much each sample is like the others (Zhu et al., "Texygen", arXiv 1802.01886); less is more diverse.

    self_bleu([[5, 7, 9, 2], [5, 7, 9, 3], [8, 1, 4, 4]])    # an Estimate

Each sample's BLEU-4 (Papineni et al., 2002) with all the others as its references, averaged. A length without a common
n-gram counts as a tenth of one (Chen and Cherry 2014, their first smoothing), so that a short sample is not simply 0.
It rises with the number of samples: compare like with like. Samples are each other's references and so are not
independent; the error is that of the jackknife over groups of samples.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from unmask.statistics import Estimate

LONGEST = 4  # n-grams
SMALL = 0.1  # matches that stand for none
GROUPS = 20  # of the jackknife

Tokens = Sequence[int] | Sequence[str]


def self_bleu(samples: Sequence[Tokens]) -> Estimate:
    """Of at least two samples, none of them empty; the error is nan below `GROUPS` samples times two."""
    value = mean_self_bleu(samples)
    if len(samples) < 2 * GROUPS:
        return Estimate(value, math.nan, 1)
    groups = np.arange(len(samples)) % GROUPS
    left_out = [mean_self_bleu([s for s, own in zip(samples, groups, strict=True) if own != g]) for g in range(GROUPS)]
    return Estimate(value, jackknife_error(left_out), GROUPS)


def ngrams(tokens: Tokens, n: int) -> list[tuple[int | str, ...]]:
    return list(zip(*(tokens[i:] for i in range(n)), strict=False))


def jackknife_error(left_out: Sequence[float]) -> float:
    """Standard error from the values that are had without each group in turn (Tukey 1958)."""
    return float(np.std(left_out) * math.sqrt(len(left_out) - 1))


def mean_self_bleu(samples: Sequence[Tokens]) -> float:
    """The mean alone."""
    if len(samples) < 2 or not all(len(sample) for sample in samples):
        raise ValueError("self-BLEU needs two samples at least, each with a token")
    counts = [[Counter(ngrams(sample, n)) for n in range(1, LONGEST + 1)] for sample in samples]
    most = [_two_most([own[n] for own in counts]) for n in range(LONGEST)]
    lengths = sorted(len(sample) for sample in samples)
    return float(np.mean([_bleu(i, len(samples[i]), own, most, lengths) for i, own in enumerate(counts)]))


Most = dict[tuple[int | str, ...], tuple[int, int, int]]


def _two_most(counts: Sequence[Counter[tuple[int | str, ...]]]) -> Most:
    """Of every n-gram: its greatest count in one sample, which sample that is, and the greatest in any other."""
    most: Most = {}
    for index, own in enumerate(counts):
        for gram, count in own.items():
            first, holder, second = most.get(gram, (0, -1, 0))
            if count > first:
                most[gram] = (count, index, first)
            elif count > second:
                most[gram] = (first, holder, count)
    return most


def _bleu(
    index: int,
    length: int,
    own: Sequence[Counter[tuple[int | str, ...]]],
    most: Sequence[Most],
    lengths: Sequence[int],
) -> float:
    """BLEU of one sample against all others."""
    logs: list[float] = []
    for counts, greatest in zip(own, most, strict=True):
        total = counts.total()
        matched = 0
        for gram, count in counts.items():
            first, holder, second = greatest[gram]
            matched += min(count, second if holder == index else first)
        if not matched and len(logs) == 0:
            return 0.0
        logs.append(math.log((matched or SMALL) / max(1, total)))
    # The reference of the nearest length, the shorter one of two; one entry of this length is the sample's own.
    others = list(lengths)
    others.remove(length)
    nearest = min(others, key=lambda other: (abs(other - length), other))
    brevity = min(0.0, 1 - nearest / length)
    return math.exp(brevity + sum(logs) / LONGEST)
