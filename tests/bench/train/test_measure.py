"""`unmask bench train` for real, on a model that takes milliseconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from unmask.bench.train.measure import bench_train, in_words
from unmask.bench.train.options import BenchOptions
from unmask.bench.train.processes import Checkout
from unmask.errors import UserError


@pytest.mark.slow
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
        ({"batch": -1}, "--batch"),
        ({"size": ["2x3x16"]}, "n_head"),
        ({"against_checkout": ["/nowhere/at/all:fp32"]}, "/nowhere/at/all is no checkout"),
    ],
)
def test_bad_input_names_the_option(fields, named):
    with pytest.raises(UserError, match=named):
        bench_train(BenchOptions(**{"vocab": 50, "context": 8, "threads": 1} | fields))


@pytest.mark.slow
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
