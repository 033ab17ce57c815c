"""Ten tasks of four request types: our numbers are those of the harness's own HFLM on the same weights."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from unmask.model.config import ModelConfig
from unmask.model.folder import save
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer

for package in ("lm_eval", "transformers", "accelerate", "olmo_eval"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs the package {package}", allow_module_level=True)


@pytest.mark.slow
@pytest.mark.parametrize("context", [64, 512])
def test_ten_tasks_have_the_numbers_of_hflm(tmp_path: Path, context: int) -> None:
    from evaluation.against_hflm import TASKS, compared
    from unmask.evaluation.tasks import local_data

    docs = [doc["context"] for doc in local_data.lambada()["test"].select(range(200))]
    tokenizer = Tokenizer.train_bpe(1000, docs)
    config = ModelConfig(
        n_layer=2, n_head=2, n_embd=64, vocab_size=tokenizer.vocab_size, block_size=context, causal=True, eos_id=0
    )
    network = Transformer(config, seed=0)
    with torch.no_grad():
        for weight in network.parameters():  # so that predictions depend on what stands before
            if weight.ndim == 2:
                weight.mul_(2)
    rows = list(compared(save(tmp_path / "arm", network, tokenizer), limit=12))
    assert [row["task"] for row in rows] == list(TASKS)
    assert len({row["kind"] for row in rows}) == 4 and all(row["n"] == 12 for row in rows)
    for row in rows:
        for name, (ours, theirs) in row["metrics"].items():
            assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-4), (row["task"], name)
        if row["nats"]:
            assert row["nats"][0] == pytest.approx(row["nats"][1], abs=5e-5)
        assert row["difference"] < 1e-3 and (row["kind"] == "loglikelihood_rolling" or row["same"] == row["asked"])
