"""How much faster this processor computes in bf16 than in fp32, at the shapes of one model; half a second, then kept.

    ratios = known_ratios(config)            # [3.8, 3.9, 4.0]: seconds in fp32 over those in bf16, of each try

The products of a layer's four maps and of the head: forward, input gradient, weight gradient, of `ROWS` rows and at
most `WIDEST` columns, each weighed by its share of the model's arithmetic. A small model may lose more by the casts and
small operators of bf16 than its products gain: up to a width of `SMALL` forward and backward passes of its own layers
are taken instead (docs/performance.md). The types take turns, and of a few turns the quickest counts.

Kept in the user's cache folder per processor (name and flags), threads, PyTorch version and shapes; a file there that
cannot be written or read changes nothing but the time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import time
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from unmask.diffusion.objective import Objective
from unmask.diffusion.objective_config import ObjectiveConfig
from unmask.errors import UserError
from unmask.files import cache_folder, write_cached
from unmask.model.config import ModelConfig
from unmask.model.fp32_products import products_are_quick
from unmask.model.linear import linear_maps, write_copies
from unmask.model.number_types import processor_flags, processor_name
from unmask.model.transformer import Transformer

SCHEMA_VERSION = 1
LEAST, TRIES = 1.3, 3
HOPELESS = 1 / 3  # a first product slower than that ends it: bf16 may take a hundred times as long
SECONDS, AIM = 0.8, 0.4  # that the tries may take, and that they are laid out for
ROWS, WIDEST = 256, 1024
FEW, FEWEST, LOOKS = 16, 256, 5  # rows and least columns of the first product, and how often it is taken
SMALL, TOKENS = 192, 512  # widest model whose layers are taken, and the tokens of a pass
MOST = 16  # turns of a product in a try, the quickest counting


def known_ratios(config: ModelConfig) -> list[float]:
    """Of this machine and a model's shapes, from the cache or measured now.

    `TRIES` of them; one where bf16 is hopeless; fewer where time ran out.
    """
    key = {"processor": processor_name(), "flags": processor_flags(), "threads": torch.get_num_threads()}
    key |= {"quick fp32": products_are_quick(), "torch": str(torch.__version__), "way": [ROWS, WIDEST, SMALL, TOKENS]}
    key |= {"shape": small(config).to_dict() if config.n_embd <= SMALL else [*map(list, products(config).items())]}
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    path = None
    with contextlib.suppress(UserError):
        path = cache_folder() / "precision" / f"{name}.json"
    if path is not None and (ratios := kept(path)) is not None:
        return ratios
    ratios = measure(config)
    if path is not None and decided(ratios):
        write_cached(path, json.dumps({"schema_version": SCHEMA_VERSION, "ratios": ratios, **key}) + "\n")
    return ratios


def decided(ratios: list[float]) -> bool:
    """Whether all tries say the same, or bf16 was found hopeless before. Else it is measured again next time."""
    if len(ratios) == 1:
        return ratios[0] < HOPELESS
    return len(ratios) == TRIES and len({ratio >= LEAST for ratio in ratios}) == 1


def kept(path: Path) -> list[float] | None:
    """The ratios in a file of the cache; None where it is not there, or damaged."""
    try:
        ratios = [float(ratio) for ratio in json.loads(path.read_text(encoding="utf-8"))["ratios"]]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return ratios if decided(ratios) and all(0 < ratio < math.inf for ratio in ratios) else None


def products(config: ModelConfig) -> dict[tuple[int, int], float]:
    """Inner and outer width of the model's products, cut to `WIDEST`, each with its share of the arithmetic."""
    width, heads, inner = config.n_embd, config.n_head * config.head_dim, config.intermediate_size
    layers = float(config.n_layer)
    real = [
        (width, heads + 2 * config.n_kv_head * config.head_dim, layers),
        (heads, width, layers),
        (width, 2 * inner, layers),
        (inner, width, layers),
        (width, config.vocab_size, 1.0 if config.causal else 0.5),  # a masked model scores about half of the tokens
    ]
    work: dict[tuple[int, int], float] = {}
    for k, n, times in real:
        shape = min(k, WIDEST), min(n, WIDEST)
        work[shape] = work.get(shape, 0.0) + times * k * n
    total = sum(work.values())
    return {shape: work[shape] / total for shape in sorted(work, key=lambda shape: -work[shape])}


def small(config: ModelConfig) -> ModelConfig:
    """A model of the same width with two layers, a short context and few tokens to tell apart."""
    return dataclasses.replace(
        config, n_layer=min(config.n_layer, 2), block_size=min(config.block_size, 256),
        vocab_size=min(config.vocab_size, WIDEST), eos_id=None, eos_ids=(), bos=None, mask=None,
    )  # fmt: skip


def measure(config: ModelConfig, seconds: float = SECONDS) -> list[float]:
    """Seconds in fp32 over those in bf16, of each try that time was left for."""
    shapes = products(config)
    k, n = next(iter(shapes))
    few = Product((max(k, FEWEST), max(n, FEWEST)), FEW)  # large enough for arithmetic to be what takes time
    run(few, 1)  # the first call of a shape sets things up
    if (ratio := ratio_of(run(few, LOOKS, time.perf_counter() + seconds / 2))) < HOPELESS:
        return [ratio]
    works: list[tuple[float, Work]]
    if config.n_embd > SMALL:
        works = [(share / (k * n), Product((k, n), ROWS)) for (k, n), share in shapes.items()]
    else:
        works = [(1.0, Layers(small(config)))]
    for _, work in works:
        run(work, 1)
    end = time.perf_counter() + seconds  # from here on: what a first pass sets up, training would have to
    once = sum(sum(run(work, 1)) for _, work in works)
    turns = max(1, min(MOST, int(AIM / (TRIES * once))))
    ratios: list[float] = []
    while len(ratios) < TRIES:
        total = [0.0, 0.0]
        for weight, work in works:
            if time.perf_counter() > end:
                return ratios
            total = [t + weight * spent for t, spent in zip(total, run(work, turns), strict=True)]
        ratios.append(ratio_of(total))
    return ratios


def ratio_of(spent: list[float]) -> float:
    return spent[0] / spent[1]


class Work(Protocol):
    """The same in both types."""

    def fp32(self) -> None: ...

    def bf16(self) -> None: ...


def run(work: Work, turns: int, end: float = math.inf) -> list[float]:
    """Seconds in fp32 and in bf16, the quickest of so many turns each, or of fewer where it gets late."""
    best = [math.inf, math.inf]
    for _ in range(turns):
        for index, once in enumerate((work.fp32, work.bf16)):
            started = time.perf_counter()
            once()
            best[index] = min(best[index], time.perf_counter() - started)
        if time.perf_counter() > end:
            break
    return best


class Product:
    """The three products of one linear map; in bf16 with the casts of its input and of its input's gradient."""

    def __init__(self, shape: tuple[int, int], rows: int) -> None:
        k, n = shape
        generator = torch.Generator().manual_seed(0)  # a run's own randomness stays as it was
        self._x, self._w, self._g = (torch.randn(*size, generator=generator) for size in ((rows, k), (n, k), (rows, n)))
        self._w16, self._g16 = self._w.bfloat16(), self._g.bfloat16()

    def fp32(self) -> None:
        self._x @ self._w.T
        self._g @ self._w
        self._g.T @ self._x

    def bf16(self) -> None:
        x16 = self._x.bfloat16()
        x16 @ self._w16.T
        (self._g16 @ self._w16).float()
        self._g16.T @ x16


class Layers:
    """A model's forward and backward pass over `TOKENS` tokens, as a training step makes them."""

    def __init__(self, config: ModelConfig) -> None:
        self._objective = Objective(ObjectiveConfig(kind=config.kind))
        with torch.random.fork_rng(devices=[]):  # PyTorch's modules draw weights before the model draws its own
            self._fp32, self._bf16 = Transformer(config, seed=0), Transformer(config, seed=0)
        rows = max(1, TOKENS // config.block_size)
        tokens_BT1 = np.random.default_rng(0).integers(config.vocab_size, size=(rows, config.block_size + 1))
        self._maps = linear_maps(self._bf16)
        self._inputs = self._objective.prepare(tokens_BT1, 0, np.arange(rows), config.mask_id)

    def fp32(self) -> None:
        self._objective.loss(self._fp32, self._inputs).loss_sum.backward()
        self._fp32.zero_grad(set_to_none=True)

    def bf16(self) -> None:
        write_copies(self._maps, torch.bfloat16)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = self._objective.loss(self._bf16, self._inputs).loss_sum
        loss.backward()
        self._bf16.zero_grad(set_to_none=True)
