"""What a run is set up with: its model of a recipe or a folder, and its steps of a budget."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from unmask.errors import UserError
from unmask.training.distribution import Ranks
from unmask.training.setup import model_config, prepare


def test_free_sizes_reach_the_model(lab: Any) -> None:
    fields = {"n_embd": 18, "n_head": 4, "n_kv_head": 2, "head_dim": 6, "intermediate_size": 20}
    recipe = lab.recipe("x", **{f"model__{name}": value for name, value in fields.items()})
    config = model_config(recipe, vocab_size=300, eos_id=0)
    assert {name: getattr(config, name) for name in fields} == fields
    assert (config.vocab_size, config.block_size, config.eos_id, config.causal) == (300, 16, 0, False)
    preset = lab.recipe("y", model={"size": "6M", "n_layer": 2}, objective__kind="arm")
    config = model_config(preset, vocab_size=300, eos_id=0)
    assert (config.n_layer, config.n_head, config.n_embd, config.causal) == (2, 4, 256, True)


def test_epochs_are_a_budget(lab: Any) -> None:
    setup = prepare(lab.recipe("run", epochs=2), torch.device("cpu"), Ranks(torch.device("cpu")))
    assert setup.steps == 2 * setup.task.n_samples // 4


def test_a_run_starts_from_a_model_folder(lab: Any, tmp_path: Any) -> None:
    from unmask.training.loop import train

    train(lab.recipe("first"))
    loss = train(lab.recipe("second", init=str(tmp_path / "first"), model={}, optimizer__lr=1e-9)).validation
    first = train(lab.recipe("first"), resume=True)
    assert loss is not None and first.validation is None, "the first was at its end already"
    import unmask

    a, b = (unmask.load(tmp_path / name).network.state_dict() for name in ("first", "second"))
    for name in a:
        torch.testing.assert_close(a[name], b[name], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"n_layer": 3}}, "model is given beside init"),
        ({"model": {}, "objective__kind": "arm"}, "objective.kind is arm, but init .* is an mdm"),
        ({"model": {}, "context": 32}, "context 32 exceeds that of init"),
        ({"model": {}, "init": "nowhere"}, "nowhere does not exist"),
    ],
)
def test_what_does_not_go_with_the_start_is_named(lab: Any, tmp_path: Any, changes: dict, message: str) -> None:
    from unmask.training.loop import train

    train(lab.recipe("first", steps=1))
    with pytest.raises(UserError, match=message):
        train(lab.recipe("second", **{"init": str(tmp_path / "first"), **changes}))
    assert not (tmp_path / "second").exists()
