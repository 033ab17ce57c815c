"""Where a model's weights lie and in what type of number: the names of devices and types, read in one place.

    choose_device("auto"), choose_device("cuda:1")        # torch.device
    choose_dtype("bf16", device), choose_dtype("auto", device, config)

    unmask sample RUN --device cuda --dtype bf16

`auto` is CUDA where there is one; as a type it is bf16 where that is faster: on CUDA devices that have it, and on a
processor that has it and multiplies matrices of the model's own shapes faster in it. Of two processors of one name one
may be a hundred times slower in bf16, so that it is measured.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F

from unmask.errors import UserError, nearest
from unmask.model.config import ModelConfig
from unmask.model.number_types import NUMBER_TYPES, processor_has_bf16, refuse_bf16

NAMES = (*NUMBER_TYPES, "auto")
OTHER_NAMES = {"gpu": "cuda", "bfloat16": "bf16", "float32": "fp32", "float": "fp32"}
# What `auto` times on a processor: so many rows against matrices of at most this width, and how much faster each try
# must be. A processor on which fewer rows take longer than in fp32 is not asked further.
ROWS, FEW_ROWS, WIDEST, LEAST, TRIES = 256, 16, 2048, 1.3, 3


def choose_device(name: str | torch.device | None, local_rank: int = 0) -> torch.device:
    """The device of a name: ``auto`` (None is the same), ``cpu``, ``cuda`` (that of `local_rank`) or ``cuda:N``.

    A `torch.device` is taken as it is. Raises `UserError` for another name and for a device that is not there.
    """
    if name is None or name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device, known, mend = name, ("auto", "cpu", "cuda"), "give auto, cpu, cuda or cuda:N"
    if not isinstance(device, torch.device):
        try:
            device = torch.device(str(name))
        except RuntimeError as error:
            hint = nearest(OTHER_NAMES.get(str(name), str(name)), known)
            raise UserError(f"device is {name!r}{hint}; {mend}") from error
        if device.type not in known or (device.type == "cpu" and device.index):
            raise UserError(f"device is {name!r}; {mend}")
    if device.type != "cuda":
        return device
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        raise UserError(f"device is {name}, but PyTorch sees no CUDA device; give cpu or auto")
    if device.index is None:
        device = torch.device("cuda", local_rank)
    if (device.index or 0) >= count:
        seen = "cuda:0 alone" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise UserError(f"device is {name}, but PyTorch sees {seen}; give one of these, cpu or auto")
    return device


def check_dtype(name: str | torch.dtype) -> None:
    """Raises `UserError` for a type that no model is held in, which needs no device to be known."""
    if name not in NAMES and name not in NUMBER_TYPES.values():
        plain = str(name).removeprefix("torch.")
        hint = nearest(OTHER_NAMES.get(plain, plain), NAMES)
        raise UserError(f"dtype is {plain!r}{hint}; give fp32, bf16 or auto")


def check_types(dtypes: Sequence[str], device: str) -> None:
    """Raises `UserError` for a type or a device that is not there, for no type, and for one given twice."""
    for name in dtypes:
        check_dtype(name)
    if not dtypes or len(set(dtypes)) < len(dtypes):
        raise UserError("--dtype: give each type once: fp32, bf16", field="dtype")
    choose_device(device)


def choose_dtype(name: str | torch.dtype, device: torch.device, config: ModelConfig) -> torch.dtype:
    """The type of a name (``fp32``, ``bf16``, ``auto``), or `torch.float32` or `torch.bfloat16`, on a device.

    config: of the model whose products ``auto`` times on a processor. Raises `UserError` for any other type, and for
    bf16 where the processor or the GPU has none.
    """
    check_dtype(name)
    cpu = device.type == "cpu"
    has_bf16 = processor_has_bf16() if cpu else device.type != "cuda" or torch.cuda.is_bf16_supported(False)
    if name == "auto":
        shape = (config.n_embd, config.intermediate_size, config.vocab_size)
        return torch.bfloat16 if has_bf16 and (not cpu or faster_in_bf16(*shape)) else torch.float32
    dtype = NUMBER_TYPES[name] if isinstance(name, str) else name
    if dtype == torch.bfloat16 and not has_bf16:
        if cpu:
            refuse_bf16("dtype", "fp32 or auto")
        raise UserError(f"dtype is bf16, but {device} has no bf16 products; give fp32 or auto")
    return dtype


@cache
def faster_in_bf16(width: int, inner: int, vocab_size: int) -> bool:
    """Whether the products of such a model's layers and head are `LEAST` times faster in bf16, in each try."""
    shapes = [(width, 2 * inner), (inner, width), (width, vocab_size)]
    shapes = [(min(k, WIDEST), min(n, WIDEST)) for k, n in shapes]
    return seconds_ratio(shapes[:1], FEW_ROWS) > 1 and all(seconds_ratio(shapes, ROWS) >= LEAST for _ in range(TRIES))


@torch.inference_mode()
def seconds_ratio(shapes: list[tuple[int, int]], rows: int) -> float:
    """Seconds of products x W^T in fp32 over those in bf16: the sum over W's shapes, the best of three of each."""
    totals = dict.fromkeys(NUMBER_TYPES, 0.0)
    for k, n in shapes:
        for name, dtype in NUMBER_TYPES.items():
            x, weight = torch.ones(rows, k, dtype=dtype), torch.ones(n, k, dtype=dtype)
            times = []
            for _ in range(4):  # the first one prepares
                started = time.perf_counter()
                F.linear(x, weight)
                times.append(time.perf_counter() - started)
            totals[name] += min(times[1:])
    return totals["fp32"] / totals["bf16"]


def dtype_name(dtype: torch.dtype) -> str:
    """``fp32`` or ``bf16``; any other type by PyTorch's own name."""
    names = {value: name for name, value in NUMBER_TYPES.items()}
    return names.get(dtype, str(dtype).removeprefix("torch."))


def noted(dtype: torch.dtype) -> dict[str, Any]:
    """``{"dtype": "bf16"}`` for a protocol; nothing for fp32, which is what a protocol without the field means."""
    return {} if dtype == torch.float32 else {"dtype": dtype_name(dtype)}
