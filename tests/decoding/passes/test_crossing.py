"""One copy each way between host and device in a pass; counted on a device that is none (`pretend_device.py`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
import torch
from torch.utils._pytree import tree_flatten

import pretend_device
from unmask.decoding.loop import Loop
from unmask.decoding.passes import crossing
from unmask.decoding.passes.crossing import packed, to_device, to_host, unpacked
from unmask.decoding.prepare import prepare
from unmask.decoding.twin import Twin
from unmask.model.config import ModelConfig
from unmask.model.folder import Model
from unmask.model.transformer import Transformer

READS = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)


def test_what_is_packed_comes_out_as_it_was() -> None:
    tensors = [
        torch.tensor([[True], [False], [True]]),
        torch.tensor([1 << 60, -3]),
        torch.empty(0, 4, dtype=torch.float32),
        torch.tensor(0.25),
        torch.randn(3, 5, dtype=torch.float64).t(),
        torch.tensor([7], dtype=torch.int32),
    ]
    for found, sent in zip(unpacked(packed(tensors), tensors), tensors, strict=True):
        assert found.dtype == sent.dtype and torch.equal(found, sent)


def test_on_the_cpu_nothing_is_copied() -> None:
    tensors = [torch.arange(3), torch.ones(2)]
    there = to_device(tensors, torch.device("cpu"))
    assert all(a is b is c for a, b, c in zip(tensors, there, to_host(there), strict=True))


def test_a_device_has_them_in_one_copy() -> None:
    with pretend_device.pretend_device() as device, crossings() as counted:
        there = to_device([torch.arange(3), torch.ones(2)], device)
        assert counted() == 1 and all(tensor.is_cuda for tensor in there)
        assert torch.equal(to_host(there)[0], torch.arange(3)) and counted() == 2


@contextmanager
def crossings() -> Iterator[Callable[[], int]]:
    """Copies between host and device, and looks at what lies there; of operators with one side on each."""
    found, plain = 0, pretend_device.run

    def run(operator: Any, args: Any, kwargs: Any) -> Any:
        nonlocal found
        result = plain(operator, args, kwargs)
        tensors = [x for x in tree_flatten((args, result))[0] if isinstance(x, torch.Tensor)]
        there = {isinstance(x, pretend_device.OnDevice) for x in tensors}
        found += (operator in pretend_device.MOVES and len(there) == 2) or (operator in READS and True in there)
        return result

    with mock.patch.object(pretend_device, "run", run):
        yield lambda: found


def model(causal: bool, device: str = "cuda") -> Model:
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 64, "vocab_size": 300}
    config = ModelConfig(**shape, eos_id=0, causal=causal)
    return Model(Transformer(config, seed=0).to(device).eval(), None)


PASSES = [
    (False, {"order": "confidence", "quota": "even", "steps": 8}, 2),
    (False, {"order": "margin", "quota": "threshold:0.9", "temperature": 0.0}, 2),
    (False, {"order": "entropy", "quota": "even", "steps": 8, "guidance": 0.5}, 2),
    (False, {"order": "ancestral", "steps": 12, "revise": "remdm-cap:0.3"}, 2),
    (True, {"eos": "fill"}, 3),  # the third: rows of the twin that stand at different positions
    # Where some rows are guided and some not, two looks at which.
    (False, {"order": "ancestral", "steps": 12, "revise": "remdm-cap:0.3", "guidance": [0.0, 0.5]}, 4),
    # Three looks of the cache at where it writes; four copies for what drift remembers on the device.
    (False, {"order": "confidence", "quota": "even", "steps": 8, "cache": "dual", "block": 8}, 5),
    (False, {"order": "confidence", "quota": "klass"}, 6),
]


@pytest.mark.parametrize(("causal", "options", "most"), PASSES, ids=str)
def test_a_pass_crosses_once_each_way(causal: bool, options: dict[str, Any], most: int) -> None:
    with pretend_device.pretend_device():
        found = model(causal)
        rows = prepare(found, [[1, 2], [3, 4, 5]], {"length": 8, **options})
        loop = (Twin if causal else Loop).for_rows(found, rows)
        loop.join(rows)
        loop.step()
        with crossings() as counted:
            passed = loop.step()
            assert len(passed.seats) == 2 and 0 < counted() <= most


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_nothing_else_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside the two copies a wait is an error."""

    def waits(plain: Callable[..., Any]) -> Callable[..., Any]:
        def allowed(*args: Any) -> Any:
            torch.cuda.set_sync_debug_mode("default")
            try:
                return plain(*args)
            finally:
                torch.cuda.set_sync_debug_mode("error")

        return allowed

    found = model(False)
    rows = prepare(found, [[1, 2], [3, 4, 5]], {"length": 8, "order": "confidence", "quota": "even"})
    loop = Loop.for_rows(found, rows)
    loop.join(rows)
    loop.step()
    monkeypatch.setattr("unmask.decoding.passes.score.to_device", waits(crossing.to_device))
    monkeypatch.setattr("unmask.decoding.passes.propose.to_host", waits(crossing.to_host))
    torch.cuda.set_sync_debug_mode("error")
    try:
        loop.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
