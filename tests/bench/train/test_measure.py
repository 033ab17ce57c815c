"""`unmask bench train` for real, on a model that takes milliseconds; and its arms against each other."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from unmask.bench.train.measure import BenchOptions, bench_train, in_words, model_fields, spread
from unmask.bench.train.processes import Checkout
from unmask.bench.train.tiny import TINY
from unmask.data.shards import TokenData
from unmask.errors import UserError
from unmask.model.flops import StepCost, training_flops_per_token
from unmask.training.recipe import ModelFields


def test_corpus_is_read_by_the_usual_reader_and_can_be_learnt(corpus):
    data = TokenData(corpus, "train")
    tokens = data.read(0, data.n_tokens)
    assert data.vocab_size == 300 and 0 <= tokens.min() and tokens.max() < 300
    assert np.bincount(tokens).argmax() == 0  # Zipf: the first is the most frequent
    assert TokenData(corpus, "validation").n_tokens == (1 << 14) // 16


@pytest.mark.parametrize("kind", ["mdm", "arm"])
@pytest.mark.parametrize("other", ["plain", "transformers"])
def test_arms_train_the_same_model(arm_of, kind, other):
    """20 steps at a high rate, sequences of unequal length among them: the losses stay together, and fall."""
    if other == "transformers":
        pytest.importorskip("transformers")
    ours, theirs = arm_of("ours", kind=kind), arm_of(other, kind=kind)
    a, b = ([arm.step(step) for step in range(20)] for arm in (ours, theirs))
    assert a == pytest.approx(b, rel=2e-3)
    assert a[0] == pytest.approx(b[0], rel=1e-5)
    assert np.mean(a[-5:]) < np.mean(a[:5])
    assert ours.tally.tokens == theirs.tally.tokens
    assert ours.tally.flops == theirs.tally.flops


def test_needed_flops_are_those_of_a_step_on_average(arm_of):
    """Counted from the masks at hand, they agree with the expectation; a budget's rule counts whole layers."""
    arm = arm_of("ours", random_length=0.0, batch_size=64)
    for _ in range(2):
        arm.step(_)
    share = arm.recipe.objective.head_share(32)
    expected = StepCost(arm.config).of(1, 32, share * 32) / 32
    assert arm.tally.tokens == 2 * 64 * 32
    assert arm.tally.flops / arm.tally.tokens == pytest.approx(expected, rel=0.02)
    assert expected < training_flops_per_token(arm.config, 32, share)


def test_bench_end_to_end(tmp_path):
    """One process and two ranks in turns, by the command; JSON, plot, trace and table."""
    files = {name: tmp_path / file for name, file in (("out", "b.json"), ("plot", "b.png"), ("profile", "t.json"))}
    options = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    words = "bench train --size 1x2x16 --vocab 100 --context 32 --threads 2 --no-compile --ranks 2 --precision fp32"
    words += " --rounds 2 --steps 2 --warmup 1"
    done = subprocess.run(
        [sys.executable, "-m", "unmask", *words.split(), *options], capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(files["out"].read_text())
    assert report["schema_version"] == 2 and report["settings"]["batch"] == 4
    found = report["sizes"]["1x2x16"]
    assert list(found["arms"]) == ["ours", "2 ranks"]
    for arm in found["arms"].values():
        assert len(arm["tokens_per_second"]["rounds"]) == 2 and len(arm["losses"]) == 4
        assert 0 < arm["matmul_peak_share"]["median"] < 1
        assert arm["peak_memory"] > arm["bare_memory"] > 0
    assert found["over"]["ours"]["2 ranks"]["loss_difference"] < 1e-4
    assert found["arms"]["2 ranks"]["bare_memory"] > 1.5 * found["arms"]["ours"]["bare_memory"]
    assert files["plot"].stat().st_size > 5000
    assert json.loads(files["profile"].read_text())["traceEvents"]
    assert "2 ranks / ours" in done.stdout and "matmul peak" in done.stdout and "backward" in done.stdout


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"size": ["7M"]}, "--size 7M"),
        ({"against": ["plane"]}, "did you mean 'plain'"),
        ({"batch": -1}, "--batch"),
        ({"ranks": 3, "threads": 2}, "--ranks 3"),
        ({"out": "/nowhere/at/all.json"}, "its folder does not exist"),
        ({"size": ["2x3x16"]}, "n_head"),
        ({"precision": ["fp23"]}, "--precision fp23"),
        ({"against_checkout": ["/nowhere/at/all:fp32"]}, "/nowhere/at/all is no checkout"),
    ],
)
def test_bad_input_names_the_option(fields, named):
    with pytest.raises(UserError, match=named):
        bench_train(BenchOptions(**{"vocab": 50, "context": 8, "threads": 1} | fields))


def test_sizes_defaults_and_spread():
    assert model_fields("6M").size == "6M"
    assert model_fields("3x2x16") == ModelFields(n_layer=3, n_head=2, n_embd=16)
    assert (BenchOptions().resolved().batch, BenchOptions().resolved().context) == (4, 512)
    memory = BenchOptions(memory=True, rounds=2).resolved()
    assert (memory.batch, memory.context, memory.rounds, memory.steps) == (8, 2048, 2, 2)
    assert spread(np.array([3.0, 1.0, 2.0])) == {"median": 2.0, "q1": 1.5, "q3": 2.5, "rounds": [3.0, 1.0, 2.0]}


def test_another_checkout_and_both_types_take_turns():
    """This tree against itself, named by its commit: the protocol, names, ratios and a peak in one measure."""
    root = Path(__file__).resolve().parents[3]
    report = bench_train(
        BenchOptions(
            size=["1x2x16"], vocab=100, context=32, threads=1, rounds=2, steps=1, warmup=1, compile=False,
            precision=["fp32", "bf16"], against_checkout=[f"{root}:bf16:eager"],
        )
    )  # fmt: skip
    found = report["sizes"]["1x2x16"]
    other = f"{Checkout.read(str(root)).name} bf16 eager"
    assert list(found["arms"]) == ["ours fp32", "ours bf16", other]
    assert report["settings"]["against_checkout"] == [other]
    assert {lead: list(others) for lead, others in found["over"].items()} == {
        "ours fp32": [other],
        "ours bf16": ["ours fp32", other],
    }
    assert found["arms"][other]["losses"] == found["arms"]["ours bf16"]["losses"]
    assert all(arm["matmul_peak"]["median"] > 0 for arm in found["arms"].values())
    assert f"ours bf16 / {other}: " in in_words(report)


@pytest.mark.slow
def test_tiny_finds_a_way_and_holds_it_against_the_base(tmp_path, monkeypatch):
    monkeypatch.setenv("UNMASK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("unmask.bench.train.tiny.TURN", 0.01)
    out, root = tmp_path / "tiny.json", Path(__file__).resolve().parents[3]
    options = BenchOptions(
        tiny=True, size=["1x2x16"], vocab=50, context=16, batch=2, threads=1, rounds=2, compile=False, out=str(out),
        against_checkout=[str(root)],
    )  # fmt: skip
    report = bench_train(options)
    assert json.loads(out.read_text()) == json.loads(json.dumps(report))
    found = report["sizes"]["1x2x16"]
    names = list(found["arms"])
    assert names[0].endswith("fp32 eager 1 x 1") and names[1] == "fp32 eager 1 x 1"
    assert found["arms"][names[0]]["ratio"]["rounds"] == [1.0, 1.0]
    assert found["fastest"]["tokens_per_second"] > 0
    text = in_words(report)
    assert "the search: " in text and "1.00x [1.00, 1.00]" in text and "1 processes x 1 threads" in text
    assert TINY["0.6M"] == ("4x6x96", 8)
