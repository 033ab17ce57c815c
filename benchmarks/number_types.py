"""Decoding and likelihood in several number types: the same work in turns, ratios within a round, errors in nats.

    python -m benchmarks.engine --size 19M --length 256 --steps 128 --dtype fp32 --dtype bf16
    python -m benchmarks.likelihood runs/mdm --dtype fp32 --dtype bf16

Every further type is set against the first one. The errors of random weights say little; those of a real model's
likelihoods are what `benchmarks.likelihood` tells first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from unmask.bench.kit.spread import spread
from unmask.bench.kit.turns import in_turns
from unmask.decoding import generate
from unmask.likelihood.estimators import Estimator
from unmask.likelihood.pairs import Pair
from unmask.likelihood.scoring import score_pairs
from unmask.model.config import ModelConfig
from unmask.model.folder import Model
from unmask.model.placement import choose_device, choose_dtype, noted
from unmask.model.transformer import Transformer

WAYS = {"chain-rule": Estimator("chain-rule"), "mc-fixed, 32 draws": Estimator("mc-fixed", 32)}


def placement_facts(device: str, dtype: str, config: ModelConfig) -> dict[str, Any]:
    """What a result notes of them: nothing for fp32 on a CPU."""
    place = choose_device(device)
    where = {} if place.type == "cpu" else {"device": str(place)}
    return {**where, **noted(choose_dtype(dtype, place, config))}


def random_model(config: ModelConfig, device: str = "cpu", dtype: str = "fp32", causal: bool = False) -> Model:
    place = choose_device(device)
    network = Transformer(replace(config, causal=causal), seed=0).hold(choose_dtype(dtype, place, config))
    return Model(network.to(place).eval())


def random_pairs(config: ModelConfig, shapes: Sequence[Pair], seed: int) -> list[Pair]:
    """Random tokens, as long as some real requests."""
    rng = np.random.default_rng(seed)
    return [
        Pair(rng.integers(0, config.vocab_size, len(shape.ids_T)), shape.start, shape.start, None, 0)
        for shape in shapes
    ]


def sampling(
    config: ModelConfig,
    dtypes: Sequence[str],
    device: str,
    length: int,
    steps: Sequence[int],
    batches: Sequence[int],
    rounds: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Tokens/s of `confidence` and of the autoregressive twin, rows behind a token, at every batch size."""
    rows = []
    for kind, each in {"mdm": steps, "arm": [length]}.items():
        models = {name: random_model(config, device, name, causal=kind == "arm") for name in dtypes}
        for many in each:
            for batch in batches:

                def write(model: Model, rules: dict[str, Any], length: int, batch: int = batch) -> None:
                    generate(model, [[1]] * batch, length, eos="fill", trace=False, seed=seed, **rules)

                rules = {"order": "confidence", "steps": many} if kind == "mdm" else {}
                for model in models.values():
                    write(model, rules | ({"steps": 2} if rules else {}), min(8, length))
                calls = {name: partial(write, model, rules, length) for name, model in models.items()}
                what = f"{kind}, {many} steps, batch {batch}"
                seconds = in_turns(calls, rounds, what)
                row = {"kind": kind, "steps": many, "length": length, "batch": batch, **compared(seconds)}
                row["tokens_per_second"] = {name: spread(batch * length / own) for name, own in seconds.items()}
                rows.append(row)
    return rows


def likelihood(models: dict[str, Model], pairs: list[Pair], rounds: int, seed: int, what: str) -> list[dict[str, Any]]:
    """Seconds of every way to score these pairs in each type, and its errors against the first one."""
    n_tokens = np.array([pair.n_tokens for pair in pairs])
    rows = []
    for way, estimator in WAYS.items():
        nats: dict[str, np.ndarray] = {}

        def run(name: str, estimator: Estimator = estimator, nats: dict[str, np.ndarray] = nats) -> None:
            scores = score_pairs(models[name], pairs, estimator, seed=seed)
            nats[name] = -np.array([score.logprob for score in scores])

        for name in models:
            run(name)
        seconds = in_turns({name: partial(run, name) for name in models}, rounds, f"{what}, {way}")
        first, *further = models
        errors = {name: errors_of(nats[name] - nats[first], n_tokens) for name in further}
        shared: dict[str, float] = {"requests": len(pairs), "tokens": int(n_tokens.sum())}
        shared |= {"nats_per_token": float(nats[first].sum() / n_tokens.sum())}
        rows.append({"model": what, "method": way, **shared, **compared(seconds), "errors": errors})
    return rows


def errors_of(difference: np.ndarray, n_tokens: np.ndarray) -> dict[str, float]:
    """Of a text and of a token, in nats: the largest, the mean, and the mean with its sign."""
    text, token = np.abs(difference), np.abs(difference) / n_tokens
    return {
        "largest_of_a_text": float(text.max()),
        "mean_of_a_text": float(text.mean()),
        "bias_of_a_text": float(difference.mean()),
        "largest_per_token": float(token.max()),
        "mean_per_token": float(token.mean()),
    }


def compared(seconds: dict[str, np.ndarray]) -> dict[str, Any]:
    first, *further = seconds
    faster = {name: spread(seconds[first] / seconds[name]) for name in further}
    return {"seconds": {name: spread(own) for name, own in seconds.items()}, "faster": faster}


def sampling_in_words(rows: list[dict[str, Any]]) -> list[str]:
    lines = []
    for row in rows:
        what = "confidence" if row["kind"] == "mdm" else "the twin"
        for name, faster in row["faster"].items():
            rates = ", ".join(f"{n} {rate['median']:,.0f}" for n, rate in row["tokens_per_second"].items())
            lines.append(
                f"{row['size']:<8}{what:<12}{row['steps']:>5} steps, length {row['length']}, batch {row['batch']}: "
                f"{name} {ratio_text(faster)} as fast; tokens/s {rates}"
            )
    return lines


def likelihood_in_words(rows: list[dict[str, Any]]) -> list[str]:
    lines = []
    for row in rows:
        for name, faster in row["faster"].items():
            error = row["errors"][name]
            lines += [
                f"{row['model']}, {row['method']}: {name} {ratio_text(faster)} as fast; {row['requests']} texts of "
                f"{row['tokens'] / row['requests']:.1f} tokens, {row['nats_per_token']:.3f} nats/token",
                f"    error in nats: of a text at most {error['largest_of_a_text']:.4f}, mean "
                f"{error['mean_of_a_text']:.4f} (with its sign {error['bias_of_a_text']:+.4f}); per token at most "
                f"{error['largest_per_token']:.5f}, mean {error['mean_per_token']:.5f}",
            ]
    return lines


def ratio_text(faster: dict[str, float]) -> str:
    return "{median:.2f}x [{q1:.2f}, {q3:.2f}]".format(**faster)
