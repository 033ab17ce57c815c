"""What bases cost and have read, from run folders made by hand; `test_experiment.py` has trained and given ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from unmask.experiments.frame import Settings
from unmask.experiments.guidance import bases
from unmask.experiments.guidance.bases import facts_of, refuse_exposed, running_text
from unmask.experiments.guidance.items import Item, Pool
from unmask.experiments.workplace import Workplace
from unmask.model.config import ModelConfig
from unmask.model.folder import save
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer

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
