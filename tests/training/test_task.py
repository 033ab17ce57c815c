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
from unmask.training.setup import model_config
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
