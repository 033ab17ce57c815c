"""Tensors put together and taken apart by a list of names: one way and back, and what does not fit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from unmask.errors import UserError
from unmask.interop.layout import apart, stacked

OURS = {"norm": torch.arange(3.0), "both": torch.arange(10.0).view(5, 2)}


def layout() -> Iterator[tuple[str, list[tuple[str | int, ...]]]]:
    yield "norm", [("their.norm", 3)]
    yield "both", [("first", 2, 2), ("second", 3, 2)]


def test_ours_come_back_from_theirs_which_are_read_once_each_and_as_fp32() -> None:
    theirs = apart(layout(), OURS)
    assert {name: tuple(tensor.shape) for name, tensor in theirs.items()} == {
        "their.norm": (3,), "first": (2, 2), "second": (3, 2)
    }  # fmt: skip
    halves = {name: tensor.bfloat16() for name, tensor in theirs.items()}
    back = stacked(layout(), theirs, halves.pop, "there", "mend it")
    assert not halves and all(torch.equal(back[name], tensor) for name, tensor in OURS.items())
    assert all(tensor.dtype == torch.float32 for tensor in back.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first": None}, "there lacks the tensor first; is the config another model's?"),
        ({"first": torch.ones(1, 2)}, "there: tensor first has shape [1, 2], the config implies [2, 2]"),
        ({"more": torch.ones(1)}, "there has the unknown tensor more; mend it"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, torch.Tensor | None], message: str) -> None:
    theirs = {name: tensor for name, tensor in (apart(layout(), OURS) | change).items() if tensor is not None}
    with pytest.raises(UserError) as refused:
        stacked(layout(), theirs, theirs.__getitem__, "there", "mend it")
    assert str(refused.value) == message
