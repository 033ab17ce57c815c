"""What is in the loss of fine-tuning, against numbers by hand; and runs that are the same however they are cut."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

import unmask
from tokenizer_kinds import KINDS
from unmask.data.sft import Examples, read_examples
from unmask.data.sft_fields import SFTFields
from unmask.diffusion.objective import Inputs, Objective
from unmask.diffusion.objective_config import ObjectiveConfig
from unmask.errors import UserError
from unmask.model.config import ModelConfig
from unmask.model.folder import Model, save
from unmask.model.lora import load_adapter
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer
from unmask.training.distribution import Ranks, share_of
from unmask.training.finetune import FineTuning
from unmask.training.loop import train
from unmask.training.recipe_fields import Recipe
from unmask.training.run_folder import checksums

TOKENIZER = Tokenizer.plain_bytes()
EOS, MASK, CONTEXT = 0, 257, 24
ROWS = [
    ("1+1?", "2"),
    ("Say hello", "Hello."),
    ("A", "bcdefgh"),
    ("Once upon", " a time"),
    ("2*3", "6"),
    ("Go", "on!!"),
]


def network(causal: bool = False, seed: int = 1) -> Transformer:
    config = ModelConfig(
        n_layer=2, n_head=2, n_embd=16, vocab_size=257, block_size=32, eos_id=EOS, causal=causal, rope_base=100.0
    )
    made = Transformer(config, seed=seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(2.0)
    return made


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bases")
    for kind in ("mdm", "arm"):
        save(folder / kind, network(kind == "arm"), TOKENIZER)
    rows = [{"prompt": prompt, "completion": answer} for prompt, answer in ROWS]
    lines = "".join(json.dumps(row) + "\n" for row in rows * 3)
    (folder / "rows.jsonl").write_text(lines, encoding="utf-8")
    return folder


@pytest.fixture
def make(bases: Path, tmp_path: Path, changed_recipe: Callable[..., Recipe]) -> Callable[..., Recipe]:
    def recipe(name: str = "run", kind: str = "mdm", **changes: Any) -> Recipe:
        fields: dict[str, Any] = {
            "data": str(bases / "rows.jsonl"), "out": str(tmp_path / name), "init": str(bases / kind), "steps": 12,
            "context": CONTEXT, "batch_size": 6, "threads": 1, "log_every": 1, "objective": {"kind": kind},
            "optimizer": {"lr": 3e-3, "warmup": 0}, "validation": {"windows": 4, "draws": 4},
            "sft": {"template": "raw"},
        }  # fmt: skip
        return changed_recipe(fields, changes)

    return recipe


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
    ],
)
@pytest.mark.parametrize("masking", ["bernoulli", "fixed"])
def test_micro_batches_and_ranks_see_the_same(make: Any, fields: dict[str, Any], masking: str) -> None:
    model, weighting = network(), "ce" if fields["padding"] == "context" else "nelbo"
    objective = {"masking": masking, "weighting": weighting, "kind": "mdm"}
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


@pytest.mark.parametrize("kind", ["llama-2", "mistral", "gpt-2 prefix"])
@pytest.mark.parametrize("bos", [None, 1])
def test_what_was_learned_is_what_a_prompt_by_text_asks_for(make: Any, tmp_path: Path, kind: str, bos: int) -> None:
    """With tokenizers that put a space before a text the answer has none, in training, in scores and in what is
    written; and a begin token stands before all of them or none."""
    tokenizer = KINDS[kind]()
    shape = {"n_layer": 1, "n_head": 2, "n_embd": 32, "block_size": 32, "causal": True, "eos_id": tokenizer.eos_id}
    config = ModelConfig(**shape, vocab_size=tokenizer.vocab_size, bos=bos)
    save(tmp_path / "base", Transformer(config, seed=1), tokenizer)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "the people:", "completion": "yes."}\n' * 20)
    recipe = make("tuned", "arm", data=str(tmp_path / "rows.jsonl"), init=str(tmp_path / "base"), steps=60, context=32)
    result = train(recipe)
    model = unmask.load(tmp_path / "tuned")
    assert model.config == config and result.validation is not None
    (g,) = unmask.generate(model, "the people:", length=8, temperature=0)
    assert (g.text, g.stopped) == ("yes.", "eos") and (g.canvas[0] == bos or bos is None)
    given = len(model.encode("the people:"))
    ids = [*model.encode("the people:yes."), tokenizer.eos_id]
    assert g.canvas == ids
    (found,) = unmask.score(model, [(ids[:given], ids[given:])])
    assert -found.logprob / found.n_tokens == pytest.approx(result.validation["loss"], rel=1e-4)
    assert result.validation["loss"] < 0.4
    (by_text,) = unmask.score(model, [("the people:", "yes.")])
    assert by_text.n_tokens == found.n_tokens - 1 and found.logprob < by_text.logprob < 0


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


def losses(run: Path, kind: str = "train") -> list[float]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [record["loss"] for record in records if record["kind"] == kind]


@pytest.mark.parametrize("kind", ["mdm", "arm"])
@pytest.mark.parametrize("lora", [False, True])
def test_a_run_learns_resumes_exactly_and_refuses_changed_data(
    make: Any, tmp_path: Path, bases: Path, kind: str, lora: bool
) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_bytes((bases / "rows.jsonl").read_bytes())
    more: dict[str, Any] = {"lora": {"rank": 2, "alpha": 8}} if lora else {"sft__prompt_dropout": 0.2 * (kind == "mdm")}
    changes = {"kind": kind, "data": str(data), "steps": 60, "checkpoint__every": 20, "checkpoint__keep": 9, **more}
    changes |= {"optimizer__lr": 2e-2, "micro_batch": 3}
    train(make("whole", **changes))
    whole = tmp_path / "whole"
    before, *_, after = losses(whole, "validation")
    assert after < before - 0.3, "training lowers the held-out loss"
    report = json.loads((whole / "sft.json").read_text())
    assert report["train"]["examples"] == 18 and report["schema_version"] == 1

    cut = tmp_path / "cut"
    shutil.copytree(whole, cut)
    for step in (40, 60):
        shutil.rmtree(cut / "checkpoints" / f"step-{step:08d}")
    train(make("cut", **changes), resume=True)
    for name in ("model.safetensors", "train_state/optimizer.safetensors"):
        ours, theirs = (load_file(run / "checkpoints" / "step-00000060" / name) for run in (cut, whole))
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)
    assert losses(cut) == losses(whole) and losses(cut, "validation") == losses(whole, "validation")

    if lora:  # the adapters alone, on the base, are the model that the folder holds
        base, newest = unmask.load(bases / kind), whole / "checkpoints" / "step-00000060"
        load_adapter(base.network, newest / "adapter.safetensors")
        tokens = torch.arange(20)[None]
        torch.testing.assert_close(base.network(tokens), unmask.load(whole).network(tokens), atol=1e-4, rtol=1e-4)

    data.write_text('{"prompt": "other", "completion": "rows"}\n' * 9, encoding="utf-8")
    with pytest.raises(UserError, match="has changed.*sft.json"):
        train(make("cut", **changes), resume=True)


@pytest.mark.parametrize("words", [[], ["--parallel.kind", "fsdp"]])
@pytest.mark.parametrize("lora", [False, True])
def test_two_ranks_are_the_same_run(make: Any, tmp_path: Path, words: list[str], lora: bool) -> None:
    changes: dict[str, Any] = {"steps": 8, "sft__prompt_dropout": 0.2, "checkpoint__every": 4, "sft__bucket_batches": 2}
    if lora:
        changes["lora"] = {"rank": 2}
    train(make("one", **changes))
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump(make("two", **changes).to_dict()))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, "-m", "unmask", "train", str(path), *words], capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr
    for kind in ("train", "validation"):
        assert losses(tmp_path / "two", kind) == pytest.approx(losses(tmp_path / "one", kind), rel=2e-4)
    ours, theirs = (load_file(tmp_path / run / "checkpoints/step-00000008/model.safetensors") for run in ("one", "two"))
    for name, tensor in theirs.items():
        torch.testing.assert_close(tensor, ours[name], atol=2e-4, rtol=2e-3, msg=name)
    assert done.stderr.count("examples of 18 rows") == 1, "one rank speaks"


def test_epochs_are_a_budget_and_skipped_rows_are_told(make: Any, bases: Path, capfd: Any) -> None:
    data = bases / "some-bad.jsonl"
    data.write_text((bases / "rows.jsonl").read_text() + '{"prompt": "x", "completion": ""}\n')
    result = train(make(data=str(data), steps=0, epochs=2, sft__validation=str(bases / "rows.jsonl")))
    assert result.steps == 2 * 18 // 6
    assert "train data: 18 examples of 19 rows" in (told := capfd.readouterr().err)
    assert "skipped 1 without an answer (some-bad.jsonl:19)" in told
    report = json.loads((Path(result.run) / "sft.json").read_text())
    assert report["train"]["skipped"] == {"without an answer": {"count": 1, "rows": ["some-bad.jsonl:19"]}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init": None}, "sft needs a model to start from"),
        ({"context": 8}, "no row to learn from: 1 longer than the context"),
        ({"sft__validation_share": 0.01, "sft__fields": {"prompt": "q"}}, "no row to learn from"),
        ({"lora": {"rank": 0}}, "lora.rank is 0"),
        ({"lora": {"targets": "qkv,oot"}}, "lora.targets names 'oot'.*did you mean 'out'"),
        ({"lora": {}, "ema": 0.9}, "ema averages whole models"),
        ({"sft": {"padding": 3}}, "sft.padding is 3; give text"),
        ({"sft": 3}, "sft is 3; it must be a group"),
    ],
)
def test_what_is_wrong_is_named_before_anything_is_written(
    make: Any, tmp_path: Path, changes: Any, message: str
) -> None:
    if changes.get("context"):
        changes = {**changes, "data": str(write_long(tmp_path))}
    with pytest.raises(UserError, match=message):
        train(make(**changes))
    assert not (tmp_path / "run").exists()


def write_long(folder: Path) -> Path:
    path = folder / "long.jsonl"
    path.write_text('{"prompt": "a long prompt", "completion": "a long answer"}\n')
    return path


def test_a_model_without_a_tokenizer_is_refused(make: Any, tmp_path: Path) -> None:
    save(tmp_path / "bare", network())
    with pytest.raises(UserError, match="has no tokenizer.json, which fine-tuning needs"):
        train(make(init=str(tmp_path / "bare")))
    assert isinstance(unmask.load(tmp_path / "bare"), Model)


def test_the_example_set_of_a_run_is_that_of_the_reader(make: Any, bases: Path) -> None:
    recipe = make(sft__validation=str(bases / "rows.jsonl"))
    examples = read_examples(recipe.data, SFTFields(template="raw"), TOKENIZER, EOS, CONTEXT)
    assert task(recipe).report["train"] == examples.report()
    assert dataclasses.asdict(recipe)["sft"]["template"] == "raw"
