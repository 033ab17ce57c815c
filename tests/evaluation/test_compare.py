"""One protocol for all: same tokens, exact bytes, and a hash that knows when two numbers differ in kind."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unmask.data.shards import TokenData
from unmask.errors import UserError
from unmask.evaluation.baselines import Unigram
from unmask.evaluation.compare import compare, training_curve
from unmask.likelihood import score
from unmask.model.folder import Model
from unmask.model.tokenizers import Tokenizer


def test_the_arm_number_is_the_exact_one_over_exact_bytes(
    models: dict[str, Model], windows_NT: np.ndarray, summary: dict[str, Any]
) -> None:
    total = -sum(s.logprob for s in score(models["arm"], [([0], row.tolist()) for row in windows_NT]))
    tokenizer = models["arm"].tokenizer
    assert tokenizer is not None
    n_bytes = sum(len(tokenizer.decode(row.tolist()).encode()) for row in windows_NT)
    assert summary["protocol"]["bytes"] == n_bytes and summary["protocol"]["tokens"] == windows_NT.size
    assert summary["arm"]["bits_per_byte"] == pytest.approx(total / math.log(2) / n_bytes, rel=1e-5)


def test_the_mdm_number_agrees_with_another_estimate(
    models: dict[str, Model], windows_NT: np.ndarray, summary: dict[str, Any]
) -> None:
    found = score(models["mdm"], [([0], row.tolist()) for row in windows_NT], draws=200, seed=5)
    total, se = -sum(s.logprob for s in found), math.sqrt(sum(s.se**2 for s in found))
    per_byte = summary["protocol"]["bytes"] * math.log(2)
    error = math.hypot(se / per_byte, summary["mdm"]["bits_per_byte_se"])
    assert abs(summary["mdm"]["bits_per_byte"] - total / per_byte) < 4 * error


def test_the_unigram_is_asked_about_the_same_tokens(
    demo_run: Path, windows_NT: np.ndarray, summary: dict[str, Any]
) -> None:
    nats = Unigram.of(TokenData(demo_run / "data", "train")).nats(windows_NT).sum()
    expected = nats / math.log(2) / summary["protocol"]["bytes"]
    assert summary["unigram"]["bits_per_byte"] == pytest.approx(expected)


def test_the_hash_covers_the_protocol(models: dict[str, Model], demo_run: Path) -> None:
    def hash_of(**options: int) -> str:
        found: str = compare(models, demo_run / "data", **{"windows": 4, "draws": 2, **options})["protocol"]["hash"]
        return found

    assert len({hash_of(), hash_of(draws=3), hash_of(windows=5), hash_of(seed=9)}) == 4
    assert hash_of() == hash_of()


def test_another_tokenizer_is_refused(models: dict[str, Model], demo_run: Path) -> None:
    foreign = Model(models["mdm"].network, Tokenizer.plain_bytes())
    with pytest.raises(UserError, match="mdm was not trained with the tokenizer of"):
        compare({"mdm": foreign, "arm": models["arm"]}, demo_run / "data")


def test_curves_are_the_validations_in_bits(demo_run: Path) -> None:
    lines = (demo_run / "mdm" / "metrics.jsonl").read_text().splitlines()
    logged = [r for r in map(json.loads, lines) if r["kind"] == "validation"]
    curve = training_curve(demo_run / "mdm", demo_run / "data")
    assert [p["step"] for p in curve] == [r["step"] for r in logged]
    ratios = {round(p["bits_per_byte"] / r["loss"], 9) for p, r in zip(curve, logged, strict=True)}
    assert len(ratios) == 1
