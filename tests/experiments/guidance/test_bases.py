"""What bases cost and have read, from run folders made by hand; `test_experiment.py` has trained and given ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unmask.experiments.frame import Settings
from unmask.experiments.guidance import bases
from unmask.experiments.guidance.bases import facts_of, refuse_exposed, run_of, running_text, training_of
from unmask.experiments.guidance.items import Item, Pool
from unmask.experiments.workplace import Workplace
from unmask.model.config import ModelConfig
from unmask.model.folder import save
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer

UNKNOWN = {"tokens": None, "flops": None}
GLOSS = "a small wooden house that stands by itself ="


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = Tokenizer.train_bpe(280, [GLOSS * 3])
    config = ModelConfig(n_layer=1, n_head=2, n_embd=16, vocab_size=tokenizer.vocab_size, block_size=64, eos_id=0)
    return save(tmp_path_factory.mktemp("bases") / "mdm", Transformer(config, seed=0), tokenizer)


def pool(path: Path) -> Pool:
    tokenizer = Tokenizer.from_file(path)
    prompts = [tokenizer.encode(GLOSS), tokenizer.encode("a house ="), tokenizer.encode("wooden =")]
    items = [Item(ids, [[65], [66]], f"word {number}") for number, ids in enumerate(prompts)]
    return Pool([{}], items, items)


def run(folder: Path, flops: dict[int, float], init: Path | None = None) -> Path:
    folder.mkdir()
    lines = [{"kind": "train", "step": step, "tokens": 10 * step, "flops": value} for step, value in flops.items()]
    lines.append({"kind": "validation", "step": max(flops, default=0), "loss": 1.0})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "recipe.yaml").write_text(f"init: {init or 'null'}\n")
    return folder


def test_what_a_run_took_is_told_up_to_its_checkpoint(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", {10: 1e9, 20: 2e9})
    assert training_of(folder) == {"tokens": 200, "flops": 2e9}
    earlier = folder / "checkpoints" / "step-00000012"
    earlier.mkdir(parents=True)
    assert run_of(earlier) == folder and training_of(earlier) == {"tokens": 100, "flops": 1e9}
    assert training_of(tmp_path) == training_of(run(tmp_path / "b", {})) == UNKNOWN


def test_what_a_run_began_with_counts_too(tmp_path: Path) -> None:
    first = run(tmp_path / "a", {10: 1e9})
    second = run(tmp_path / "b", {5: 3e8}, first)
    assert training_of(second) == {"tokens": 150, "flops": 1.3e9}
    assert training_of(run(tmp_path / "c", {5: 3e8}, tmp_path / "gone")) == UNKNOWN
    itself = run(tmp_path / "d", {5: 3e8}, tmp_path / "d")
    assert training_of(itself) == UNKNOWN, "and it ends"


def test_a_base_of_several_seeds_is_measured_and_asked_once(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = {f"base-mdm-{seed}": model for seed in range(3)}
    pools, asked, own = {"headword": pool(model)}, [], {"dictionary": "gcide", "draws": 2}
    monkeypatch.setattr(bases, "refuse_read", lambda *given: asked.append(len(given[1])) or "not read")
    exposure = refuse_exposed(some, pools, own)
    assert asked == [6] and len(exposure) == 3
    assert exposure["base-mdm-2"] == "headword: not read (2 of 6 items, those of 16 tokens or more)"
    assert refuse_exposed(some, pools, {**own, "dictionary": "made"}) == dict.fromkeys(some, "")

    measured: list[Any] = []
    real = bases.score
    monkeypatch.setattr(bases, "score", lambda *given, **more: measured.append(1) or real(*given, **more))
    facts = facts_of(Workplace(Settings(tmp_path / "out"), {}, "guidance"), own, some, pools)
    assert measured == [1] and len(facts) == 3 and facts["base-mdm-0"]["name"] == "mdm"
    assert facts["base-mdm-0"]["flops"] is None and facts["base-mdm-0"]["kind"] == "mdm"
    assert facts["base-mdm-0"]["nats_per_token"]["estimate"] == pytest.approx(5.6, abs=0.5), "of 280 tokens at random"


def test_a_gloss_is_looked_for_without_the_form_of_the_question(model: Path) -> None:
    tokenizer, item = Tokenizer.from_file(model), pool(model).test[0]
    assert tokenizer.decode(running_text(item, "headword", tokenizer)) == GLOSS.removesuffix(" =")
    assert running_text(item, "continuation", tokenizer) == [*item.prompt, 65]
