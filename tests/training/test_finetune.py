"""What is in the loss of fine-tuning, against numbers by hand."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import unmask
from training.fine_tuning import CONTEXT, EOS, MASK, ROWS, TOKENIZER, network
from unmask.data.sft import Examples, read_examples
from unmask.data.sft_fields import SFTFields
from unmask.diffusion.objective import Inputs, Objective
from unmask.diffusion.objective_config import ObjectiveConfig
from unmask.training.distribution import Ranks, share_of
from unmask.training.finetune import FineTuning
from unmask.training.loop import train
from unmask.training.recipe_fields import Recipe
from unmask.training.run_folder import checksums


def task(recipe: Recipe) -> FineTuning:
    assert recipe.init is not None
    return FineTuning.open(recipe, unmask.load(recipe.init))


def scored(inputs: Inputs) -> list[list[int]]:
    """The places in each row where there is a target."""
    width = inputs.tokens_BT.shape[1]
    found: list[list[int]] = [[] for _ in inputs.tokens_BT]
    for position in inputs.positions_N.tolist():
        found[position // width].append(position % width)
    return found


def row_of(tokens: list[int], targets: dict[int, int]) -> int:
    """Which row of ROWS an input is, its masks filled in."""
    clean = [targets.get(i, token) for i, token in enumerate(tokens)]
    starts = [TOKENIZER.encode(prompt + answer) + [EOS] for prompt, answer in ROWS]
    return next(i for i, ids in enumerate(starts) if clean[: len(ids)] == ids)


@pytest.mark.parametrize("padding", ["longest", "context", "ignore"])
def test_prompts_are_clean_and_what_is_scored_is_as_said(make: Any, padding: str) -> None:
    made = task(make(sft__padding=padding, objective__masking="fixed"))
    longest = max(len(prompt) + len(answer) + 1 for prompt, answer in ROWS)
    for step in range(30):
        k = np.arange(6 * step, 6 * step + 6)
        inputs = made.inputs(k)
        learned = 0
        for b, (tokens, places) in enumerate(zip(inputs.tokens_BT.tolist(), scored(inputs), strict=True)):
            targets = inputs.targets_N[inputs.rows_N == b].tolist()
            prompt, answer = ROWS[row_of(tokens, dict(zip(places, targets, strict=True)))]
            end = len(prompt) + len(answer) + 1
            width = {"longest": inputs.tokens_BT.shape[1], "context": CONTEXT, "ignore": end}[padding]
            assert [i for i, token in enumerate(tokens) if token == MASK] == places, "masks are what is scored"
            assert all(len(prompt) <= place < width for place in places)
            count = width - len(prompt)  # what could have been masked: a fixed count of them is, weighed L / c
            learned += count
            assert float(inputs.weight_B[b]) == pytest.approx(count / len(places))
            assert [t for i, t in enumerate(tokens[end:], end) if i not in places] == [EOS] * (
                len(tokens) - end - sum(place >= end for place in places)
            )
        assert made.divisor(k) == learned == int(inputs.lengths_B.sum())
        assert (inputs.key_mask_BT is not None) == (padding == "ignore")
        if padding == "longest":
            # The paper's: B x longest - the prompts.
            rows = [ROWS[int(made._examples.rows[w]) % 6] for w in made.windows(k)]
            most = max(len(p) + len(a) + 1 for p, a in rows)
            assert made.divisor(k) == 6 * most - sum(len(p) for p, _ in rows) and most <= longest
            assert made.n_tokens(k) == 6 * most


def test_padding_that_is_seen_is_noised_to_the_context_and_not_scored(make: Any) -> None:
    made = task(make(sft__padding="seen", objective__masking="fixed"))
    behind = 0
    for step in range(30):
        k = np.arange(6 * step, 6 * step + 6)
        inputs = made.inputs(k)
        learned = 0
        for b, (tokens, places) in enumerate(zip(inputs.tokens_BT.tolist(), scored(inputs), strict=True)):
            prompt, answer = ROWS[int(made._examples.rows[made.windows(k)[b]]) % 6]
            end = len(prompt) + len(answer) + 1
            masked = [i for i, token in enumerate(tokens) if token == MASK]
            assert len(tokens) == CONTEXT and places == [i for i in masked if i < end]
            assert float(inputs.weight_B[b]) == pytest.approx((CONTEXT - len(prompt)) / len(masked))
            behind += len(masked) - len(places)
            learned += end - len(prompt)
        assert made.divisor(k) == learned and made.n_tokens(k) == 6 * CONTEXT and inputs.key_mask_BT is None
    assert behind


@pytest.mark.parametrize("kind", ["mdm", "arm"])
def test_the_loss_by_hand(make: Any, kind: str) -> None:
    """Both divisors, against cross-entropies of the whole logits."""
    model = network(kind == "arm")
    for divisor in ("tokens", "sequence"):
        made = task(make(kind=kind, sft__divisor=divisor, sft__padding="longest"))
        k = np.arange(12, 18)
        inputs = made.inputs(k)
        found = float(Objective(ObjectiveConfig(kind=kind)).loss(model, inputs).loss_sum.detach()) / made.divisor(k)
        rows = [ROWS[int(made._examples.rows[w]) % 6] for w in made.windows(k)]
        longest = max(len(p) + len(a) + 1 for p, a in rows)
        total, count = 0.0, 0
        for b, (prompt, answer) in enumerate(rows):
            ids = TOKENIZER.encode(prompt + answer) + [EOS]
            if kind == "arm":
                logp = model(torch.tensor([ids[:-1]])).detach().log_softmax(-1)[0]
                loss = -sum(float(logp[i - 1, ids[i]]) for i in range(len(prompt), len(ids)))
                scored_here = len(ids) - len(prompt)
            else:
                ids += [EOS] * (longest - len(ids))
                noisy = inputs.tokens_BT[b]
                logp = model(noisy[None]).detach().log_softmax(-1)[0]
                p = float(inputs.level_B[b])
                loss = -sum(float(logp[i, ids[i]]) for i in range(longest) if noisy[i] == MASK) / p
                scored_here = longest - len(prompt)
            total += loss / (1 if divisor == "tokens" else scored_here)
            count += scored_here
        assert found == pytest.approx(total / (count if divisor == "tokens" else 6), rel=1e-4)


def test_an_autoregressive_model_learns_the_answer_and_one_end(make: Any) -> None:
    made = task(make(kind="arm", sft__padding="context"))
    k = np.arange(6)
    inputs = made.inputs(k)
    for b, window in enumerate(made.windows(k)):
        prompt, answer = ROWS[int(made._examples.rows[window]) % 6]
        assert inputs.targets_N[inputs.rows_N == b].tolist() == [*TOKENIZER.encode(answer), EOS]
        assert scored(inputs)[b] == list(range(len(prompt) - 1, len(prompt) + len(answer)))
    assert made.divisor(k) == len(inputs.targets_N)


@pytest.mark.parametrize(
    "fields",
    [
        {"padding": "longest", "prompt_dropout": 0.4},
        {"padding": "ignore", "bucket_batches": 3, "divisor": "sequence"},
        {"padding": "ignore", "packing": True, "prompt_dropout": 0.4},
        {"padding": "context"},
        {"padding": "seen", "divisor": "sequence"},
    ],
)
@pytest.mark.parametrize(("masking", "span"), [("bernoulli", 1), ("fixed", 1), ("fixed", 3)])
def test_micro_batches_and_ranks_see_the_same(make: Any, fields: dict[str, Any], masking: str, span: int) -> None:
    model, weighting = network(), "ce" if fields["padding"] == "context" else "nelbo"
    objective: dict[str, Any] = {"masking": masking, "weighting": weighting, "kind": "mdm", "span": span}
    made = task(make(sft={"template": "raw", **fields}, objective=objective))
    loss = Objective(ObjectiveConfig(**objective)).loss
    k = np.arange(18, 24)
    model.requires_grad_(False)
    whole = float(loss(model, made.inputs(k)).loss_sum)
    ranks = Ranks(torch.device("cpu"))
    for size, micro in ((1, 1), (2, 1), (3, 2), (2, 3)):
        parts = []
        for rank in range(size):
            ranks.size, ranks.rank = size, rank
            # A task of its own, as each rank has.
            mine = task(make(sft={"template": "raw", **fields}, objective=objective))
            assert mine.divisor(k) == made.divisor(k)
            parts += [mine.inputs(part) for part in share_of(mine.order(k), ranks, micro)]
        assert sum(float(loss(model, part).loss_sum) for part in parts) == pytest.approx(whole, rel=1e-5)


def test_buckets_hold_every_sample_of_their_pool_once_and_like_lengths(make: Any) -> None:
    plain = task(make())
    made = task(make(sft__bucket_batches=3))
    k = np.arange(18)
    assert sorted(made.windows(k)) == sorted(plain.windows(k))
    assert made.windows(k).tolist() != plain.windows(k).tolist()
    assert sum(made.padded_lengths(k)) < sum(plain.padded_lengths(k)), "less padding"
    assert made.windows(np.array([4, 40, 13])).tolist() == [made.windows(np.arange(60))[i] for i in (4, 40, 13)], (
        "any sample may be asked for"
    )


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(2, 60), st.integers(1, 20), st.integers(1, 9), st.integers(0, 2**32))
def test_buckets_show_every_example_once_an_epoch_whatever_divides(
    make: Any, n: int, batch: int, buckets: int, seed: int
) -> None:
    lengths = np.random.default_rng(seed).integers(2, CONTEXT, n)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    learned = np.ones(starts[-1], dtype=bool)
    learned[starts[:-1]] = False
    examples = Examples(np.ones(starts[-1], dtype=np.int32), learned, starts, np.arange(n), n)
    recipe = make(sft__bucket_batches=buckets, batch_size=batch, seed=seed)
    made = FineTuning(recipe, network().config, EOS, examples, examples)
    whole = made.windows(np.arange(4 * n))
    for epoch in whole.reshape(4, n):
        assert sorted(epoch) == list(range(n))
    again = FineTuning(recipe, network().config, EOS, examples, examples)
    some = np.random.default_rng(0).permutation(4 * n)[:20]
    assert again.windows(some).tolist() == whole[some].tolist(), "a function of (seed, k)"
    # Batches inside one epoch and one pool are a run of the sorted lengths: none of another lies between.
    size = buckets * batch
    for pool in range(4 * n // size):
        for epoch_ in range(4):
            inside = [k for k in range(pool * size, (pool + 1) * size) if k // n == epoch_]
            spans = [lengths[whole[[k for k in inside if k // batch == b]]] for b in {k // batch for k in inside}]
            ordered = sorted((int(s.min()), int(s.max())) for s in spans)
            assert all(a[1] <= b[0] for a, b in itertools.pairwise(ordered))


def test_the_held_out_are_named(make: Any, capfd: Any) -> None:
    result = train(make(steps=1))
    report = json.loads((Path(result.run) / "sft.json").read_text())
    (row,) = report["held_out"]["rows"]
    assert report["held_out"] == {"examples": 1, "trained_on": 17, "rows": [row]} and 1 <= row <= 18
    told = capfd.readouterr().err
    assert f"trained on 17, the other 1 (row {row}) are held out for validation" in told
    assert not [name for name in checksums(report) if name.startswith("held_out")], "older runs resume"
    held = task(make())._examples
    assert row - 1 not in held.rows and len(held) == 17


def test_every_epoch_has_every_example_once(make: Any) -> None:
    fields: dict[str, Any]
    for fields in ({}, {"packing": True, "padding": "ignore"}, {"bucket_batches": 2}):
        made = task(make(sft={"template": "raw", **fields}))
        for epoch in range(3):
            k = np.arange(epoch * made.n_samples, (epoch + 1) * made.n_samples)
            assert sorted(made._members_of(made.windows(k))) == list(range(len(made._examples)))


def test_prompt_dropout_hides_whole_prompts_of_that_share(make: Any) -> None:
    made = task(make(sft__prompt_dropout=0.3))
    hidden = 0
    for k in range(600):
        inputs = made.inputs(np.array([k]))
        prompt, _ = ROWS[int(made._examples.rows[made.windows(np.array([k]))[0]]) % 6]
        masks = (inputs.tokens_BT[0, : len(prompt)] == MASK).tolist()
        assert all(masks) or not any(masks)
        assert not set(scored(inputs)[0]) & set(range(len(prompt))), "hidden, and still out of the loss"
        hidden += masks[0]
    assert hidden / 600 == pytest.approx(0.3, abs=0.06)


def test_an_autoregressive_model_reads_ends_of_sequence_in_place_of_a_dropped_prompt(make: Any) -> None:
    made, whole = (task(make(name, kind="arm", sft__prompt_dropout=p)) for name, p in (("some", 0.4), ("none", 0.0)))
    hidden = 0
    for k in range(200):
        inputs, clean = made.inputs(np.array([k])), whole.inputs(np.array([k]))
        prompt, _ = ROWS[int(made._examples.rows[made.windows(np.array([k]))[0]]) % 6]
        n = len(prompt)
        dropped = bool((inputs.tokens_BT != clean.tokens_BT).any())
        assert not dropped or (inputs.tokens_BT[0, :n] == EOS).all()
        assert torch.equal(inputs.tokens_BT[0, n:], clean.tokens_BT[0, n:])
        assert torch.equal(inputs.targets_N, clean.targets_N) and torch.equal(inputs.positions_N, clean.positions_N)
        hidden += dropped
    assert hidden / 200 == pytest.approx(0.4, abs=0.1)


@pytest.mark.parametrize("kind", ["mdm", "arm"])
def test_packed_examples_are_computed_as_if_each_were_alone(make: Any, kind: str) -> None:
    model = network(kind == "arm").requires_grad_(False)
    made = task(make(kind=kind, sft__packing=True, sft__padding="ignore", objective__masking="fixed"))
    k = np.arange(made.n_samples)
    inputs = made.inputs(k)
    assert len(inputs.tokens_BT) < len(inputs.weight_B) and inputs.segments_BT is not None
    outcome = Objective(ObjectiveConfig(kind=kind)).loss(model, inputs)
    total, flat = 0.0, inputs.tokens_BT.flatten()
    row, width = 0, inputs.tokens_BT.shape[1]
    for m in range(len(inputs.weight_B)):
        positions = inputs.positions_N[inputs.rows_N == m]
        row = int(positions[0]) // width
        segment = inputs.segments_BT.flatten()[positions[0]]
        places = torch.nonzero(inputs.segments_BT[row] == segment).flatten() + row * width
        logits = model(flat[places][None])[0]
        ce = torch.nn.functional.cross_entropy(
            logits[positions - places[0]], inputs.targets_N[inputs.rows_N == m], reduction="none"
        )
        assert float(outcome.ce_B[m]) == pytest.approx(float(ce.mean()), rel=1e-4)
        total += float(ce.sum()) * float(inputs.weight_B[m])
    assert float(outcome.loss_sum) == pytest.approx(total, rel=1e-4)
    assert len(inputs.weight_B) == len(made._examples) and made.divisor(k) == int(inputs.lengths_B.sum())


def test_a_batch_without_a_mask_and_one_all_masked_are_finite(make: Any) -> None:
    model = network()
    objective = Objective(ObjectiveConfig(masking="bernoulli"))
    made = task(make(sft__padding="ignore", batch_size=1))
    k = next(i for i in range(500) if not len(made.inputs(np.array([i])).positions_N))
    empty = objective.loss(model, made.inputs(np.array([k])))
    empty.loss_sum.backward()
    assert float(empty.loss_sum.detach()) == 0.0
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())
    hidden = task(make(sft__padding="ignore", sft__prompt_dropout=0.9, batch_size=1, objective__masking="fixed"))
    full = next(i for i in (hidden.inputs(np.array([i])) for i in range(500)) if (i.tokens_BT == MASK).all())
    assert 0 < float(objective.loss(model, full).loss_sum.detach()) < 1000


def test_held_out_loss_is_that_of_score(make: Any, bases: Path) -> None:
    held_out = bases / "held.jsonl"
    held_out.write_text('{"prompt": "1+1?", "completion": "2"}\n{"prompt": "Say hello", "completion": "Hello."}\n')
    for kind in ("mdm", "arm"):
        model = unmask.load(bases / kind)
        made = task(make(kind=kind, sft__validation=str(held_out), validation__draws=8))
        found = made.validate(model)
        pairs = [(TOKENIZER.encode(p), [*TOKENIZER.encode(a), EOS]) for p, a in ROWS[:2]]
        scores = unmask.score(model, pairs, draws=8, seed=20410)
        assert found["loss"] == pytest.approx(-sum(s.logprob for s in scores) / 9)
        assert found["se"] == pytest.approx(math.hypot(*(s.se for s in scores)) / 9)
        low, high = found["interval"]
        assert low < found["loss"] < high if kind == "mdm" else low == found["loss"] == high
        assert (found["tokens"], found["answers"]) == (9, 2)
        assert found["method"] == ("exact" if kind == "arm" else "mc-fixed")


def test_the_example_set_of_a_run_is_that_of_the_reader(make: Any, bases: Path) -> None:
    recipe = make(sft__validation=str(bases / "rows.jsonl"))
    examples = read_examples(recipe.data, SFTFields(template="raw"), TOKENIZER, EOS, CONTEXT)
    assert task(recipe).report["train"] == examples.report()
    assert dataclasses.asdict(recipe)["sft"]["template"] == "raw"
