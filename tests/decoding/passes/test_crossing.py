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
from unmask.decoding.passes.crossing import Parcel, packed, to_device, to_host, unpacked
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
        torch.arange(42, dtype=torch.float64)[4:25:21, None],  # one number, with a stride of 21
        torch.arange(12).view(3, 4)[1:, :2],
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


def test_a_parcel_is_sent_once_and_read_by_all_who_put_something_in() -> None:
    with pretend_device.pretend_device() as device, crossings() as counted:
        parcel, taken = Parcel(), list[torch.Tensor]()
        first = parcel.put(torch.arange(3), torch.tensor([True]))
        parcel.put(torch.ones(2), to=taken.extend)
        nothing = parcel.put()
        parcel.send(device)
        assert counted() == 1 and all(tensor.is_cuda for tensor in (*parcel[first], *taken))
        assert parcel[nothing] == [] and torch.equal(to_host(taken)[0], torch.ones(2))
        assert [tensor.tolist() for tensor in to_host(parcel[first])] == [[0, 1, 2], [True]]


@contextmanager
def crossings() -> Iterator[Callable[[], int]]:
    """Copies between host and device, and looks at what lies there; of operators with one side on each, or that index
    by a mask there, whose size must be known, or by a tensor of the host."""
    found, plain = 0, pretend_device.run

    def run(operator: Any, args: Any, kwargs: Any) -> Any:
        nonlocal found
        result = plain(operator, args, kwargs)
        tensors = [x for x in tree_flatten((args, result))[0] if isinstance(x, torch.Tensor)]
        there = {isinstance(x, pretend_device.OnDevice) for x in tensors}
        by = [x for x in args[1] if x is not None] if operator in pretend_device.INDEXED and True in there else []
        by_mask = any(x.dtype == torch.bool for x in by)
        from_host = any(x.dim() and not isinstance(x, pretend_device.OnDevice) for x in by)
        copied = operator in pretend_device.MOVES and len(there) == 2
        found += copied or by_mask or from_host or (operator in READS and True in there)
        return result

    with mock.patch.object(pretend_device, "run", run):
        yield lambda: found


def model(causal: bool, device: str = "cuda") -> Model:
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 64, "vocab_size": 300}
    config = ModelConfig(**shape, eos_id=0, causal=causal)
    return Model(Transformer(config, seed=0).to(device).eval(), None)


CONFIDENT = {"order": "confidence", "quota": "even", "steps": 8}
PASSES: list[dict[str, Any]] = [
    CONFIDENT,
    {**CONFIDENT, "temperature": [0.0, 0.7], "top_k": 5, "eos": "suppress"},
    {"order": "margin", "quota": "threshold:0.9", "temperature": 0.0},
    {**CONFIDENT, "order": "entropy", "guidance": 0.5},
    {**CONFIDENT, "guidance": [0.5, 0.7], "guidance_mode": ["drop", "mask"]},
    {"order": "ancestral", "steps": 12, "revise": "remdm-cap:0.3"},
    {"order": "ancestral", "steps": 12, "revise": "remdm-cap:0.3", "guidance": [0.0, 0.5]},
    {**CONFIDENT, "revise": "p2"},
    {**CONFIDENT, "cache": "prefix", "block": 8},
    {**CONFIDENT, "cache": "dual:2", "block": 8},
    {**CONFIDENT, "cache": "reuse"},
    # Some views whole and some windows: two runs of the network, and what both need in one copy.
    {**CONFIDENT, "cache": ["dual", "reuse"], "block": 8, "guidance": [0.5, 0.0]},
    {"order": "confidence", "quota": "klass"},
    {"order": "confidence", "quota": "klass", "cache": [None, "dual"], "block": 8, "guidance": [0.5, 0.0]},
    {"order": "confidence", "quota": "klass", "cache": "dual", "block": 8, "guidance": 0.5},
]


def passes(causal: bool, options: dict[str, Any], number: int) -> list[int]:
    """How often passes cross, from the second on."""
    with pretend_device.pretend_device():
        found = model(causal)
        rows = prepare(found, [[1, 2], [3, 4, 5]], {"length": 8, **options})
        loop = (Twin if causal else Loop).for_rows(found, rows)
        loop.join(rows)
        loop.step()
        told = []
        for _ in range(number):
            with crossings() as counted:
                assert len(loop.step().seats) == 2
                told.append(counted())
    return told


@pytest.mark.parametrize("options", PASSES, ids=str)
def test_a_pass_crosses_once_each_way(options: dict[str, Any]) -> None:
    assert passes(False, options, 2) == [2, 2]


def test_so_does_one_whose_logits_are_made_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unmask.decoding.passes.logits.LOGITS_AT_ONCE", 5 * 300)
    for options in (PASSES[1], PASSES[6], PASSES[-1]):
        assert passes(False, options, 2) == [2, 2]


@pytest.mark.parametrize("options", [{}, {"temperature": 0.0}, {"temperature": 0.7, "top_k": 5}], ids=str)
def test_so_does_the_twin_with_rows_at_different_positions(options: dict[str, Any]) -> None:
    assert passes(True, {"eos": "fill", **options}, 2) == [2, 2]


def test_a_nucleus_is_looked_at() -> None:
    """Whether a few of the likeliest tokens held it."""
    assert passes(False, {**CONFIDENT, "top_p": 0.9}, 1) == [3]


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
    monkeypatch.setattr("unmask.decoding.passes.crossing.to_device", waits(crossing.to_device))
    monkeypatch.setattr("unmask.decoding.passes.propose.to_host", waits(crossing.to_host))
    torch.cuda.set_sync_debug_mode("error")
    try:
        loop.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
