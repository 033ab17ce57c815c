"""A GPU that is none: what lies on it is computed on the CPU, but may not meet what lies on the CPU.

    with pretend_device():
        model = Model(Transformer(config, seed=0).to("cuda").eval())
        generate(model, [[1, 2]], length=8)          # raises `Strayed` where a tensor was left on the CPU

Tensors on it are wrappers around CPU tensors: their `device` is ``cuda:0``, ``numpy()`` is refused, and an operator
that is given one of them and a tensor of the CPU raises, but for the cases that CUDA allows (copies, numbers without a
dimension, indices). Values are real, so that a program which reads them (``item``, ``cpu``, ``nonzero``) goes all the
way. What it cannot show: whether a CUDA kernel exists and is right, and whether a transfer is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

CUDA, META = torch.device("cuda", 0), torch.device("meta")
aten = torch.ops.aten
MOVES = (aten._to_copy.default, aten.copy_.default, aten.copy.default)
INDEXED = (aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default)


class Strayed(AssertionError):
    """A tensor of the CPU met one of the device."""


class OnDevice(torch.Tensor):
    """A tensor of the pretend device; PyTorch takes it for one of `meta`, Python for one of `cuda:0`."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> OnDevice:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=META,
        )
        made.inner = inner
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda self: CUDA)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"OnDevice({self.inner})"

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert a tensor of the device to numpy; use .cpu() first")

    def tolist(self) -> Any:
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


def run(func: Any, args: Any, kwargs: Any) -> Any:
    """The operator on what the wrappers hold; the result lies where its inputs lay, or where it was asked for."""
    tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)]
    there = [x for x in tensors if isinstance(x, OnDevice)]
    asked = kwargs.get("device")
    if there and func not in MOVES:
        # Numbers without a dimension may lie on the CPU, and so may what indexes a tensor of the device.
        checked = tree_flatten((args[0], args[2:]))[0] if func in INDEXED and isinstance(args[0], OnDevice) else tensors
        for x in checked:
            if isinstance(x, torch.Tensor) and not isinstance(x, OnDevice) and x.dim():
                raise Strayed(f"{func}: a tensor of the CPU, {list(x.shape)}, meets one of the device")
    if asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    plain_args, plain_kwargs = tree_map(lambda x: x.inner if isinstance(x, OnDevice) else x, (args, kwargs))
    found = func(*plain_args, **plain_kwargs)
    if asked is not None:
        here = torch.device(asked).type == "meta"
    elif func in MOVES:
        here = isinstance(args[0], OnDevice)
    else:
        here = bool(there)
    if not here:
        return found
    # What was changed in place, or written to, stays the same tensor.
    same = {id(x.inner): x for x in there}

    def placed(x: Any) -> Any:
        if not isinstance(x, torch.Tensor):
            return x
        return same[id(x)] if id(x) in same else OnDevice(x)

    return tree_map(placed, found)


class Dispatched(TorchDispatchMode):
    """Sees what has no tensor among its arguments, such as `zeros`."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


class Named(TorchFunctionMode):
    """Says `meta` to PyTorch where the program says `cuda`."""

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        def renamed(x: Any) -> Any:
            is_name = isinstance(x, torch.device) or (isinstance(x, str) and x.startswith("cuda"))
            return META if is_name and torch.device(x).type == "cuda" else x

        args, kwargs = tree_map(renamed, (args, kwargs or {}))
        # These read values without an operator, and would leave them out on `meta`.
        if func is torch.Tensor.new_tensor and isinstance(args[0], OnDevice):
            kwargs = {"dtype": args[0].dtype, **kwargs}
            return torch.tensor(*args[1:], **kwargs).to(META)
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") == META:
            return func(*args, **{**kwargs, "device": "cpu"}).to(META)
        return func(*args, **kwargs)


def enter(self: Any) -> None:
    """Inference mode knows no wrappers; no gradients will do."""
    self.instead = torch.no_grad()
    self.instead.__enter__()


def leave(self: Any, *error: Any) -> None:
    self.instead.__exit__(*error)


@contextmanager
def pretend_device() -> Iterator[torch.device]:
    """One device `cuda:0`, without bf16 emulation, for what runs inside."""
    cuda: dict[str, Any] = {"is_available": lambda: True, "device_count": lambda: 1, "set_device": lambda _: None}
    cuda |= {"is_bf16_supported": lambda *_, **__: True, "synchronize": lambda *_: None}
    mode = {"__enter__": enter, "__exit__": leave}
    with patch.multiple(torch.cuda, **cuda), patch.multiple(torch.inference_mode, **mode), Named(), Dispatched():
        yield CUDA
