"""Samples as functions of their index, prepared one step ahead."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch

from unmask.data.shards import TokenData
from unmask.errors import UserError
from unmask.training.batches import Batches
from unmask.training.distribution import Ranks
from unmask.training.setup import model_config, prepare
from unmask.training.task import Ahead


def batches(lab: Any, **changes: Any) -> Batches:
    recipe = lab.recipe("run", **changes)
    data = TokenData(recipe.data, "train")
    return Batches(recipe, data, model_config(recipe, data.vocab_size, data.eos_id))


def test_the_divisor_is_known_without_the_samples(lab: Any) -> None:
    task = batches(lab, objective__random_length=0.6)
    for k in (np.arange(32), np.arange(1000, 1003)):
        counted = sum(task.inputs(k[i : i + 1]).n_tokens for i in range(len(k)))
        assert task.divisor(k) == task.n_tokens(k) == task.divisor(k, task.n_tokens(k)) == counted


def test_steps_come_in_order_whatever_is_asked(lab: Any) -> None:
    task = batches(lab)
    with Ahead(task, 4, lambda k: [k], torch.device("cpu")) as ahead:
        for step in (0, 1, 2, 7, 8, 3):
            (got,) = ahead.step(step, last=step == 3).parts
            expected = task.inputs(task.order(np.arange(4 * step, 4 * step + 4)))
            assert torch.equal(got.tokens_BT, expected.tokens_BT) and torch.equal(got.positions_N, expected.positions_N)
    assert not any(thread.name.startswith("data") for thread in threading.enumerate())


def test_a_batch_is_counted_once_and_not_by_the_step_that_waits_for_it(lab: Any) -> None:
    """The counts are those of the whole batch, though this rank has half of it."""
    task = batches(lab, objective__random_length=0.6)
    calls: list[tuple[str, str]] = []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            def method(*values: Any) -> Any:
                calls.append((name, threading.current_thread().name))
                return getattr(task, name)(*values)

            return method

    with Ahead(Counting(), 8, lambda k: [k[:4]], torch.device("cpu")) as ahead:  # type: ignore[arg-type]
        found = [ahead.step(step, last=step == 2) for step in range(3)]
    for step, batch in enumerate(found):
        k = np.arange(8 * step, 8 * step + 8)
        assert batch.n_tokens == task.n_tokens(k) and batch.divisor == task.divisor(k)
        assert len(batch.parts) == 1 and len(batch.parts[0].tokens_BT) == 4
    assert [name for name, _ in calls].count("n_tokens") == [name for name, _ in calls].count("divisor") == 3
    assert all(thread.startswith("data") for _, thread in calls)


def test_an_error_in_the_background_reaches_the_step(lab: Any) -> None:
    class Broken:
        def order(self, k: np.ndarray) -> Any:
            return k

        def inputs(self, k: np.ndarray) -> Any:
            raise UserError("shard 3 is gone")

    with Ahead(Broken(), 4, lambda k: [k], torch.device("cpu")) as ahead:  # type: ignore[arg-type]
        with pytest.raises(UserError, match="shard 3 is gone"):
            ahead.step(0)


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
