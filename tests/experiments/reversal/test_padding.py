"""The same lines with their padding out of the loss: the same tokens, weights and steps, and what is scored.

make test ARGS=tests/experiments/reversal/test_padding.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unmask.data.shards import TokenData
from unmask.experiments.frame import Settings, experiment
from unmask.experiments.reversal.material import Material, material, recipe
from unmask.experiments.reversal.rows import rows
from unmask.model.tokenizers import Tokenizer
from unmask.training.distribution import Ranks
from unmask.training.finetune import FineTuning
from unmask.training.recipe import build
from unmask.training.recipe_fields import Recipe
from unmask.training.setup import Setup, prepare

SMALL = ("own.people=3", "own.both=3", "model={n_embd: 16, n_layer: 1, n_head: 1}", "batch=16")


def chosen_with(*changes: str) -> dict[str, Any]:
    return experiment("reversal").settings_of(Settings(Path("o"), quick=True, changes=(*SMALL, *changes)))


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return material(tmp_path_factory.mktemp("padding"), None, chosen_with(), "own")


def setup_of(origin: Material, kind: str, padding: str) -> tuple[Recipe, Setup]:
    fields = recipe(origin, chosen_with(f"padding={padding}"), kind, seed=3)
    made = build(Recipe, {**fields, "out": str(origin.out / "run")}, "")
    return made, prepare(made, torch.device("cpu"), Ranks(torch.device("cpu")))


@pytest.mark.parametrize("kind", ["mdm", "arm"])
@pytest.mark.parametrize("padding", ["seen", "ignore"])
def test_nothing_but_the_padding_differs(origin: Material, kind: str, padding: str) -> None:
    (scored, plain), (other, changed) = (setup_of(origin, kind, word) for word in ("scored", padding))
    assert (other.steps, other.batch_size, other.context) == (scored.steps, scored.batch_size, scored.context)
    assert (other.objective, other.optimizer, other.seed) == (scored.objective, scored.optimizer, scored.seed)
    assert changed.config == plain.config
    for name, weights in plain.network.state_dict().items():
        assert torch.equal(weights, changed.network.state_dict()[name]), name
    tokenizer = Tokenizer.from_file(origin.data)
    eos, task = tokenizer.eos_id, changed.task
    assert isinstance(task, FineTuning) and task.n_samples == len(origin.lines)
    padded = {tuple(row) for row in rows(origin.lines, tokenizer, origin.length).tolist()}
    for i in range(task.n_samples):
        ids = task._examples.ids(i).tolist()
        assert ids[0] == ids[-1] == eos and not task._examples.learned(i)[0]
        assert tuple(ids + [eos] * (origin.length - len(ids))) in padded


@pytest.mark.parametrize("padding", ["seen", "ignore"])
def test_a_masked_model_is_never_asked_for_more_than_one_end_token(origin: Material, padding: str) -> None:
    made, setup = setup_of(origin, "mdm", padding)
    eos, mask = setup.config.eos_id, setup.config.mask_id
    hidden_behind = 0
    for step in range(20):
        inputs = setup.task.inputs(np.arange(step * 16, step * 16 + 16))
        for b in range(16):
            assert (inputs.targets_N[inputs.rows_N == b] == eos).sum() <= 1
        width = inputs.tokens_BT.shape[1]
        hidden = (inputs.tokens_BT == mask).flatten().nonzero()[:, 0]
        outside = set(hidden.tolist()) - set(inputs.positions_N.tolist())
        hidden_behind += len(outside)
        assert (inputs.key_mask_BT is None) == (padding == "seen")
        assert width == origin.length if padding == "seen" else width <= origin.length
    assert (hidden_behind > 0) == (padding == "seen"), "hidden and not scored: padding alone"


def test_lines_and_starts_are_written_once(origin: Material) -> None:
    chosen = chosen_with("padding=seen")
    first = recipe(origin, chosen, "mdm", seed=3)
    files = [Path(first["data"]), Path(first["sft"]["validation"]), Path(first["init"]) / "model.safetensors"]
    times = [path.stat().st_mtime_ns for path in files]
    assert recipe(origin, chosen, "mdm", seed=3) == first
    assert [path.stat().st_mtime_ns for path in files] == times
    assert recipe(origin, chosen, "mdm", seed=4)["init"] != first["init"]
    assert recipe(origin, chosen_with(), "mdm", seed=3)["data"] == str(origin.data)
    assert TokenData(str(origin.data), "train").n_tokens == len(origin.lines) * origin.length + 1
