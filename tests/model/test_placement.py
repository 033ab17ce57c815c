"""Names of devices and types: what they mean, what is refused, and what `auto` takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import unmask
from unmask.errors import UserError
from unmask.model import placement
from unmask.model.config import ModelConfig
from unmask.model.folder import save
from unmask.model.placement import check_dtype, choose_device, choose_dtype, dtype_name, noted
from unmask.model.transformer import RMSNorm, Transformer

CONFIG = ModelConfig(n_layer=2, n_head=2, n_embd=16, vocab_size=50, block_size=24)
CPU = torch.device("cpu")


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_devices_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 2)
    names = {"auto": "cuda:0", None: "cuda:0", "cpu": "cpu", "cuda": "cuda:0", "cuda:1": "cuda:1"}
    assert {name: str(choose_device(name)) for name in names} == names
    assert str(choose_device("cuda", local_rank=1)) == "cuda:1"
    assert choose_device(torch.device("meta")) == torch.device("meta")
    gpus(monkeypatch, 0)
    assert choose_device("auto") == choose_device(None) == CPU


@pytest.mark.parametrize(
    "count, name, why",
    [
        (0, "cuda", "device is cuda, but PyTorch sees no CUDA device; give cpu or auto"),
        (0, "cuda:7", "device is cuda:7, but PyTorch sees no CUDA device; give cpu or auto"),
        (1, "cuda:7", "device is cuda:7, but PyTorch sees cuda:0 alone; give one of these, cpu or auto"),
        (3, "cuda:3", "device is cuda:3, but PyTorch sees cuda:0 to cuda:2; give one of these, cpu or auto"),
        (1, "gpu", "device is 'gpu' (did you mean 'cuda'?); give auto, cpu, cuda or cuda:N"),
        (1, "cuad", "device is 'cuad' (did you mean 'cuda'?); give auto, cpu, cuda or cuda:N"),
        (1, "xyzzy", "device is 'xyzzy'; give auto, cpu, cuda or cuda:N"),
        (1, "meta", "device is 'meta'; give auto, cpu, cuda or cuda:N"),
        (1, "cpu:3", "device is 'cpu:3'; give auto, cpu, cuda or cuda:N"),
    ],
)
def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch, count: int, name: str, why: str) -> None:
    gpus(monkeypatch, count)
    with pytest.raises(UserError, match=f"^{re.escape(why)}$"):
        choose_device(name)


def test_types_by_name_and_as_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNMASK_PROCESSOR_BF16", "1")
    assert choose_dtype("fp32", CPU, CONFIG) == choose_dtype(torch.float32, CPU, CONFIG) == torch.float32
    assert choose_dtype("bf16", CPU, CONFIG) == choose_dtype(torch.bfloat16, CPU, CONFIG) == torch.bfloat16
    assert [dtype_name(x) for x in (torch.float32, torch.bfloat16, torch.float64)] == ["fp32", "bf16", "float64"]
    assert noted(torch.float32) == {} and noted(torch.bfloat16) == {"dtype": "bf16"}
    for name, hint in {"bf61": "bf16", "float32": "fp32", "bfloat16": "bf16"}.items():
        said = str(name).removeprefix("torch.")
        with pytest.raises(UserError, match=rf"^dtype is '{said}' \(did you mean '{hint}'\?\); give fp32"):
            check_dtype(name)
    with pytest.raises(UserError, match="^dtype is 'int8'; give fp32, bf16 or auto$"):
        check_dtype("int8")


def test_a_processor_without_bf16_refuses_it_and_auto_goes_round_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNMASK_PROCESSOR_BF16", "0")
    monkeypatch.setattr(placement, "faster_in_bf16", lambda *_: pytest.fail("nothing is timed there"))
    with pytest.raises(UserError, match=r"^dtype is bf16, but this processor .* has no bf16 .*; give fp32 or auto$"):
        choose_dtype("bf16", CPU, CONFIG)
    assert choose_dtype("auto", CPU, CONFIG) == torch.float32


@pytest.mark.parametrize(
    "ratios, taken",
    [([2.0, 1.4, 1.5, 1.3], True), ([2.0, 1.4, 1.2], False), ([0.01], False), ([1.5, 1.29], False)],
)
def test_auto_on_a_processor_takes_what_is_faster_in_each_try(
    monkeypatch: pytest.MonkeyPatch, ratios: list[float], taken: bool
) -> None:
    monkeypatch.setenv("UNMASK_PROCESSOR_BF16", "1")
    placement.faster_in_bf16.cache_clear()
    left = iter(ratios)
    monkeypatch.setattr(placement, "seconds_ratio", lambda shapes, rows: next(left))
    assert choose_dtype("auto", CPU, CONFIG) == (torch.bfloat16 if taken else torch.float32)
    placement.faster_in_bf16.cache_clear()
    assert next(left, None) is None


def test_auto_on_a_gpu_asks_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for has in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, has=has: has)
        assert choose_dtype("auto", torch.device("cuda", 0), CONFIG) == (torch.bfloat16 if has else torch.float32)
    with pytest.raises(UserError, match="^dtype is bf16, but cuda:0 has no bf16 products; give fp32 or auto$"):
        choose_dtype("bf16", torch.device("cuda", 0), CONFIG)


def test_a_model_is_loaded_in_its_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNMASK_PROCESSOR_BF16", "1")
    folder = save(tmp_path / "m", Transformer(CONFIG, seed=0))
    plain, held = unmask.load(folder), unmask.load(folder, dtype="bf16")
    assert (plain.dtype, held.dtype) == (torch.float32, torch.bfloat16)
    assert unmask.load(folder, dtype=torch.bfloat16).dtype == torch.bfloat16
    weights = dict(held.network.named_parameters())
    for name, ours in plain.network.named_parameters():
        theirs = weights[name]
        assert theirs.dtype == (torch.float32 if "norm" in name else torch.bfloat16), name
        torch.testing.assert_close(theirs.float(), ours if "norm" in name else ours.bfloat16().float(), rtol=0, atol=0)
    assert held.network.cos.dtype == torch.float32
    assert all(m.gives == torch.bfloat16 for m in held.network.modules() if isinstance(m, RMSNorm))
    tokens = torch.randint(50, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, exact = held.network(tokens), plain.network(tokens)
    assert logits.dtype == torch.float32
    assert (logits - exact).norm() < 0.02 * exact.norm()
    with pytest.raises(UserError, match="dtype is 'half'"):
        unmask.load(tmp_path / "nowhere", dtype="half")
    with pytest.raises(UserError, match="device is 'tpu'"):
        unmask.load(folder, device="tpu")
