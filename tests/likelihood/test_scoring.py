"""Scores on a model small enough to enumerate, against sums written out here."""

from __future__ import annotations

import copy
import itertools
import json
import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import unmask
from unmask.errors import UserError
from unmask.likelihood import corpus_bound, rolling, score
from unmask.model.folder import Model

V, MASK, L = 3, 3, 3
CONTEXT, ANSWER = [1, 2], [2, 0, 1]
LONG = [2, 0, 1, 1, 2, 0, 0, 1]  # 255 masks: more than the draws of any test that draws


def logp(model: Model, tokens: list[int], guidance: float = 0.0, prompt: int = 0) -> torch.Tensor:
    """Log-probabilities [T, V] in float64; `prompt` leading tokens are hidden from the unconditional half."""
    with torch.no_grad():
        c = model.network(torch.tensor([tokens]))[0].double()
        u = model.network(torch.tensor([[MASK] * prompt + tokens[prompt:]]))[0].double() if guidance else c
    return (u + (1 + guidance) * (c - u)).log_softmax(-1)


def order_logp(
    model: Model, context: list[int], answer: list[int], order: tuple[int, ...], guidance: float = 0
) -> float:
    """log p of revealing the answer one token at a time in an order."""
    canvas, total = context + [MASK] * len(answer), 0.0
    for place in order:
        at = len(context) + place
        total += float(logp(model, canvas, guidance, len(context))[at, answer[place]])
        canvas[at] = answer[place]
    return total


def all_orders(model: Model, context: list[int], answer: list[int], guidance: float = 0) -> np.ndarray:
    orders = itertools.permutations(range(len(answer)))
    return np.array([order_logp(model, context, answer, order, guidance) for order in orders])


@pytest.mark.parametrize("guidance", [0.0, 0.7, -0.5])
@pytest.mark.parametrize("context", [CONTEXT, [0]])
def test_exact_is_the_mean_over_all_orders(mdm: Model, context: list[int], guidance: float) -> None:
    (found,) = score(mdm, [(context, ANSWER)], method="exact", guidance=guidance)
    assert found.logprob == pytest.approx(all_orders(mdm, context, ANSWER, guidance).mean(), rel=1e-5)
    assert (found.se, found.draws, found.is_bound, found.n_tokens) == (0.0, 0, True, 3)


def test_the_bound_lies_below_the_likelihood_of_the_any_order_sampler(mdm: Model) -> None:
    """Its probability of a text is the mean over orders of their products, and sums to 1 over all texts."""
    total, differences = 0.0, []
    for answer in itertools.product(range(V), repeat=L):
        orders = all_orders(mdm, CONTEXT, list(answer))
        likelihood = np.exp(orders).mean()
        total += likelihood
        bound = score(mdm, [(CONTEXT, list(answer))], method="exact")[0].logprob
        differences.append(math.log(likelihood) - bound)
    assert total == pytest.approx(1, abs=1e-6)
    assert min(differences) >= -1e-6 and max(differences) > 0.01


@pytest.mark.parametrize("guidance", [0.0, 0.8])
def test_chain_rule_is_the_left_to_right_order_and_sums_to_one(mdm: Model, guidance: float) -> None:
    pairs = [(CONTEXT, list(answer)) for answer in itertools.product(range(V), repeat=L)]
    found = score(mdm, pairs, method="chain-rule", guidance=guidance)
    assert sum(math.exp(s.logprob) for s in found) == pytest.approx(1, abs=1e-6)
    for (context, answer), s in zip(pairs, found, strict=True):
        assert s.logprob == pytest.approx(order_logp(mdm, context, answer, (0, 1, 2), guidance), rel=1e-5)
        assert (s.se, s.is_bound, s.method) == (0.0, False, "chain-rule")


def test_arm_scores_are_exact_by_any_method_and_sum_to_one(arm: Model) -> None:
    pairs = [(CONTEXT, list(answer)) for answer in itertools.product(range(V), repeat=L)]
    found = score(arm, pairs)
    assert sum(math.exp(s.logprob) for s in found) == pytest.approx(1, abs=1e-6)
    direct = logp(arm, CONTEXT + ANSWER)
    expected = sum(float(direct[len(CONTEXT) - 1 + i, token]) for i, token in enumerate(ANSWER))
    for method in ("mc-fixed", "mc-bernoulli", "chain-rule", "exact"):
        (s,) = score(arm, [(CONTEXT, ANSWER)], method=method)
        assert s.logprob == pytest.approx(expected, rel=1e-6)
        assert (s.se, s.method, s.is_bound, s.draws, s.target) == (0.0, "exact", False, 0, "exact")


@pytest.mark.parametrize("method", ["mc-fixed", "mc-bernoulli"])
@pytest.mark.parametrize("guidance", [0.0, 0.7])
def test_monte_carlo_is_unbiased(mdm: Model, method: str, guidance: float) -> None:
    exact = score(mdm, [(CONTEXT, LONG)], method="exact", guidance=guidance)[0].logprob
    found = [score(mdm, [(CONTEXT, LONG)], method=method, guidance=guidance, seed=seed)[0] for seed in range(60)]
    assert all(s.se > 0 and s.is_bound and s.draws == 128 and s.method == method for s in found)
    logprobs = np.array([s.logprob for s in found])
    assert abs(logprobs.mean() - exact) < 4 * logprobs.std() / math.sqrt(60)


def test_short_answers_are_enumerated(mdm: Model) -> None:
    """Where all masks are no more than the draws, running all of them costs less and has no error."""
    for draws, method in ((255, "exact"), (254, "mc-fixed")):
        (s,) = score(mdm, [(CONTEXT, LONG)], draws=draws)
        assert s.method == method and (s.se == 0) == (method == "exact")
    assert score(mdm, [(CONTEXT, ANSWER)])[0].logprob == score(mdm, [(CONTEXT, ANSWER)], method="exact")[0].logprob
    (s,) = score(mdm, [(CONTEXT, ANSWER)], method="mc-bernoulli", draws=64)
    assert s.method == "mc-bernoulli" and s.se > 0, "the paper's way stays the paper's"


def test_the_standard_error_is_honest(mdm: Model) -> None:
    """Over many seeds the errors, in units of the reported error, have a spread of about one."""
    exact = score(mdm, [(CONTEXT, LONG)], method="exact")[0].logprob
    found = (score(mdm, [(CONTEXT, LONG)], draws=64, seed=seed)[0] for seed in range(300))
    z = np.array([(s.logprob - exact) / s.se for s in found])
    assert abs(z.mean()) < 0.25
    assert 0.85 < z.std() < 1.25  # Student's t of 15 degrees of freedom has 1.07


def test_chain_rule_in_random_order_is_unbiased_for_the_nelbo(mdm: Model) -> None:
    exact = score(mdm, [(CONTEXT, ANSWER)], method="exact")[0]
    (s,) = score(mdm, [(CONTEXT, ANSWER)], method="chain-rule", order="random", draws=3000)
    assert (s.target, s.is_bound, s.draws, s.groups, s.order) == ("nelbo", True, 3000, 3000, "random")
    assert 0 < s.se < 0.02 and abs(s.logprob - exact.logprob) < 4 * s.se
    orders = all_orders(mdm, CONTEXT, ANSWER)
    assert s.se == pytest.approx(orders.std() / math.sqrt(3000), rel=0.1)


def test_the_baseline_takes_out_what_tokens_cost_by_themselves(make_model) -> None:
    """Where the model's answer does not depend on other tokens, nothing is left to draw."""
    model = make_model()
    with torch.no_grad():
        for layer in model.network.layers:
            layer.attention.out.weight.zero_()
    exact = score(model, [(CONTEXT, LONG)], method="exact")[0].logprob
    for draws in (5, 40, 200):
        (s,) = score(model, [(CONTEXT, LONG)], draws=draws)
        assert s.logprob == pytest.approx(exact, rel=1e-6) and s.se == pytest.approx(0, abs=1e-5)
        assert s.draws <= draws
    assert score(model, [(CONTEXT, LONG)], method="mc-bernoulli", draws=200)[0].se > 0.1


def test_right_to_left_is_that_order(mdm: Model) -> None:
    (s,) = score(mdm, [(CONTEXT, ANSWER)], method="chain-rule", order="right-to-left")
    assert s.logprob == pytest.approx(order_logp(mdm, CONTEXT, ANSWER, (2, 1, 0)), rel=1e-5)
    assert (s.target, s.is_bound, s.se) == ("chain", False, 0.0)


def test_a_mixture_of_orders_is_a_tighter_bound(mdm: Model) -> None:
    """From (a) at one order towards (b) as the orders grow."""
    orders = all_orders(mdm, CONTEXT, ANSWER)
    nelbo, mixture = orders.mean(), math.log(np.exp(orders).mean())
    few = np.mean(
        [score(mdm, [(CONTEXT, ANSWER)], method="order-mixture", draws=2, seed=i)[0].logprob for i in range(300)]
    )
    (many,) = score(mdm, [(CONTEXT, ANSWER)], method="order-mixture", draws=3000)
    assert nelbo < few < mixture
    assert (many.target, many.is_bound) == ("order-mixture", True)
    assert abs(many.logprob - mixture) < 4 * many.se and mixture - nelbo > 10 * many.se


@pytest.mark.parametrize("method", ["mc-fixed", "chain-rule"])
def test_until_se_draws_as_much_as_it_takes(mdm: Model, method: str) -> None:
    pairs = [(CONTEXT, LONG), ([1], [0]), ([0, 1], LONG + [1, 1, 0])]
    options: dict[str, Any] = {"method": method, "order": "random" if method == "chain-rule" else "left-to-right"}
    wanted = 0.5 if method == "mc-fixed" else 0.2
    found = score(mdm, pairs, until_se=wanted, **options)
    assert all(s.se <= wanted and s.until_se == wanted for s in found)
    assert 0 < found[0].draws and found[1].draws < found[2].draws, "a single token needs no more than the least"
    exact = score(mdm, pairs, method="exact")
    for s, e in zip(found, exact, strict=True):
        assert abs(s.logprob - e.logprob) < 4 * max(s.se, 1e-6)
    alone = score(mdm, pairs[2:], until_se=wanted, **options)[0]
    assert alone.draws == found[2].draws and alone.logprob == pytest.approx(found[2].logprob, rel=1e-5)
    with pytest.warns(UserWarning, match="1 of 3 scores have not reached a standard error of 0.0001 nats with 64"):
        short = score(mdm, pairs[:1] + pairs[1:2] * 2, until_se=1e-4, max_draws=64)
    assert short[0].draws == 64
    assert score(mdm, pairs[:1], until_se=1e-4)[0].method == "exact", "when drawing would cost more than enumerating"


def test_intervals_hold_the_exact_value_as_often_as_they_say(mdm: Model) -> None:
    exact = score(mdm, [(CONTEXT, LONG)], method="exact")[0].logprob
    options: dict[str, Any]
    for options in ({"draws": 64}, {"until_se": 0.5}):
        held = 0
        for seed in range(300):
            low, high = score(mdm, [(CONTEXT, LONG)], seed=seed, **options)[0].interval
            held += low - 1e-6 <= exact <= high + 1e-6
        assert 0.90 < held / 300 < 0.99, options


def test_progress_counts_pairs(mdm: Model, arm: Model) -> None:
    for model in (mdm, arm):
        seen: list[tuple[int, int]] = []
        score(model, [(CONTEXT, ANSWER)] * 5, draws=4, progress=lambda *counts, seen=seen: seen.append(counts))
        assert [of for _, of in seen] == [5] * len(seen)
        assert [done for done, _ in seen] == sorted(done for done, _ in seen) and seen[-1][0] >= 4


def test_fixed_counts_vary_less_than_bernoulli_masks(mdm: Model) -> None:
    def spread(method: str) -> float:
        found = (score(mdm, [(CONTEXT, LONG)], method=method, draws=32, seed=seed)[0] for seed in range(60))
        return float(np.std([s.logprob for s in found]))

    assert spread("mc-fixed") < 0.7 * spread("mc-bernoulli")


PAIRS = st.lists(
    st.tuples(st.lists(st.integers(0, V - 1), max_size=5), st.lists(st.integers(0, V - 1), min_size=1, max_size=4)),
    min_size=1,
    max_size=5,
)


@settings(max_examples=30)
@given(PAIRS, st.sampled_from(["mc-fixed", "mc-bernoulli", "chain-rule", "exact"]), st.sampled_from([0.0, 0.5]))
def test_neither_batch_nor_order_of_the_pairs_matters(mdm: Model, pairs: Any, method: str, guidance: float) -> None:
    options: dict[str, Any] = {"method": method, "guidance": guidance, "draws": 12}
    together = score(mdm, pairs, **options)
    backwards = score(mdm, pairs[::-1], batch_tokens=1, **options)[::-1]
    for a, b, pair in zip(together, backwards, pairs, strict=True):
        assert a.logprob == pytest.approx(b.logprob, rel=1e-4)
        assert a.se == pytest.approx(b.se, rel=1e-3, abs=1e-5)
        assert a.n_tokens == len(pair[1]) and (a.se > 0 or a.logprob <= 0)


def test_the_same_masks_for_every_model(make_model, mdm: Model) -> None:
    """Common random numbers: the difference of two models varies less than either does."""
    other = make_model(seed=1)
    with torch.no_grad():
        other.network.output.weight.mul_(1.05)
    first, second = (
        np.array([score(model, [(CONTEXT, LONG)], draws=16, seed=seed)[0].logprob for seed in range(40)])
        for model in (mdm, other)
    )
    assert (first - second).std() < 0.4 * first.std()


def test_a_score_carries_its_protocol(mdm: Model) -> None:
    (s,) = score(mdm, [(CONTEXT, LONG)], draws=8, seed=3, guidance=0.25)
    told = json.loads(json.dumps(s.to_dict()))
    assert (told["method"], told["seed"], told["guidance"]) == ("mc-fixed", 3, 0.25)
    assert 5 <= told["draws"] <= 8, "what was run, at most what was asked for"
    assert told["nats_per_token"] == pytest.approx(-s.logprob / 8) and told["bits_per_byte"] is None
    assert len(told["config_hash"]) == 16 and told["target"] == "nelbo" and told["order"] == "left-to-right"
    assert unmask.score is score


def test_published_chain_rule_numbers(published, tmp_path) -> None:
    from unmask.interop.smdm import convert

    folder = published
    model = unmask.load(convert(folder / "mdm.safetensors", folder / "config.json", tmp_path / "m", rope="fp32"))
    from safetensors.torch import load_file

    ids = load_file(folder / "tensors.safetensors")["ids"].tolist()
    expected = json.loads((folder / "expected.json").read_text())
    cases = next(value for key, value in expected.items() if key.startswith("chain_rule_nll"))
    pairs = [(ids[i][:20], ids[i][20 : 20 + n]) for i, (_, n) in enumerate(cases["0.0"])]
    for guidance, rows in cases.items():
        found = score(model, pairs, method="chain-rule", guidance=float(guidance))
        assert [-s.logprob for s in found] == pytest.approx([nll for nll, _ in rows], abs=1e-3)


@pytest.mark.parametrize(
    ("pairs", "options", "message"),
    [
        ([([1], [])], {}, "pair 0 has an empty continuation"),
        ([([1], [2]), ([1], [3])], {}, r"pair 1: the continuation holds the mask \(3\)"),
        ([([1], [7])], {}, "token id 7 lies outside the vocabulary of 4"),
        ([([1], [1] * 24)], {}, "the continuation has 24 tokens, the context of 24 holds 23; split it"),
        ([([1], "text")], {}, "has no tokenizer.json"),
        (["ab"], {}, "pair 0 is not a "),
        ([([1],)], {}, "pair 0 is not a "),
        ([([1], [None])], {}, "pair 0 holds neither texts nor lists of token ids"),
        ([([1], [2])], {"method": "exakt"}, "did you mean 'exact'"),
        ([([1], [2])], {"draws": 1}, "draws is 1"),
        ([([1], [2])], {"guidance": math.nan}, "guidance is nan"),
        ([([1], [2])], {"batch_tokens": 0}, "batch_tokens is 0"),
        ([([1], [2])], {"method": "chain-rule", "order": "randon"}, "did you mean 'random'"),
        ([([1], [2])], {"order": "random"}, "order 'random' does not concern method mc-fixed"),
        ([([1], [2])], {"until_se": 0}, "until_se is 0; give a standard error in nats above 0"),
        ([([1], [2])], {"until_se": 0.1, "method": "exact"}, "until_se does not concern method exact"),
        ([([1], [2])], {"until_se": 0.1, "max_draws": 5}, "max_draws is 5; give at least 32"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_named(mdm: Model, pairs: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        score(mdm, pairs, **options)


def test_a_long_context_is_cut_on_the_left_and_counted(mdm: Model) -> None:
    with pytest.warns(UserWarning, match="1 of 2 contexts are cut on the left to fit the model's 24 tokens"):
        long, short = score(mdm, [([1] * 10 + [2] * 21, ANSWER), (CONTEXT, ANSWER)], method="chain-rule")
    assert (long.context_dropped, short.context_dropped) == (10, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert score(mdm, [([2] * 21, ANSWER)], method="chain-rule")[0].logprob == pytest.approx(long.logprob, rel=1e-5)
    assert score(mdm, []) == []


def test_a_score_says_its_type_unless_it_is_fp32(writers: dict[str, Model]) -> None:
    for kind, model in writers.items():
        held = Model(copy.deepcopy(model.network).hold(torch.bfloat16), model.tokenizer)
        pairs = [("some ", "text"), ("", "and more of it")]
        windows = np.arange(60).reshape(3, 20) % 250
        for plain, other in (
            (score(model, pairs, "chain-rule"), score(held, pairs, "chain-rule")),
            (rolling(model, ["a text " * 20]), rolling(held, ["a text " * 20])),
            ([corpus_bound(model, windows)], [corpus_bound(held, windows)]),
        ):
            for ours, theirs in zip(plain, other, strict=True):
                assert (ours.dtype, theirs.dtype) == ("fp32", "bf16"), kind
                assert "dtype" not in ours.to_dict() and theirs.to_dict()["dtype"] == "bf16"
                assert ours.config_hash == theirs.config_hash
                assert ours.nats_per_token != theirs.nats_per_token
                assert ours.nats_per_token == pytest.approx(theirs.nats_per_token, rel=0.02)
