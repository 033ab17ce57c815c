"""Measuring bf16 against fp32: what is measured, how long it may take, and what is kept of it."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unmask.model.config import ModelConfig
from unmask.training import product_speed
from unmask.training.product_speed import HOPELESS, SMALL, TRIES, WIDEST, decided, known_ratios, measure, products

LARGE = ModelConfig(n_layer=3, n_head=4, n_embd=256, vocab_size=500, block_size=64)
TINY = ModelConfig(n_layer=3, n_head=2, n_embd=16, vocab_size=500, block_size=64, eos_id=499)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of one test."""
    monkeypatch.setenv("UNMASK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "precision"


@given(heads=st.integers(1, 40), vocab=st.integers(2, 70_000), layers=st.integers(1, 40), causal=st.booleans())
def test_shapes_are_the_models_own_as_far_as_they_go(heads: int, vocab: int, layers: int, causal: bool) -> None:
    width, sizes = 64 * heads, {"n_head": 4, "n_kv_head": 2, "n_embd": 64 * heads}
    config = ModelConfig(n_layer=layers, vocab_size=vocab, block_size=64, causal=causal, **sizes)
    found = products(config)
    assert math.isclose(sum(found.values()), 1.0)
    assert all(1 <= side <= WIDEST for shape in found for side in shape)
    assert (min(width, WIDEST), min(2 * width, WIDEST)) in found, "queries with shared keys and values"
    assert list(found.values()) == sorted(found.values(), reverse=True)


@pytest.mark.parametrize("config", [LARGE, TINY])
def test_a_measurement_is_short_and_leaves_randomness_alone(config: ModelConfig) -> None:
    measure(config, seconds=0.2)  # what sets things up
    before, began = torch.get_rng_state(), time.process_time()
    ratios = measure(config)
    assert time.process_time() - began < 1.0
    assert len(ratios) <= TRIES and all(0 < ratio < math.inf for ratio in ratios)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")


def test_small_models_are_measured_by_their_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def run(work: object, turns: int, end: float = math.inf) -> list[float]:
        seen.append(type(work).__name__)
        return [2.0, 1.0]

    monkeypatch.setattr(product_speed, "run", run)
    for config, name in ((TINY, "Layers"), (LARGE, "Product")):
        seen.clear()
        assert measure(config) == [2.0] * TRIES
        assert set(seen[2:]) == {name} and seen[0] == "Product"
    assert TINY.n_embd <= SMALL < LARGE.n_embd


def test_a_hopeless_first_product_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def run(work: object, turns: int, end: float = math.inf) -> list[float]:
        calls.append(turns)
        return [0.001, 0.1]

    monkeypatch.setattr(product_speed, "run", run)
    assert measure(LARGE) == [0.01] and len(calls) == 2


def test_where_time_runs_out_less_is_known() -> None:
    assert len(measure(LARGE, seconds=0.0)) < TRIES


@pytest.mark.parametrize(
    ("ratios", "kept"),
    [
        ([2.0, 3.0, 2.5], True),
        ([1.0, 1.1, 0.9], True),
        ([0.01], True),
        ([2.0, 1.1, 2.0], False),
        ([2.0, 2.0], False),
        ([HOPELESS], False),
        ([], False),
    ],
)
def test_what_is_decided_is_kept(
    monkeypatch: pytest.MonkeyPatch, folder: Path, ratios: list[float], kept: bool
) -> None:
    calls: list[ModelConfig] = []

    def measured(config: ModelConfig) -> list[float]:
        calls.append(config)
        return ratios

    monkeypatch.setattr(product_speed, "measure", measured)
    assert decided(ratios) is kept
    assert known_ratios(LARGE) == ratios and known_ratios(LARGE) == ratios
    assert len(calls) == (1 if kept else 2)
    assert len(list(folder.glob("*.json"))) == kept


def test_another_shape_torch_processor_or_thread_is_measured_anew(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setattr(product_speed, "measure", lambda config: [2.0] * TRIES)
    known_ratios(LARGE)
    known_ratios(dataclasses.replace(LARGE, n_layer=4))
    known_ratios(TINY)
    known_ratios(dataclasses.replace(TINY, n_layer=9, eos_id=None, eos_ids=()))  # two of its layers are as before
    assert len(list(folder.iterdir())) == 3
    monkeypatch.setattr(torch, "get_num_threads", lambda: 99)
    known_ratios(LARGE)
    monkeypatch.setattr(torch, "__version__", "9.9")
    known_ratios(LARGE)
    monkeypatch.setattr(product_speed, "processor_flags", lambda: ("amx_bf16",))
    known_ratios(LARGE)
    assert len(list(folder.iterdir())) == 6


NO_RATIOS = ['{"ratios": 3}', '{"ratios": ["a"]}', '{"ratios": [1e999, 2, 2]}', '{"ratios": [-1, 0, 1]}']


@pytest.mark.parametrize("text", ["", "[]", "{}", "\x00", "[" * 9999, *NO_RATIOS])
def test_a_damaged_cache_is_measured_over(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    monkeypatch.setattr(product_speed, "measure", lambda config: [2.0] * TRIES)
    known_ratios(LARGE)
    (file,) = folder.iterdir()
    file.write_text(text)
    monkeypatch.setattr(product_speed, "measure", lambda config: [3.0] * TRIES)
    assert known_ratios(LARGE) == [3.0] * TRIES
    assert json.loads(file.read_text())["ratios"] == [3.0] * TRIES


def test_a_cache_that_cannot_be_written_is_done_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(product_speed, "measure", lambda config: [2.0] * TRIES)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UNMASK_CACHE", str(tmp_path / "file"))
    assert known_ratios(LARGE) == [2.0] * TRIES

    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("UNMASK_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert known_ratios(LARGE) == [2.0] * TRIES
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
