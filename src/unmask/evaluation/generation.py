"""`unmask eval RUN --tasks generation`: what a model writes behind given prompts, judged, beside what really followed.

    unmask eval runs/mdm --tasks generation --judge runs/other-arm --decode 'order: confidence, steps: 32'
    unmask eval runs/sft --tasks generation --data glosses/test.jsonl --length 48 --out generation.json

Perplexity and bits per byte under a judge (`judge.py`), never without the entropy of the tokens; distinct-n, seq-rep-4,
self-BLEU, and MAUVE where its package is installed. All of it once more for the true continuations (`reference`).
Prompts come from the held-out split of a prepared folder, by default the one that the run was trained on, or from JSON
lines with `prompt` and `completion`. Texts are kept as they come, so that a stopped evaluation goes on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

from unmask.data.manifest import Manifest
from unmask.data.records import read_records
from unmask.data.shards import TokenData
from unmask.decoding import generate
from unmask.decoding.rules.plugins import used
from unmask.errors import UserError, nearest
from unmask.evaluation.exposure import data_folders, recipes_of, refuse_read, refuse_tuned
from unmask.evaluation.generation_arguments import RULES
from unmask.evaluation.generation_quality import (
    REPETITION_N,
    Reading,
    Sample,
    entropy,
    held_out,
    measure,
    repetition,
    wholes,
)
from unmask.evaluation.judge import SMOLLM2, Judge, open_judge
from unmask.evaluation.mauve import MISSING, can_mauve, features, mauve_score
from unmask.evaluation.request_store import Store, answered, request_key
from unmask.evaluation.self_bleu import self_bleu
from unmask.model.folder import Model
from unmask.model.placement import noted
from unmask.settings import parse_yaml
from unmask.statistics import ci_text, mean
from unmask.terminal import say

SAMPLES = 256
ROWS_AT_ONCE = 32
NAMED = 5  # rows that cannot be used, named in a result
DECODE = (*RULES, "temperature", "top_p", "top_k")
VERSION = 1


@dataclass(frozen=True)
class GenerationOptions:
    """data: a prepared folder or JSON lines; "" the run's own. length, prompt: tokens; by default half the context and
    a quarter of it. decode: options of `generate`, as YAML without braces. limit: texts."""

    data: str = ""
    judge: str = SMOLLM2  # or a model folder, or "none"
    length: int | None = None
    prompt: int | None = None
    decode: str = ""
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("length", 1), ("prompt", 0), ("limit", 2)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UserError(f"--{name} is {value}; the task generation needs at least {least}")


@dataclass(frozen=True)
class Asked:
    """Prompts, and what really followed each (in the model's tokens and as text)."""

    prompts: list[list[int]]
    references: list[Sample]
    source: dict[str, Any]
    exposure: str  # what is known of whether the model was trained on them
    skipped: dict[str, list[str]] = field(default_factory=dict)  # reason: rows


def generation_task(model: Model, store: Store, options: GenerationOptions) -> dict[str, Any]:
    """The task's entry of a result of `unmask eval`: metrics, reference, protocol, and every text.

    Raises `UserError` for data, a judge or rules that cannot be used, and for a model that was trained on the data.
    """
    decode = read_decode(options.decode)
    if model.tokenizer is None:
        raise UserError(f"{model.path or 'the model'} has no tokenizer.json, and a judge reads text; add the file")
    judge = None if options.judge == "none" else open_judge(options.judge)
    length = options.length or model.config.block_size // 2
    asked = ask(model, options, length)
    texts = write(model, asked.prompts, length, decode, options.seed, store)
    samples = [
        Sample(reference.prompt, model.decode_behind(prompt, tokens) or "", tokens)
        for prompt, reference, (tokens, _) in zip(asked.prompts, asked.references, texts, strict=True)
    ]
    if judge is not None and not can_mauve():
        say(f"eval: generation: {MISSING}")
    readings = read(samples, judge)
    kept = [f"{len(rows)} {why} ({', '.join(rows[:NAMED])})" for why, rows in asked.skipped.items()]
    for line in kept:
        say(f"eval: generation: left out {line}")
    return {
        "task": "generation",
        "variant": "texts" if asked.source["kind"] == "jsonl" else "continuations",
        "split": asked.source["split"],
        "source": asked.source["name"],
        "n": len(samples),
        "metrics": {**numbers(samples, readings), **likeness(samples, asked.references, judge)},
        "reference": numbers(asked.references, read(asked.references, judge)),
        "nfe": sum(nfe for _, nfe in texts) / len(texts),
        "exposure": asked.exposure,
        "skipped": {why: {"count": len(rows), "rows": rows[:NAMED]} for why, rows in asked.skipped.items()},
        "protocol": {
            "task": "generation",
            "version": VERSION,
            "fewshot": 0,
            "items": request_key([[s.prompt, s.text] for s in asked.references]),
            "length": length,
            "judge": judge.to_dict() if judge else None,
            "estimator": {"method": "written", "draws": 1, "decode": decode, "defaults": dict(model.defaults)},
            **used({**model.defaults, **decode}),
            "guidance": float(decode.get("guidance", 0.0)),
            "seed": options.seed,
            "until_se": None,
            **noted(model.dtype),
        },
        "items": items(asked.prompts, samples, readings),
    }


def read_decode(text: str) -> dict[str, Any]:
    """`order: confidence, steps: 32` as options of `generate`. Raises `UserError` naming what is unknown."""
    rules = parse_yaml("{" + text + "}", "--decode")
    if not isinstance(rules, dict):
        raise UserError(f"--decode is {text!r}; give such as 'order: confidence, steps: 32'")
    for name in rules:
        if name not in DECODE:
            raise UserError(f"--decode: '{name}' is unknown{nearest(str(name), DECODE)}; known: {', '.join(DECODE)}")
    return rules


# ------------------------------------------------------------------ prompts and texts


def ask(model: Model, options: GenerationOptions, length: int) -> Asked:
    """Prompts of the data with the text that follows them. Raises `UserError` where there is none."""
    path = Path(options.data or own_data(model))
    if path.is_dir():
        data = TokenData(path, "validation")
        assert model.tokenizer is not None
        if data.tokenizer().hash != model.tokenizer.hash:
            raise UserError(f"{path} was prepared with another tokenizer than {model.path}'s; prepare it with that one")
        prompt = max(1, model.config.block_size // 4) if options.prompt is None else options.prompt
        if max(1, prompt) + length > model.config.block_size:
            held = f"the context of {model.config.block_size}"
            raise UserError(f"prompt {prompt} and length {length} exceed {held}; give a shorter --length or --prompt")
        pieces = held_out(data, options.limit or SAMPLES, prompt + length)
        references = [
            Sample(model.decode(p[:prompt]) or "", model.decode_behind(p[:prompt], p[prompt:]) or "", p[prompt:])
            for p in pieces
        ]
        source = {"kind": "folder", "name": data.manifest.fingerprint, "split": data.split}
        if data.manifest.splits in [Manifest.load(folder).splits for folder in data_folders(model)]:
            known = "held out of what it was trained on"
        else:
            known = refuse_read(model, pieces, [f"window {i} of {path}" for i in range(len(pieces))])
        return Asked([piece[:prompt] for piece in pieces], references, source, known)
    return from_lines(model, path, options.limit or SAMPLES, length)


def own_data(model: Model) -> str:
    """The data of the run that a model is of. Raises `UserError` where nothing tells."""
    for recipe in recipes_of(model.path)[:1]:
        data, held = recipe.get("data"), (recipe.get("sft") or {}).get("validation")
        if isinstance(data, str) and (held or Path(data).is_dir()):
            return str(held or data)
    raise UserError(f"{model.path or 'the model'} does not say what text it was trained on; give --data FOLDER")


def from_lines(model: Model, path: Path, count: int, length: int) -> Asked:
    """`prompt` and `completion` of JSON lines; rows that lack one or do not fit are counted and named."""
    prompts, references, names = [], [], []
    skipped: dict[str, list[str]] = {}
    digest = hashlib.sha256()
    for where, row in read_records(str(path), str(path)):
        prompt, answer = (row.get(name) if isinstance(row, dict) else None for name in ("prompt", "completion"))
        name = f"{path.name}{where}"
        if not isinstance(prompt, str) or not isinstance(answer, str) or not prompt or not answer.strip():
            skipped.setdefault("without the texts `prompt` and `completion`", []).append(name)
            continue
        ids = model.encode(prompt)
        if len(ids) + length > model.config.block_size:
            skipped.setdefault(f"whose prompt leaves no room for {length} tokens", []).append(name)
            continue
        prompts.append(ids)
        names.append(name)
        pieces = model.pieces()
        pieces.given(ids)
        references.append(Sample(prompt, answer, pieces.add(answer)[:length]))
        digest.update(f"{prompt}\0{answer}\0".encode("utf-8", "surrogatepass"))
        if len(prompts) == count:
            break
    if len(prompts) < 2:
        why = ", ".join(f"{len(rows)} {reason}" for reason, rows in skipped.items()) or "it is empty"
        raise UserError(f"{path} has no two rows to write for: {why}; give JSON lines with prompt and completion")
    refuse_tuned(model, [(sample.prompt, sample.text) for sample in references], names)
    known = refuse_read(model, [sample.tokens for sample in references], names)
    source = {"kind": "jsonl", "name": digest.hexdigest()[:16], "split": path.stem}
    return Asked(prompts, references, source, known, skipped)


def write(
    model: Model, prompts: Sequence[list[int]], length: int, decode: dict[str, Any], seed: int, store: Store
) -> list[tuple[list[int], int]]:
    """(tokens up to the end of sequence, passes) behind each prompt; row i draws from (seed, i)."""
    eos_ids, options = model.eos_ids, {"eos": "stop", **decode}
    rules = {**options, **used({**model.defaults, **options})}
    keys = [request_key("generation", prompt, length, rules, seed, i) for i, prompt in enumerate(prompts)]

    def texts(part: list[int]) -> Iterator[list[Any]]:
        seeds = [(seed, i) for i in part]
        for row in generate(model, [list(prompts[i]) for i in part], length, seed=seeds, trace=False, **options):
            yield [list(takewhile(lambda token: token not in eos_ids, row.tokens)), row.nfe]

    kept = answered(store, keys, texts, ROWS_AT_ONCE, ("generation", "texts"))
    return [(list(tokens), int(nfe)) for tokens, nfe in kept]


# ------------------------------------------------------------------ numbers


def read(samples: Sequence[Sample], judge: Judge | None) -> list[Reading] | None:
    """What the judge says of those that are not empty; None without one."""
    return None if judge is None else judge.read([(s.prompt, s.text) for s in wholes(samples)])


def numbers(samples: Sequence[Sample], readings: Sequence[Reading] | None) -> dict[str, Any]:
    """Metrics {name: {value, se, interval}} of texts: those of `measure`, self-BLEU, and the share that is empty."""
    metrics = measure(samples, None, readings if wholes(samples) else None)
    empty, n = metrics.pop("empty"), metrics.pop("samples")
    if len(written := wholes(samples)) > 1:
        metrics["self_bleu"] = self_bleu([list(sample.tokens) for sample in written]).to_dict()
    metrics["empty"] = mean([1.0] * empty + [0.0] * (n - empty)).to_dict()
    return {name: {key: value[key] for key in ("value", "se", "interval")} for name, value in metrics.items()}


def likeness(samples: Sequence[Sample], references: Sequence[Sample], judge: Judge | None) -> dict[str, Any]:
    """MAUVE of what was written against what really followed, where it can be had."""
    texts = [[sample.text for sample in wholes(some)] for some in (samples, references)]
    if judge is None or not can_mauve() or not all(texts):
        return {}
    estimate = mauve_score(*(features(judge, some) for some in texts))
    if estimate is None:
        return {}
    return {"mauve": {"value": estimate.value, "se": estimate.se, "interval": estimate.interval}}


def items(
    prompts: Sequence[Sequence[int]], samples: Sequence[Sample], readings: Sequence[Reading] | None
) -> list[dict[str, Any]]:
    """Every text, with the numbers that two results may be compared by; `perplexity` is its log-likelihood."""
    reading = iter(readings or ())
    rows = []
    for index, (prompt, sample) in enumerate(zip(prompts, samples, strict=True)):
        row = {"id": index, "hash": request_key(list(prompt))[:16], "answer": sample.text, "tokens": len(sample.tokens)}
        if sample.tokens and sample.text:
            row["entropy"] = entropy(sample.tokens)
            if readings is not None:
                nats, tokens, n_bytes = next(reading)
                row |= {"perplexity": -nats, "judge_tokens": tokens, "bytes": n_bytes}
        if len(sample.tokens) >= REPETITION_N:
            row["repetition"] = repetition(sample.tokens)
        rows.append(row)
    return rows


def in_words(name: str, task: dict[str, Any]) -> str:
    """A line a metric, with that of the true continuations beside it."""
    protocol = task["protocol"]
    judge = protocol["judge"]["name"] if protocol["judge"] else "no judge"
    rules = ", ".join(f"{key} {value}" for key, value in protocol["estimator"]["decode"].items()) or "default rules"
    lines = [f"{name}: {task['n']} texts of {protocol['length']} tokens, {rules}, {task['nfe']:.1f} passes, {judge}; "
             f"{task['exposure']}"]  # fmt: skip
    for metric, figure in task["metrics"].items():
        real = task["reference"].get(metric)
        beside = "" if real is None else f"  reference {real['value']:.4f}"
        lines.append(f"{name:<12} {metric:<14} {figure['value']:>10.4f}{ci_text(figure['interval'])}{beside}")
    return "\n".join(lines)
