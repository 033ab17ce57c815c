"""Parallel decoding against its exact errors: tokens stay good at few passes while whole sequences do not.

"Theoretical Benefit and Limitation of Diffusion Language Model" (arXiv 2502.09622): with a fixed number of passes
perplexity hardly depends on the length L, and the chance of a faulty sequence tends to 1; it stays where it is when
passes grow with L. The chain (`oracle.SHARP`) has true perplexity 3.61, and half of its transitions hardly ever happen.
`theory.parallel_decoding` gives both errors of ancestral sampling exactly.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from decoding.oracle import SHARP, oracle
from decoding.theory import parallel_decoding
from unmask.decoding import generate

FORBIDDEN_VV = SHARP.transition_VV < 1e-4
MODEL = oracle(SHARP, context=512)


def errors(rows: int, length: int, steps: int, order: str) -> tuple[np.ndarray, np.ndarray]:
    """-log p per token of each sample under the chain, and whether it has a forbidden transition."""
    found = generate(MODEL, [[]] * rows, length=length, steps=steps, order=order, trace=False)
    tokens_BL = np.array([g.tokens for g in found])
    assert all(g.nfe <= steps for g in found)
    return -SHARP.log_probabilities(tokens_BL) / length, FORBIDDEN_VV[tokens_BL[:, :-1], tokens_BL[:, 1:]].any(1)


def perplexity(nll_B: np.ndarray) -> float:
    return math.exp(nll_B.mean())


@pytest.mark.parametrize("steps", [4, 16])
def test_ancestral_errors_are_the_exact_ones(steps: int) -> None:
    rows = 1500
    nll, faulty = parallel_decoding(SHARP, 32, steps, FORBIDDEN_VV)
    nll_B, faulty_B = errors(rows, 32, steps, "ancestral")
    assert abs(nll_B.mean() - nll) < 4 * nll_B.std() / math.sqrt(rows)
    assert abs(faulty_B.mean() - faulty) < 4 * math.sqrt(faulty * (1 - faulty) / rows)
    if steps == 16:
        assert (math.exp(nll), faulty) == pytest.approx((4.76, 0.48), abs=0.01)


def test_perplexity_does_not_depend_on_length_and_sequence_error_does() -> None:
    """At 16 passes, L = 32, 128, 512; then at L / 2 passes."""
    at_16 = [errors(rows, length, 16, "ancestral") for rows, length in ((400, 32), (400, 128), (100, 512))]
    assert [perplexity(nll_B) for nll_B, _ in at_16] == pytest.approx([4.74, 4.75, 4.73], rel=0.05)
    assert [faulty_B.mean() for _, faulty_B in at_16] == pytest.approx([0.47, 0.95, 1.0], abs=0.08)
    at_half = [errors(rows, length, length // 2, "ancestral")[1] for rows, length in ((400, 32), (200, 128))]
    assert [faulty_B.mean() for faulty_B in at_half] == pytest.approx([0.47, 0.50], abs=0.12)


def test_neighbours_written_together_are_what_costs() -> None:
    """At L = 128 and 16 passes: dilated order writes none together and is as good as the chain; confidence and margin
    write whole runs together and are worse than random."""
    rows, length = 200, 128
    found = {order: errors(rows, length, 16, order) for order in ("random", "confidence", "margin", "dilated")}
    measured = {order: perplexity(nll_B) for order, (nll_B, _) in found.items()}
    true = math.exp(-SHARP.log_probabilities(SHARP.sample(4000, length, np.random.default_rng(0))).mean() / length)
    assert measured["dilated"] == pytest.approx(true, rel=0.02) and true == pytest.approx(3.61, abs=0.05)
    assert measured["random"] == pytest.approx(4.75, rel=0.05)
    assert min(measured["confidence"], measured["margin"]) > 1.5 * measured["random"]
    faulty = {order: faulty_B.mean() for order, (_, faulty_B) in found.items()}
    assert faulty["dilated"] < 0.02 < 0.8 < faulty["random"] and faulty["confidence"] == faulty["margin"] == 1


def test_one_token_a_pass_is_the_chain() -> None:
    nll_B, faulty_B = errors(500, 32, 32, "dilated")
    exact = -SHARP.log_probabilities(SHARP.sample(4000, 32, np.random.default_rng(1))) / 32
    assert abs(nll_B.mean() - exact.mean()) < 4 * exact.std() / math.sqrt(500) and faulty_B.mean() < 0.01
