"""`unmask bench decode`: speed against quality of every decoding rule and cache, beside an autoregressive twin.

    unmask bench decode runs/demo/mdm --arm runs/demo/arm --data runs/demo/data --out decode.json --plot decode.png
    unmask bench decode runs/demo/mdm --data runs/demo/data --only 'confidence*' --only 'threshold*' --judge none
    unmask bench decode runs/demo/mdm --data runs/demo/data --setting 'order: margin, quota: threshold:0.5, block: 8'
    unmask bench decode runs/demo/mdm --data runs/demo/data --only 'confidence*' --dtype fp32 --dtype bf16

The protocol: one backbone, tokenizer and data for both models, the twin with its preallocated cache; an end of sequence
stops every arm; loading is not timed; all arms are warm (each has written the samples of its quality); they take turns,
in an order that moves on every round; medians and quartiles over rounds, ratios within a round. Passes count every call
of the network, with guidance twice. Tokens per second are *useful* ones, of the text before its end.

Quality is measured once a setting on prompts from held-out text: perplexity under a judge with the entropy of the
tokens beside it (`evaluation.generation_quality`), and gaps of held-out text filled exactly. The real continuations
are judged too. Answers are kept in OUT.partial.jsonl, and a stopped run goes on from there.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unmask.bench.decode.arms import Ours, Writer, transformers_arms
from unmask.bench.decode.gaps import gaps
from unmask.bench.decode.options import DecodeBenchOptions
from unmask.bench.decode.settings import STOP, Setting, arm_settings, mdm_settings, read_setting
from unmask.bench.decode.shared import BASELINE, Bench, chosen, in_type, shared_context
from unmask.bench.decode.table import table as in_words
from unmask.bench.kit.clock import timed
from unmask.bench.kit.spread import spread
from unmask.bench.kit.turns import moved
from unmask.data.shards import TokenData
from unmask.decoding.rules.plugins import given, load_plugins
from unmask.errors import UserError
from unmask.evaluation.generation_quality import Sample, held_out, measure
from unmask.evaluation.judge import open_judge
from unmask.evaluation.provenance import model_facts, writing
from unmask.model.folder import Model, load
from unmask.model.placement import choose_device
from unmask.provenance import machine, versions
from unmask.terminal import say

__all__ = ["bench_decode", "in_words"]
SCHEMA_VERSION = 1
KIND = "unmask-bench-decode"
ROWS_AT_ONCE = 16  # while quality is measured; speed has its own batches
SHOWN_SAMPLES = 2
PROTOCOL = ("options", "models", "data", "judge", "plugins", "versions", "threads")


def bench_decode(options: DecodeBenchOptions) -> dict[str, Any]:
    """Measures all cells (prompt x length); JSON values, written to `out` and drawn to `plot` where given."""
    options.check()
    load_plugins(options.plugin)
    own_settings(options)
    if options.threads:
        torch.set_num_threads(options.threads)
    first, *further = options.dtype
    mdm, arm, data = open_models(options, first)
    others = {name: open_models(options, name)[:2] for name in further}
    wanted = cells(options, mdm, arm)
    judge = None if options.judge == "none" else open_judge(options.judge)
    result: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "kind": KIND,
        "options": deciding(options),
        "models": {"mdm": model_facts(mdm), "arm": model_facts(arm) if arm else None},
        "data": {"folder": Path(options.data).name, "fingerprint": data.manifest.fingerprint, "split": data.split},
        "judge": judge.to_dict() if judge else None,
        "stop": STOP,
        **given(),
        "versions": versions(),
        "machine": machine(),
        "threads": torch.get_num_threads(),
    }
    protocol = {name: result[name] for name in PROTOCOL if name in result}
    with writing(options.out, protocol, result) as store:
        bench = Bench(options, mdm, arm, judge, data, store, others)
        result["cells"] = [cell(bench, prompt, length) for prompt, length in wanted]
        result["infill"] = gaps(bench) if options.gaps else None
        result["refused"] = bench.refused
    if options.plot:
        from unmask.bench.decode.plot import plot

        plot(result, Path(options.plot))
    return result


def deciding(options: DecodeBenchOptions) -> dict[str, Any]:
    """The arguments that a result depends on; a device and a type that are as always are not among them."""
    usual = {"device": "cpu", "dtype": ("fp32",)}
    unsaid = ("out", "plot", "verify", "plugin", *(() if options.setting else ("setting",)))
    settings = {k: v for k, v in dataclasses.asdict(options).items() if k not in unsaid}
    settings["device"] = choose_device(options.device).type
    return {k: v for k, v in settings.items() if k not in usual or (tuple(v) if k == "dtype" else v) != usual[k]}


def open_models(options: DecodeBenchOptions, dtype: str) -> tuple[Model, Model | None, TokenData]:
    """The two models and the held-out text; raises `UserError` where they do not belong together."""
    mdm = plain(options.model, options, dtype)
    arm = plain(options.arm, options, dtype) if options.arm else None
    for model, path, kind in ((mdm, options.model, "mdm"), (arm, options.arm, "arm")):
        if model is not None and (model.kind != kind or model.tokenizer is None):
            what = {"mdm": "masked diffusion", "arm": "autoregressive"}[kind]
            raise UserError(f"{path} is no {what} model with a tokenizer; give one that is")
    data = TokenData(options.data, "validation")
    for name, tokenizer in ((options.arm, arm.tokenizer if arm else None), (options.data, data.tokenizer())):
        if tokenizer is not None and mdm.tokenizer is not None and tokenizer.hash != mdm.tokenizer.hash:
            raise UserError(f"{name} has another tokenizer than {options.model}; tokens could not be compared")
    return mdm, arm, data


def plain(path: str, options: DecodeBenchOptions, dtype: str) -> Model:
    """The model without its own defaults of decoding, which would stand in for what a setting leaves out."""
    return dataclasses.replace(load(path, options.device, dtype, verify=options.verify), defaults={})


def cells(options: DecodeBenchOptions, mdm: Model, arm: Model | None) -> list[tuple[int, int]]:
    """(prompt, length) pairs that fit into both contexts."""
    context = shared_context(mdm, arm)
    if options.gaps and options.span > context - 1:
        raise UserError(f"--span is {options.span}; give at most {context - 1}, so that a token is left to see")
    pairs = [(p, n) for p in options.prompt or [context // 4] for n in options.length or [context // 2]]
    # An empty prompt is the end of sequence behind which a text begins.
    fitting = [(prompt, length) for prompt, length in pairs if max(1, prompt) + length <= context]
    if not fitting:
        raise UserError(f"no prompt with its length fits into the context of {context}; give shorter ones")
    for prompt, length in pairs:
        if (prompt, length) not in fitting:
            say(f"bench: prompt {prompt} with length {length} exceeds the context of {context}: left out")
    return fitting


def arms_for(bench: Bench, prompt: int, length: int) -> dict[str, tuple[Writer, Setting]]:
    """The arms of a cell by name, with their settings."""
    options = bench.options
    every = own_settings(options) or mdm_settings(length, options.temperature, guided=prompt > 0)
    wanted = [setting for setting in every if chosen(setting.name, options.only)]
    arms: dict[str, tuple[Writer, Setting]] = {}
    for dtype, (mdm, arm) in {options.dtype[0]: (bench.mdm, bench.arm), **bench.others}.items():
        pairs = [(s, mdm) for s in wanted] + [(s, arm) for s in arm_settings(options.temperature) if arm is not None]
        for s, model in pairs:
            setting = dataclasses.replace(s, name=in_type(s.name, dtype, options))
            arms[setting.name] = (Ours(model, setting), setting)
    if bench.arm is not None and options.transformers:
        for writer in transformers_arms(bench.arm, options.temperature[0]):
            arms[writer.name] = (writer, Setting(writer.name, {"temperature": options.temperature[0]}))
    if not arms:
        raise UserError(f"--only {options.only[0]}: no setting has such a name; leave it out to see all")
    return arms


def own_settings(options: DecodeBenchOptions) -> list[Setting]:
    """Those of `--setting`."""
    return [read_setting(text, options.temperature[0]) for text in options.setting]


# ------------------------------------------------------------------ quality


def cell(bench: Bench, prompt: int, length: int) -> dict[str, Any]:
    """Quality and speed of every arm for one length of prompt and of text."""
    pieces = held_out(bench.data, bench.options.samples, prompt + length)
    arms = arms_for(bench, prompt, length)
    rows: dict[str, dict[str, Any]] = {}
    for number, (name, (writer, setting)) in enumerate(arms.items(), start=1):
        where = f"prompt {prompt}, length {length}, {number} of {len(arms)}"
        if (values := quality(bench, writer, setting, pieces, prompt, length, where)) is not None:
            rows[name] = {"setting": name, "kind": writer.kind, **setting.to_dict(), "quality": values, "speed": {}}
    if not rows:
        raise UserError(f"every setting was refused, the first: {next(iter(bench.refused.values()))}")
    writers = {name: arms[name][0] for name in rows}
    for batch in bench.options.batch:
        for name, speed in speeds(bench, writers, [p[:prompt] for p in pieces], prompt, length, batch).items():
            rows[name]["speed"][str(batch)] = speed
    return {
        "prompt": prompt,
        "length": length,
        "real_text": read(bench, pieces, [piece[prompt:] for piece in pieces], prompt),
        "rows": list(rows.values()),
    }


def quality(
    bench: Bench, writer: Writer, setting: Setting, pieces: list[list[int]], prompt: int, length: int, where: str
) -> dict[str, Any] | None:
    """Numbers of the samples an arm writes, its warm-up too; None where it refuses, which is noted."""
    key, values = bench.known("quality", prompt, length, writer.name, setting.to_dict())
    if values is None:
        say(f"bench: {where}: quality of {writer.name}")
        try:
            texts = written(writer, [piece[:prompt] for piece in pieces], length, bench.options.seed)
        except UserError as error:
            bench.refused[writer.name] = str(error)
            say(f"bench: {writer.name} is left out: {error}")
            return None
        values = read(bench, pieces, texts, prompt)
        bench.store.put(key, values)
    return dict(values)


def written(writer: Writer, prompts: list[list[int]], length: int, seed: int) -> list[list[int]]:
    texts: list[list[int]] = []
    for first in range(0, len(prompts), ROWS_AT_ONCE):
        rows = writer.generate(prompts[first : first + ROWS_AT_ONCE], length, seed + first)
        texts += [row.tokens for row in rows]
    return texts


def read(bench: Bench, pieces: list[list[int]], texts: list[list[int]], prompt: int) -> dict[str, Any]:
    """`measure` of continuations of held-out prompts, and the first of them to look at."""
    samples = []
    for piece, tokens in zip(pieces, texts, strict=True):
        given = piece[:prompt]
        text = bench.mdm.decode_behind(given, tokens)
        samples.append(Sample(bench.mdm.decode(given) or "", text or "", tokens))
    shown = [{"prompt": sample.prompt, "text": sample.text} for sample in samples[:SHOWN_SAMPLES]]
    return {**measure(samples, bench.judge), "shown": shown}


# ------------------------------------------------------------------ speed


def speeds(
    bench: Bench, writers: dict[str, Writer], prompts: list[list[int]], prompt: int, length: int, batch: int
) -> dict[str, dict[str, Any]]:
    """Rounds in which every arm has a turn: a call with `batch` of the prompts."""
    turns: dict[str, list[dict[str, Any]]] = {name: [] for name in writers}
    names = list(writers)
    for index in range(bench.options.rounds):
        key, known = bench.known("speed", prompt, length, batch, index, names)
        if known is None:
            rows = [prompts[(index * batch + i) % len(prompts)] for i in range(batch)]
            order = moved(names, index * max(1, len(names) // bench.options.rounds))
            known = {name: turn(writers[name], rows, length, bench.options.seed + index) for name in order}
            bench.store.put(key, known)
        for name in names:
            turns[name].append(known[name])
        say(f"bench: prompt {prompt}, length {length}, batch {batch}: round {index + 1} of {bench.options.rounds}")
    rates = {name: np.array([t["tokens"] / t["seconds"] for t in measured]) for name, measured in turns.items()}
    summaries = {name: summary(own, rates[name], rates.get(BASELINE)) for name, own in turns.items()}
    for dtype in bench.others:
        for name in [name for name in names if in_type(name, dtype, bench.options) in rates]:
            other = in_type(name, dtype, bench.options)
            summaries[other]["over_first_dtype"] = spread(rates[other] / rates[name])
    return summaries


def turn(writer: Writer, prompts: list[list[int]], length: int, seed: int) -> dict[str, Any]:
    """One timed call."""
    rows, seconds = timed(lambda: writer.generate(prompts, length, seed))
    first = [row.seconds_to_first for row in rows if row.seconds_to_first is not None]
    computed = [row.computed for row in rows if row.computed is not None]
    return {
        "rows": len(rows),
        "seconds": seconds,
        "tokens": sum(len(row.tokens) for row in rows),
        "nfe": float(np.mean([row.nfe for row in rows])),
        "first": float(np.mean(first)) if first else None,
        "computed": float(np.mean(computed)) if computed else None,
    }


def summary(turns: list[dict[str, Any]], rates: np.ndarray, baseline: np.ndarray | None) -> dict[str, Any]:
    """Medians and quartiles over rounds; passes and tokens are means, since prompts differ from round to round."""
    first = [turn["first"] for turn in turns if turn["first"] is not None]
    computed = [turn["computed"] for turn in turns if turn["computed"] is not None]
    tokens, passes = float(np.sum([t["tokens"] for t in turns])), float(np.mean([t["nfe"] for t in turns]))
    return {
        "tokens_per_second": spread(rates),
        "over_arm": None if baseline is None else spread(rates / baseline),
        "latency": spread(np.array([turn["seconds"] for turn in turns])),
        "first_commit": spread(np.array(first)) if first else None,
        "nfe": passes,
        "tokens_per_pass": tokens / float(np.sum([turn["rows"] * turn["nfe"] for turn in turns])),
        "useful_tokens": tokens / float(np.sum([turn["rows"] for turn in turns])),
        "computed": float(np.mean(computed)) if computed else None,
    }
