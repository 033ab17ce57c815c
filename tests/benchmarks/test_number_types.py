"""Types side by side: ratios within a round and errors in nats, on tiny shapes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import engine
from benchmarks.likelihood import LikelihoodBenchOptions, bench_likelihood
from benchmarks.number_types import errors_of, likelihood, likelihood_in_words
from unmask.errors import UserError
from unmask.likelihood.pairs import make_pairs
from unmask.model.folder import Model, load
from unmask.model.number_types import processor_has_bf16

BOTH = ["fp32", "bf16"]
needs_bf16 = pytest.mark.skipif(not processor_has_bf16(), reason="needs a processor with bf16 products")


@needs_bf16
def test_sampling_in_two_types(tmp_path: Path) -> None:
    shape: dict[str, Any] = {"size": ["1x2x16"], "grid_size": ["1x2x16"], "vocab": 50, "length": 12, "steps": [6]}
    options = engine.EngineBenchOptions(**shape, dtype=BOTH, batch=[1, 2], rounds=2, out=str(tmp_path / "e.json"))
    result = engine.bench_engine(options)
    assert json.loads((tmp_path / "e.json").read_text()) == json.loads(json.dumps(result))
    assert [(row["kind"], row["steps"], row["batch"]) for row in result["types"]] == [
        ("mdm", 6, 1), ("mdm", 6, 2), ("arm", 12, 1), ("arm", 12, 2),
    ]  # fmt: skip
    for row in result["types"]:
        rounds = {name: row["seconds"][name]["rounds"] for name in BOTH}
        ratios = [a / b for a, b in zip(rounds["fp32"], rounds["bf16"], strict=True)]
        assert row["faster"]["bf16"]["rounds"] == pytest.approx(ratios)
    assert "batch 2: bf16" in engine.in_words(result)


@needs_bf16
def test_likelihood_in_two_types(model: Model) -> None:
    models = {name: load(str(model.path), dtype=name) for name in BOTH}
    pairs = make_pairs(models["fp32"], [("Text 1 ", "says"), ("Text 2 says ", "that")])
    rows = likelihood(models, pairs, rounds=2, seed=0, what="tiny")
    assert [row["method"] for row in rows] == ["chain-rule", "mc-fixed, 32 draws"]
    for row in rows:
        error = row["errors"]["bf16"]
        assert 0 < error["mean_of_a_text"] <= error["largest_of_a_text"] < 0.5
        assert error["largest_per_token"] <= error["largest_of_a_text"]
    assert "error in nats: of a text at most" in "\n".join(likelihood_in_words(rows))


def test_errors_are_of_texts_and_tokens() -> None:
    found = errors_of(np.array([0.2, -0.6]), np.array([2, 3]))
    assert found == {
        "largest_of_a_text": pytest.approx(0.6),
        "mean_of_a_text": pytest.approx(0.4),
        "bias_of_a_text": pytest.approx(-0.2),
        "largest_per_token": pytest.approx(0.2),
        "mean_per_token": pytest.approx(0.15),
    }


@pytest.mark.parametrize(
    "dtype, why", [(["fp32", "fp32"], "each type once"), (["pf32"], "did you mean 'fp32'"), ([], "each type once")]
)
def test_types_that_cannot_be_measured(model: Model, dtype: list[str], why: str) -> None:
    for ask in (
        lambda: engine.bench_engine(engine.EngineBenchOptions(dtype=dtype)),
        lambda: bench_likelihood(LikelihoodBenchOptions(str(model.path), dtype=dtype)),
    ):
        with pytest.raises(UserError, match=why):
            ask()
