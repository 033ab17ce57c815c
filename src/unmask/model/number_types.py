"""Number types that models compute in, and whether this processor multiplies in bf16 itself.

    processor_has_bf16()                                     # False: bf16 works there, about a hundred times slower
    refuse_bf16("precision", "--precision fp32")             # raises where the processor has none

A processor says it in its capabilities: avx512_bf16 and amx_bf16 on x86, bf16 and svebf16 on ARM. Where it is asked in
vain (a system that hides them), `UNMASK_PROCESSOR_BF16` says it instead: 1 or 0.
"""

from __future__ import annotations

import os
from functools import cache

import torch

from unmask.errors import UserError
from unmask.provenance import cpuinfo, processor_name

NUMBER_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
TOLD = "UNMASK_PROCESSOR_BF16"  # in the environment


def processor_has_bf16() -> bool:
    """Whether this processor has instructions for products in bf16. Raises `UserError` for a word it cannot read."""
    if setting := os.environ.get(TOLD):
        if setting not in ("0", "1"):
            raise UserError(f"{TOLD} is {setting!r}; give 1 or 0, or unset it")
        return setting == "1"
    return any("bf16" in flag for flag in processor_flags())


@cache
def processor_flags() -> tuple[str, ...]:
    """What the processor says it can do, in order; PyTorch's list where it has one, else the system's."""
    ask = getattr(torch.cpu, "get_capabilities", None)  # torch 2.13 has it, 2.6 has not
    listed = {} if ask is None else ask()
    flags = {str(name) for name, there in listed.items() if there is True}
    for line in cpuinfo() if not flags else ():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            flags |= set(value.split())
    return tuple(sorted(flags))


def refuse_bf16(what: str, mend: str) -> None:
    """Raises `UserError` where `what` (a setting's name) is bf16 and the processor has none; `mend` is what to give."""
    if not processor_has_bf16():
        raise UserError(f"{what} is bf16, but this processor ({processor_name()}) has no bf16 products; give {mend}")
