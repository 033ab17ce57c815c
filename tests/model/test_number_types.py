"""Whether a processor has bf16: by PyTorch's list, by the system's, and as told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from unmask import provenance
from unmask.errors import UserError
from unmask.model import number_types
from unmask.model.number_types import processor_flags, processor_has_bf16, processor_name, refuse_bf16

X86 = "processor : 0\nmodel name\t: Some CPU: fast\nflags\t\t: fpu avx512f {}\n\nprocessor : 1\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd {}\n"


@pytest.fixture(autouse=True)
def _asked_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(number_types.TOLD, raising=False)
    processor_flags.cache_clear(), processor_name.cache_clear()
    yield
    processor_flags.cache_clear(), processor_name.cache_clear()


@pytest.mark.parametrize(
    ("text", "has"),
    [
        (X86.format("avx512_bf16 avx512_fp16"), True),
        (X86.format("amx_bf16 amx_tile"), True),
        (X86.format("amx_int8 avx512_fp16"), False),
        (ARM.format("svebf16"), True),
        (ARM.format("bf16"), True),
        (ARM.format("sve"), False),
        ("", False),
    ],
)
def test_the_system_says_it_where_pytorch_does_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, has: bool
) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(provenance, "CPUINFO", tmp_path / "cpuinfo")
    assert processor_has_bf16() is has


@pytest.mark.parametrize(("there", "has"), [(True, True), (False, False)])
def test_pytorch_says_it(monkeypatch: pytest.MonkeyPatch, there: bool, has: bool) -> None:
    listed = {"avx512_f": True, "avx512_bf16": there, "cpu_name": "bf16 machine", "l2_cache_size": 1}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: listed, raising=False)
    assert processor_has_bf16() is has


def test_no_list_at_all_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(provenance, "CPUINFO", tmp_path / "nothing")
    assert processor_has_bf16() is False and processor_name(), "some name"


def test_the_name_is_the_systems(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(X86.format(""))
    monkeypatch.setattr(provenance, "CPUINFO", tmp_path / "cpuinfo")
    assert processor_name() == "Some CPU: fast"


def test_the_environment_says_it_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(number_types.TOLD, "1")
    assert processor_has_bf16()
    refuse_bf16("precision", "--precision fp32")
    monkeypatch.setenv(number_types.TOLD, "0")
    assert not processor_has_bf16()
    with pytest.raises(UserError, match=r"^precision is bf16, but this processor \(.+\) has no .*--precision fp32$"):
        refuse_bf16("precision", "--precision fp32")
    monkeypatch.setenv(number_types.TOLD, "maybe")
    with pytest.raises(UserError, match="UNMASK_PROCESSOR_BF16 is 'maybe'; give 1 or 0"):
        processor_has_bf16()
