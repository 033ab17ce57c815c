"""Where a model's weights lie and in what type of number: the names of devices and types, read in one place.

    choose_device("auto"), choose_device("cuda:1")        # torch.device
    choose_dtype("bf16", device), choose_dtype("auto", device, config)

    unmask sample RUN --device cuda --dtype bf16

`auto` is CUDA where there is one; as a type it is bf16 where that is faster: on CUDA devices that have it, and on a
processor that has it and multiplies matrices of the model's own shapes faster in it. Of two processors of one name one
may be a hundred times slower in bf16, so that it is measured.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from unmask.errors import UserError, nearest
from unmask.model.config import ModelConfig
from unmask.model.number_types import processor_has_bf16

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
NAMES = (*DTYPES, "auto")


def choose_device(name: str | torch.device | None, local_rank: int = 0) -> torch.device:
    """The device of a name: ``auto`` (None is the same), ``cpu``, ``cuda`` (that of `local_rank`) or ``cuda:N``.

    A `torch.device` is taken as it is. Raises `UserError` for another name and for a device that is not there.
    """
    if name is None or name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device, known = name, ("auto", "cpu", "cuda")
    if not isinstance(device, torch.device):
        try:
            device = torch.device(str(name))
        except RuntimeError as error:
            raise UserError(f"device is {name!r}{nearest(str(name), known)}; give auto, cpu, cuda or cuda:N") from error
        if device.type not in known or (device.type == "cpu" and device.index):
            raise UserError(f"device is {name!r}; give auto, cpu, cuda or cuda:N")
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
    if name not in NAMES and name not in DTYPES.values():
        said = str(name).removeprefix("torch.")
        hint = nearest({"bfloat16": "bf16", "float32": "fp32", "float": "fp32"}.get(said, said), NAMES)
        raise UserError(f"dtype is {said!r}{hint}; give fp32, bf16 or auto")


def choose_dtype(
    name: str | torch.dtype, device: torch.device, config: ModelConfig | None = None
) -> torch.dtype:
    """The type of a name (``fp32``, ``bf16``, ``auto``) or of `torch.float32` and `torch.bfloat16` for a device.

    config: of the model whose products ``auto`` times on a processor; None: those of a small one. Raises `UserError`
    for any other type, and for bf16 where the processor or the GPU has none.
    """
    check_dtype(name)
    if name == "auto":
        return torch.bfloat16 if has_bf16(device) and pays(device, config) else torch.float32
    dtype = DTYPES[name] if isinstance(name, str) else name
    if dtype == torch.bfloat16 and not has_bf16(device):
        what = "GPU" if device.type == "cuda" else "processor"
        raise UserError(f"dtype is bf16, which this {what} has not (it would be many times slower); give fp32 or auto")
    return dtype


def dtype_name(dtype: torch.dtype) -> str:
    """``fp32`` or ``bf16``; any other type by PyTorch's own name."""
    names = {value: name for name, value in DTYPES.items()}
    return names.get(dtype, str(dtype).removeprefix("torch."))


def noted(dtype: torch.dtype) -> dict[str, Any]:
    """``{"dtype": "bf16"}`` for a protocol; nothing for fp32, which what has no such field means."""
    return {} if dtype == torch.float32 else {"dtype": dtype_name(dtype)}


def has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type != "cpu" or processor_has_bf16()
