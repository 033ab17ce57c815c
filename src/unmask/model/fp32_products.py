"""fp32 matrix products by the library that is quick on this processor.

    with quick_products():
        train()                     # on an AMD processor with AVX-512 its products are oneDNN's
    products_are_quick()            # inside: True there, False elsewhere

PyTorch multiplies fp32 by MKL, which on AMD's processors reaches less than half of what oneDNN does. Its only way to
oneDNN is the setting that also lets a processor with AMX multiply in bf16 (`set_float32_matmul_precision`), so it is
taken where there is no AMX, and where a product shows that it is fp32: it then differs from MKL's in the order of sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from unmask.model.number_types import processor_flags, processor_name

WIDE = 256  # of a model from which this pays: narrower ones gain nothing, and keep the numbers they have elsewhere
ALLOWED = 2e-6  # error of a product of random numbers over its norm: fp32 has 2e-7, bf16 3e-3
_quick = False


def products_are_quick() -> bool:
    """Whether fp32 products go through oneDNN now, by `quick_products`."""
    return _quick


@contextmanager
def quick_products(wanted: bool = True) -> Iterator[None]:
    """oneDNN's fp32 products inside, where they are quicker, and unless the caller has chosen a setting before."""
    global _quick
    before, setting = _quick, torch.get_float32_matmul_precision()
    if not wanted or setting != "highest" or not onednn_is_quicker():
        yield
        return
    torch.set_float32_matmul_precision("medium")
    _quick = True
    try:
        yield
    finally:
        _quick = before
        torch.set_float32_matmul_precision(setting)


@cache
def onednn_is_quicker() -> bool:
    """By the processor alone, so that all runs on one go the same way; and only where it is fp32 in truth."""
    flags = " ".join(processor_flags())
    fits = "AMD" in processor_name() and "avx512" in flags and "amx" not in flags
    return fits and torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available() and _is_fp32()


def _is_fp32() -> bool:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(64, 64, generator=generator) for _ in range(2))
    exact = a.double() @ b.double()
    setting = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        product = a @ b
    finally:
        torch.set_float32_matmul_precision(setting)
    return bool((product - exact).norm() / exact.norm() < ALLOWED)
