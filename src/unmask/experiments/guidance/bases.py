"""The models that fine-tuning begins with: given or trained here, what they cost and come to, what they have read.

    bases = given_bases(settings)                          # {"base-mdm-0": folder, "base-arm-0": folder, ...}
    facts = facts_of(place, own, bases, pools)             # of each: loss on held-out text, tokens, FLOPs, hashes
    exposure = refuse_exposed(bases, pools, own)           # of each, in words

Kinds need not have had the same compute: the paper gave its masked models 16 times an autoregressive one's (arXiv
2410.18514). So a result says what each had and what came of it, on the same held-out text. A model that stands for
several seeds is read and asked once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unmask.data.options import PrepareOptions
from unmask.data.prepare import prepare
from unmask.errors import UserError
from unmask.evaluation.exposure import STRETCH, refuse_read
from unmask.evaluation.provenance import model_facts
from unmask.experiments.estimates import clustered
from unmask.experiments.frame import Settings
from unmask.experiments.guidance.items import Item, Pool, digest
from unmask.experiments.guidance.texts import Texts
from unmask.experiments.pretraining import pretraining
from unmask.experiments.speed.glosses import MADE
from unmask.experiments.workplace import Workplace, write_lines
from unmask.files import file_sha256
from unmask.likelihood import score
from unmask.model.folder import WEIGHTS, Model, load, resolve
from unmask.model.tokenizers import Tokenizer
from unmask.terminal import say

KINDS = ("mdm", "arm")
MEASURED = 300  # held-out texts on which a base's loss is measured


def given_bases(settings: Settings) -> dict[str, Path]:
    """{"base-mdm-0": folder, ...}: one of each kind, or one for each seed. Raises `UserError` for other numbers."""
    of_kind: dict[str, list[Path]] = {kind: [] for kind in KINDS}
    for name in settings.base:
        model = load(name)
        if model.tokenizer is None:
            raise UserError(f"--base {name} has no tokenizer.json, which texts need; add the file")
        assert model.path is not None
        of_kind[model.kind].append(model.path)
    for kind, paths in of_kind.items():
        if len(paths) not in (1, len(settings.seeds)):
            seeds = len(settings.seeds)
            raise UserError(f"--base names {len(paths)} of kind {kind}; give one, or one for each of {seeds} seeds")
    return {
        f"base-{kind}-{seed}": paths[number % len(paths)]
        for kind, paths in of_kind.items()
        for number, seed in enumerate(settings.seeds)
    }


def trained_bases(place: Workplace, own: Mapping[str, Any], texts: Texts) -> dict[str, Path]:
    """Bases of each kind and seed, trained on what is not held out, by a tokenizer of that."""
    data, lines = place.out / "data", place.out / "period.jsonl"
    if not lines.is_file():
        write_lines(lines, ({"text": text, "split": side} for text, side in texts.period()))
    prepare(PrepareOptions([str(lines)], data, f"bpe:{own['vocab']}", split="field:split", workers=1))
    recipes = {
        f"base-{kind}-{seed}": {**own["base"], **own[f"base_{kind}"], "data": str(data), "seed": seed}
        for kind in KINDS
        for seed in place.settings.seeds
    }
    return {name: resolve(path) for name, path in place.train(recipes).items()}


def one_tokenizer(bases: Mapping[str, Path]) -> Tokenizer:
    """That of all bases. Raises `UserError` where they have different ones."""
    shared: Tokenizer | None = None
    for name, path in bases.items():
        own = Tokenizer.from_file(path)
        if shared is not None and own.hash != shared.hash:
            raise UserError(f"{name} ({path}) has another tokenizer than the other bases; give models of one corpus")
        shared = own
    assert shared is not None, "there are bases"
    return shared


def running_text(item: Item, task: str, tokenizer: Tokenizer) -> list[int]:
    """An item's text as a base may have read it: with what follows, or the gloss without the form of the question."""
    if task == "headword":
        return item.prompt[: -len(tokenizer.encode(" ="))]
    return [*item.prompt, *item.answers[0]]


def refuse_exposed(bases: Mapping[str, Path], pools: Mapping[str, Pool], own: Mapping[str, Any]) -> dict[str, str]:
    """By base, what is known of its having read what is tested, in words. A made-up dictionary repeats itself and is
    not asked. Raises `UserError` for a base that has read it."""
    tokenizer = one_tokenizer(bases)
    known = {}
    for path in dict.fromkeys(bases.values()):
        parts = []
        for task, pool in pools.items():
            if task == "headword" and own["dictionary"] == MADE:
                continue
            items = [*pool.tune, *pool.test]
            texts = [running_text(item, task, tokenizer) for item in items]
            asked = sum(len(text) >= STRETCH for text in texts)
            words = refuse_read(load(path), texts, [item.cluster for item in items])
            parts.append(f"{task}: {words} ({asked:,} of {len(texts):,} items, those of {STRETCH} tokens or more)")
        known[path] = "; ".join(parts)
    return {name: known[path] for name, path in bases.items()}


# ---------------------------------------------------------------------- what a base cost, and what came of it


def facts_of(
    place: Workplace, own: Mapping[str, Any], bases: Mapping[str, Path], pools: Mapping[str, Pool]
) -> dict[str, dict[str, Any]]:
    """Of each base: name, hashes, tokens and FLOPs of its training, and its loss on held-out text."""
    known = {}
    for path in dict.fromkeys(bases.values()):
        model, took = load(path, place.settings.device), pretraining(path)
        loss, spent = held_out_loss(place, own, model, pools), {"tokens": took.tokens, "flops": took.flops}
        known[path] = {"name": (took.run or path).name, **model_facts(model), **spent, **loss}
    return {name: known[path] for name, path in bases.items()}


def held_out_loss(
    place: Workplace, own: Mapping[str, Any], model: Model, pools: Mapping[str, Pool]
) -> dict[str, dict[str, Any]]:
    """Bits per byte and nats per token of tested texts, each by itself; a bound for a masked model."""
    task = next((task for task in ("continuation", "headword") if task in pools), None)
    assert task is not None and model.tokenizer is not None and model.path is not None, "checked"
    every = max(1, len(pools[task].test) // MEASURED)
    items, most = pools[task].test[::every][:MEASURED], model.config.block_size - 1
    texts = [running_text(item, task, model.tokenizer)[:most] for item in items]

    def measure() -> list[list[float]]:
        say(f"guidance: the loss of a base ({model.kind}) on {len(texts)} held-out texts")
        scored = score(model, [((), text) for text in texts], draws=own["draws"])
        return [[-one.logprob, one.n_tokens, one.n_bytes or 0] for one in scored]

    weights = file_sha256(model.path / WEIGHTS)
    rows = place.kept(f"held-out-{weights[:12]}", measure, weights=weights, items=digest(items))
    nats_N, tokens_N, bytes_N = (list(column) for column in zip(*rows, strict=True))
    clusters = [item.cluster for item in items]

    def rate(size_N: list[float], unit: float) -> dict[str, Any]:
        return clustered([n / unit / max(1, s) for n, s in zip(nats_N, size_N, strict=True)], clusters, weights=size_N)

    return {"bits_per_byte": rate(bytes_N, math.log(2)), "nats_per_token": rate(tokens_N, 1.0)}
