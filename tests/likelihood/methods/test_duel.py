"""DUEL is exact: on models small enough to enumerate, the scores of all texts are the law of what `generate` writes."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

from decoding.oracle import UNEVEN, oracle
from decoding.theory import Law, State, chain_law, chi_square, fill_in, joint, masked
from unmask.decoding import generate
from unmask.errors import UserError
from unmask.likelihood import rolling, score
from unmask.model.folder import Model

LENGTH = 4


def scored(model: Model, context: list[int], **options: Any) -> Law:
    """exp(score) of every text of four tokens."""
    texts = list(itertools.product(range(model.config.vocab_size), repeat=LENGTH))
    found = score(model, [(context, list(text)) for text in texts], method="duel", **options)
    return {text: math.exp(one.logprob) for text, one in zip(texts, found, strict=True)}


def law_of(model: Model, context: list[int], pick: Any, temperature: float = 1.0) -> Law:
    """The sampling law, from its definition: `pick(p_LV, open positions, step)` says which are written together."""
    mask, size = int(model.mask_id or 0), model.config.vocab_size
    laws: Law = {(size,) * LENGTH: 1.0}
    for step in range(LENGTH):
        after: dict[State, float] = {}
        for state, mass in laws.items():
            open_ = masked(state, size)
            if not open_:
                after[state] = after.get(state, 0.0) + mass
                continue
            row = torch.tensor([[*context, *(mask if token == size else token for token in state)]])
            with torch.no_grad():
                logits_LV = model.network.head(model.network.hidden(row))[0, len(context) :, :size].double()
            at = pick(logits_LV.softmax(-1).numpy(), open_, step)
            drawn_LV = (logits_LV / temperature).softmax(-1).numpy()
            for tokens, probability in joint(drawn_LV, at):
                filled = fill_in(state, at, tokens)
                after[filled] = after.get(filled, 0.0) + mass * probability
        laws = after
    return laws


def leftmost(values: list[float]) -> int:
    return next(i for i, value in enumerate(values) if value >= max(values) - 1e-5 * abs(max(values)))


def by_margin(p_LV: np.ndarray, open_: list[int], step: int) -> list[int]:
    top = np.sort(p_LV, axis=1)[:, ::-1]
    return [open_[leftmost([top[i, 0] - top[i, 1] for i in open_])]]


def by_largest(p_LV: np.ndarray, open_: list[int], step: int) -> list[int]:
    return [open_[leftmost([float(p_LV[i].max()) for i in open_])]]


def by_entropy(p_LV: np.ndarray, open_: list[int], step: int) -> list[int]:
    return [open_[leftmost([float((p_LV[i] * np.log(p_LV[i])).sum()) for i in open_])]]


def pairs_from_the_left(p_LV: np.ndarray, open_: list[int], step: int) -> list[int]:
    return open_[:2]


def above(threshold: float) -> Any:
    def pick(p_LV: np.ndarray, open_: list[int], step: int) -> list[int]:
        sure = [i for i in open_ if p_LV[i].max() > threshold]
        return sure or by_margin(p_LV, open_, step)

    return pick


NAMES = ["margin", "entropy", "pairs", "threshold", "largest"]
WAYS: list[tuple[dict[str, Any], Any, float]] = [
    ({"order": "margin"}, by_margin, 1.0),
    ({"order": "entropy", "decode": {"temperature": 0.6}}, by_entropy, 0.6),
    ({"decode": {"quota": "even", "steps": 2}}, pairs_from_the_left, 1.0),
    ({"order": "margin", "decode": {"quota": "threshold:0.6", "temperature": 1.5}}, above(0.6), 1.5),
    ({"order": "top-probability", "decode": {"temperature": 0.8}}, by_largest, 0.8),
]


@pytest.mark.parametrize(("options", "pick", "temperature"), WAYS, ids=NAMES)
@pytest.mark.parametrize("kind", ["oracle", "transformer"])
def test_it_is_the_sampling_law_by_enumeration(make_model, kind: str, options, pick, temperature: float) -> None:
    model = oracle(UNEVEN) if kind == "oracle" else make_model(vocab_size=3, seed=6)
    context = [1, 2]
    found, expected = scored(model, context, **options), law_of(model, context, pick, temperature)
    assert sum(found.values()) == pytest.approx(1, abs=1e-6)
    assert set(found) >= set(expected)
    for text, probability in found.items():
        assert probability == pytest.approx(expected.get(text, 0.0), abs=2e-6)


@pytest.mark.parametrize("way", [0, 1, 3])
def test_what_generate_draws_follows_it(way: int) -> None:
    options = dict(WAYS[way][0])
    law = scored(oracle(UNEVEN), [1], **options)
    rules = {"quota": "even", **options.pop("decode", {}), **options}
    drawn = generate(oracle(UNEVEN), [[1]] * 3000, length=LENGTH, seed=5, trace=False, **rules)
    statistic, critical = chi_square([g.tokens for g in drawn], summing_to_1(law))
    assert statistic < critical
    together = summing_to_1(scored(oracle(UNEVEN), [1], decode={"steps": 1}))
    statistic, critical = chi_square([g.tokens for g in drawn], together)
    assert statistic > critical, "the test can fail"


def summing_to_1(law: Law) -> Law:
    """Exponentials are summed in float32, so that it is off by 1e-7 or so."""
    return {text: probability / sum(law.values()) for text, probability in law.items()}


def test_from_left_to_right_an_exact_denoiser_has_the_true_law() -> None:
    found, law = scored(oracle(UNEVEN), []), chain_law(UNEVEN, LENGTH)
    for text, probability in law.items():
        assert found[text] == pytest.approx(probability, abs=1e-6)
    # ... and every settled order, a token a step; two at a time it has not.
    assert scored(oracle(UNEVEN), [], order="dilated")[0, 2, 0, 2] == pytest.approx(law[0, 2, 0, 2], abs=1e-6)
    assert scored(oracle(UNEVEN), [], decode={"steps": 2})[0, 2, 0, 2] != pytest.approx(law[0, 2, 0, 2], rel=0.1)


def test_a_score_names_its_decoder(mdm: Model, arm: Model) -> None:
    decode = {"quota": "threshold:0.5"}
    (found,) = score(mdm, [([1], [2, 0])], method="duel", order="margin", decode=decode, guidance=0.5)
    assert (found.target, found.is_bound, found.draws, found.se, found.order) == ("chain", False, 0, 0.0, "margin")
    assert found.to_dict()["decode"] == {"order": "margin", "temperature": 1.0, "quota": "threshold:0.5"}
    exact, chain = (score(arm, [([1], [2, 0])], method=method)[0] for method in ("duel", "exact"))
    assert exact == chain and "decode" not in exact.to_dict()
    (whole,) = rolling(mdm, [[1, 2, 0, 1, 2, 2]], window=4, overlap=2, method="duel", order="entropy")
    assert whole.logprob < 0 and whole.decode == {"quota": "even", "order": "entropy", "temperature": 1.0}


def test_what_is_not_exact_is_refused(mdm: Model) -> None:
    for options, line in (
        ({"order": "confidence"}, "order 'confidence' looks at the tokens that are drawn"),
        ({"order": "random"}, "order 'random' draws positions"),
        ({"decode": {"revise": "p2"}}, "revise takes tokens back"),
        ({"order": "margin", "decode": {"order": "entropy"}}, "order is 'margin', in decode it is 'entropy'"),
        ({"until_se": 0.1}, "until_se does not concern method duel"),
    ):
        with pytest.raises(UserError, match=line):
            score(mdm, [([1], [2, 0])], method="duel", **options)
