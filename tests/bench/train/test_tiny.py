"""`unmask bench train --tiny`: a way is found, and held against the base."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unmask.bench.train.measure import bench_train, in_words
from unmask.bench.train.options import BenchOptions
from unmask.bench.train.tiny import TINY


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
