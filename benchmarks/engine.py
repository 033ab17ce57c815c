"""The decoding engine's speed on random weights, against the reference's sampler and a ceiling.

    python -m benchmarks.engine --size 6M --size 19M --out engine.json
    python -m benchmarks.engine --size 6M --steps 128 --rounds 1 --no-grid

Two tables, arms in turns, medians and quartiles over rounds, ratios within a round:

1. *Same rule, same steps, same guidance*: our `ancestral` and `confidence` against the paper's sampler
   (`reference_sampler.py`), one row, beside what arithmetic allows (`ceiling.py`).
2. *Lengths, prompts, batches*: the autoregressive twin, transformers' `generate` on its weights, and masked models at a
   fixed number of steps, with and without a cache. What a batch gains is tokens/s over those of one row.

Several `--dtype` are measured against each other in place of these tables (`number_types.py`).

Weights are random, so nothing is said of quality, and rules that wait for confidence have no place here. Answers are
kept in OUT.partial.jsonl, and a stopped run goes on from there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.ceiling import ceiling
from benchmarks.command import begin
from benchmarks.number_types import placement_facts, random_model, sampling, sampling_in_words
from benchmarks.reference_sampler import reference_sample
from unmask.bench.decode.arms import Ours, Writer, transformers_arms
from unmask.bench.decode.settings import Setting
from unmask.bench.kit.clock import timed
from unmask.bench.kit.folders import check_folders
from unmask.bench.kit.shapes import model_fields
from unmask.bench.kit.spread import spread
from unmask.bench.kit.turns import moved
from unmask.decoding import generate
from unmask.evaluation.provenance import write_result, writing
from unmask.evaluation.request_store import RequestStore, request_key
from unmask.model.config import ModelConfig
from unmask.model.placement import check_types
from unmask.model.presets import preset
from unmask.options import Options, option
from unmask.provenance import machine, versions
from unmask.terminal import say

SCHEMA_VERSION = 1
KIND = "unmask-bench-engine"
ORDERS = ("ancestral", "confidence")
GUIDED_PROMPT = 32  # tokens of a prompt, where guidance is asked for
TWIN, BATCHES = "ARM", (1, 8)
BATCH_LENGTH = 128  # of the rows whose batches are compared
BLOCK = 32

Calls = dict[str, Callable[[], Any]]


@dataclass(frozen=True)
class EngineBenchOptions(Options):
    """Decoding on random weights: the reference's sampler, batches, types."""

    does = "bench_engine"

    size: list[str] = option(["6M", "19M"], "6M, 19M, ..., or LAYERSxHEADSxWIDTH; repeatable")
    vocab: int = option(32000, "tokens of the vocabulary", least=1)
    length: int = option(256, "new tokens, against the reference", least=1)
    steps: list[int] = option([128, 256], "repeatable", least=1)
    guidance: float = option(0.0, "w, on both sides; then with a prompt of 32 tokens")
    temperature: float = option(1.0, "of both samplers", least=0)
    batch: list[int] = option([1, 8], "of several types; repeatable", least=1)
    grid: bool = option(True, "leave out lengths, prompts and batches", flag="--no-grid")
    grid_size: list[str] = option(["6M"], "of the models there; repeatable")
    grid_length: list[int] = option([32, 128, 512], "repeatable", least=1)
    grid_prompt: list[int] = option([0, 128, 512], "repeatable", least=0)
    grid_batch: list[int] = option([1, 4], "repeatable", least=1)
    transformers: bool = option(True, "without transformers", flag="--no-transformers")
    rounds: int = option(2, "turns of each arm", least=1)
    seed: int = option(0, "of the sampling noise")
    device: str = option("auto", "auto, cpu, cuda or cuda:N; auto: CUDA where there is one")
    dtype: list[str] = option(["fp32"], "several: these against each other, in place of the two tables; repeatable")
    threads: int = option(0, "0: all cores", least=0)
    out: str | None = option(None, "the result as JSON; a stopped run goes on", metavar="FILE")

    def check(self) -> None:
        """Raises `UserError` for what cannot be measured."""
        check_types(self.dtype, self.device)
        check_folders(self.out)


def bench_engine(options: EngineBenchOptions) -> dict[str, Any]:
    """Both tables as JSON values; written to `out` where given."""
    options.check()
    if options.threads:
        torch.set_num_threads(options.threads)
    shapes = {size: shape(size, options) for size in dict.fromkeys([*options.size, *options.grid_size])}
    result: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "kind": KIND,
        "options": {
            k: v for k, v in dataclasses.asdict(options).items() if k not in ("out", "device", "dtype", "batch")
        },
        **placement_facts(options.device, options.dtype[0], next(iter(shapes.values()))),
        "versions": versions(),
        "machine": machine(),
        "threads": torch.get_num_threads(),
    }
    if len(options.dtype) > 1:
        result["types"] = [row for size in options.size for row in types(size, shapes[size], options)]
        if options.out:
            write_result(Path(options.out), result)
        return result
    same = [name for name in ("options", "versions", "threads", "device", "dtype") if name in result]
    with writing(options.out, {name: result[name] for name in same}, result) as store:
        result["samplers"] = [row for size in options.size for row in samplers(store, size, shapes[size], options)]
        result["grid"] = []
        for size in options.grid_size if options.grid else ():
            result["grid"] += grid(store, size, shapes[size], options)
    return result


def shape(size: str, options: EngineBenchOptions) -> ModelConfig:
    """A masked model's config with room for every row that is measured."""
    rows = [options.length + GUIDED_PROMPT]
    if options.grid:
        rows.append(max(*options.grid_length, BATCH_LENGTH) + max(options.grid_prompt) + 1)
    fields = dataclasses.asdict(model_fields(size))
    free = {name: fields[name] for name in ("n_layer", "n_head", "n_embd")} if fields["size"] is None else {}
    made: dict[str, Any] = {"vocab_size": options.vocab, "causal": False, "block_size": max(rows), "eos_id": 0}
    return ModelConfig(**free, **made) if free else preset(size, **made)


def types(size: str, config: ModelConfig, options: EngineBenchOptions) -> list[dict[str, Any]]:
    """`confidence` and the twin in several number types."""
    say(f"bench: {size} in {', '.join(options.dtype)}")
    how = (options.length, options.steps, options.batch, options.rounds, options.seed)
    return [{"size": size, **row} for row in sampling(config, options.dtype, options.device, *how)]


# ------------------------------------------------------------------ against the reference's sampler


def samplers(store: RequestStore, size: str, config: ModelConfig, options: EngineBenchOptions) -> list[dict[str, Any]]:
    """A row an order and number of steps."""
    model = random_model(config, options.device, options.dtype[0])
    width, generator = GUIDED_PROMPT if options.guidance else 0, torch.Generator().manual_seed(options.seed)
    prompt_BP = torch.randint(0, config.vocab_size, (1, width), generator=generator).to(model.device)
    how: dict[str, Any] = {"guidance": options.guidance, "temperature": options.temperature}

    def theirs(order: str, steps: int) -> Any:
        return reference_sample(model.network, prompt_BP, options.length, steps, order, seed=options.seed, **how)

    def ours(order: str, steps: int) -> Any:
        quota = {"quota": "paper"} if order == "confidence" else {}
        call = {"steps": steps, "order": order, "seed": options.seed, "trace": False, **quota, **how}
        # The published sampler begins from a bare canvas.
        return generate(model, [prompt_BP[0].tolist() or None], options.length, **call)[0].nfe

    rows = []
    for order in ORDERS:
        for warm in (theirs, ours):
            warm(order, 2)
        for steps in options.steps:
            calls: Calls = {"reference": partial(theirs, order, steps), "ours": partial(ours, order, steps)}
            turns = in_turns(store, calls, options.rounds, "samplers", size, order, steps, options.length)
            seconds = {name: np.array([t["seconds"] for t in own]) for name, own in turns.items()}
            allowed = ceiling(config, width, options.length, steps, order)
            faster = spread(seconds["reference"] / seconds["ours"])
            rows.append(
                {
                    "size": size,
                    "order": order,
                    "steps": steps,
                    "nfe": turns["ours"][0]["told"],
                    "seconds": {name: spread(own) for name, own in seconds.items()},
                    "faster": faster,
                    "ceiling": allowed,
                    "share_of_ceiling": faster["median"] / allowed["ratio"],
                }
            )
    return rows


# ------------------------------------------------------------------ lengths, prompts, batches


def masked_settings() -> list[Setting]:
    """At a fixed number of steps, since random weights are never confident."""
    cached = {"order": "confidence", "quota": "even", "block": BLOCK, "cache": "dual"}
    return [
        Setting("MDM ancestral, L/4 steps", {"order": "ancestral"}, 1 / 4),
        Setting("MDM confidence, L/4 steps", {"order": "confidence", "quota": "even"}, 1 / 4),
        Setting(f"MDM confidence, L/4 steps, block {BLOCK}, cache dual", cached, 1 / 4),
    ]


def grid(store: RequestStore, size: str, config: ModelConfig, options: EngineBenchOptions) -> list[dict[str, Any]]:
    """Tokens/s of every arm at every shape; nothing ends early, so that all write the same number of tokens."""
    place = (options.device, options.dtype[0])
    mdm, arm = random_model(config, *place), random_model(config, *place, causal=True)
    writers: list[Writer] = [Ours(arm, Setting(TWIN, {}), stops=False)]
    writers += [Ours(mdm, setting, stops=False) for setting in masked_settings()]
    if options.transformers:
        writers += transformers_arms(arm, options.temperature, stops=False)
    shapes = [(p, n, b) for b in options.grid_batch for p in options.grid_prompt for n in options.grid_length]
    shapes += [(0, BATCH_LENGTH, batch) for batch in BATCHES]
    rng, rows = np.random.default_rng(options.seed), []
    for writer in writers:
        writer.generate([[1, 2]], 8, 0)  # warm
    for prompt, length, batch in dict.fromkeys(shapes):
        # An empty prompt is the token that an autoregressive model starts from.
        prompts = rng.integers(1, config.vocab_size, (batch, max(1, prompt))).tolist()
        calls: Calls = {writer.name: partial(passes, writer, prompts, length) for writer in writers}
        turns = in_turns(store, calls, options.rounds, "grid", size, prompt, length, batch)
        rates = {n: np.array([batch * length / t["seconds"] for t in own]) for n, own in turns.items()}
        rows.append(
            {
                "size": size,
                "prompt": prompt,
                "length": length,
                "batch": batch,
                "nfe": {name: own[0]["told"] for name, own in turns.items()},
                "tokens_per_second": {name: spread(rate) for name, rate in rates.items()},
                "over_arm": {name: spread(rate / rates[TWIN]) for name, rate in rates.items() if name != TWIN},
            }
        )
    return rows


def passes(writer: Writer, prompts: list[list[int]], length: int) -> float:
    return writer.generate(prompts, length, seed=0)[0].nfe


def in_turns(store: RequestStore, calls: Calls, rounds: int, *what: Any) -> dict[str, list[dict[str, Any]]]:
    """Seconds of each call and what it told, `rounds` times in an order that moves; what is known is not done again."""
    names = list(calls)
    turns: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for index in range(rounds):
        key = request_key(*what, index, names)
        if (known := store.get(key)) is None:
            known = {}
            for name in moved(names, index):
                told, seconds = timed(calls[name])
                known[name] = {"seconds": seconds, "told": float(told) if isinstance(told, int | float) else None}
            store.put(key, known)
        for name in names:
            turns[name].append(known[name])
        times = ", ".join(f"{name} {known[name]['seconds']:.2f} s" for name in names)
        say(f"bench: {' '.join(map(str, what))}, round {index + 1} of {rounds}: {times}")
    return turns


def in_words(result: dict[str, Any]) -> str:
    """Both tables."""
    options = result["options"]
    lines = [
        f"threads: {result['threads']}, {result['machine']['cpu']}, torch {result['versions']['torch']}; vocabulary "
        f"{options['vocab']:,}, {options['rounds']} rounds, medians [quartiles]",
    ]
    if "types" in result:
        return "\n".join([*lines, "", *sampling_in_words(result["types"])])
    lines += [
        "",
        f"one row of {options['length']} tokens, guidance {options['guidance']:g}, "
        f"temperature {options['temperature']:g}",
        f"{'size':<8}{'order':<12}{'steps':>6}{'passes':>8}{'reference':>12}{'ours':>10}{'faster':>22}"
        f"{'ceiling':>9}{'reached':>9}",
    ]
    for row in result["samplers"]:
        faster = "{median:.2f}x [{q1:.2f}, {q3:.2f}]".format(**row["faster"])
        lines.append(
            f"{row['size']:<8}{row['order']:<12}{row['steps']:>6}{row['nfe']:>8.0f}"
            f"{row['seconds']['reference']['median']:>10.2f} s{row['seconds']['ours']['median']:>8.2f} s{faster:>22}"
            f"{row['ceiling']['ratio']:>8.2f}x{row['share_of_ceiling']:>9.0%}"
        )
    if result["grid"]:
        lines += ["", *_grid(result["grid"])]
    return "\n".join(lines)


def _grid(rows: list[dict[str, Any]]) -> list[str]:
    names = list(rows[0]["tokens_per_second"])
    keys = {name: chr(ord("A") + index) for index, name in enumerate(names)}
    lines = ["tokens/s, medians; behind it the ratio to the twin (A)"]
    lines += [f"  {key}: {name}" for name, key in keys.items()]
    lines.append(f"{'size':<8}{'prompt':>7}{'length':>7}{'batch':>6}" + "".join(f"{key:>18}" for key in keys.values()))
    for row in rows:
        cells = []
        for name in names:
            over = f" {row['over_arm'][name]['median']:.2f}x" if name in row["over_arm"] else ""
            cells.append(f"{row['tokens_per_second'][name]['median']:,.0f}{over}")
        lines.append(
            f"{row['size']:<8}{row['prompt']:>7}{row['length']:>7}{row['batch']:>6}"
            + "".join(f"{cell:>18}" for cell in cells)
        )
    return lines + _batching(rows, names)


def _batching(rows: list[dict[str, Any]], names: list[str]) -> list[str]:
    """What the largest batch gains over one row, where both were measured."""
    one, many = BATCHES
    lines = []
    for size in dict.fromkeys(row["size"] for row in rows):
        by_batch = {r["batch"]: r for r in rows if (r["size"], r["prompt"], r["length"]) == (size, 0, BATCH_LENGTH)}
        if one in by_batch and many in by_batch:
            rates = {b: by_batch[b]["tokens_per_second"] for b in BATCHES}
            gains = (f"{name} {rates[many][name]['median'] / rates[one][name]['median']:.2f}x" for name in names)
            lines.append(f"{size}: batch {many} over batch {one}, length {BATCH_LENGTH}, tokens/s: {', '.join(gains)}")
    return lines


if __name__ == "__main__":
    begin(EngineBenchOptions, "engine")
