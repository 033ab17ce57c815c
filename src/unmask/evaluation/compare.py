"""An MDM, an ARM and the baselines on the same held-out tokens, by one protocol.

    result = compare({"mdm": load("runs/demo/mdm"), "arm": load("runs/demo/arm")}, "runs/demo/data")
    result["mdm"]["bits_per_byte"], result["mdm"]["bits_per_byte_interval"], result["unigram"]["bits_per_byte"]

Windows of one token less than the context are spread evenly over the validation split; a clean end-of-sequence token
precedes each and is not scored. The MDM's number is the Monte Carlo estimate of an upper bound on its negative
log-likelihood (arXiv 2410.18514) with that estimate's standard error and 95% interval; the ARM's is exact. Bits per
byte divide by the exact UTF-8 bytes of the scored tokens (an end of sequence among them costs nats and is no byte).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unmask.data.shards import TokenData
from unmask.errors import UserError
from unmask.evaluation.baselines import Unigram, xz
from unmask.evaluation.cloze import cloze
from unmask.likelihood import corpus_bound
from unmask.model.folder import Model
from unmask.model.placement import dtype_name, noted
from unmask.model.tokenizers import Tokenizer
from unmask.training.metrics import read_records
from unmask.training.run_folder import read_settings
from unmask.training.validation import validation_windows

WINDOWS, DRAWS, SEED = 256, 8, 1234


@dataclass(frozen=True)
class HeldOut:
    """The tokens every model is asked about."""

    windows_NT: np.ndarray
    n_bytes: int

    @classmethod
    def of(cls, data: TokenData, tokenizer: Tokenizer, context: int, windows: int) -> HeldOut:
        windows_NT = validation_windows(data, context, windows)
        n_bytes = tokenizer.n_bytes(windows_NT)
        if not n_bytes:
            raise UserError(f"the held-out windows of {data.folder} hold no text; hold out more documents")
        return cls(windows_NT, n_bytes)

    @property
    def n_tokens(self) -> int:
        return int(self.windows_NT.size)

    def bits_per_byte(self, nats_per_token: float) -> float:
        return nats_per_token * self.n_tokens / math.log(2) / self.n_bytes


def compare(
    models: Mapping[str, Model], data: str | Path, windows: int = WINDOWS, draws: int = DRAWS, seed: int = SEED
) -> dict[str, Any]:
    """One entry per model, `unigram`, `xz`, `cloze`, and the `protocol` that all of them share (JSON values)."""
    held_out_data = TokenData(data, "validation")
    tokenizer = held_out_data.tokenizer()
    contexts = set()
    if len(dtypes := {dtype_name(model.dtype) for model in models.values()}) > 1:
        raise UserError(f"the models are of several types, {', '.join(sorted(dtypes))}; load all of them in one")
    for name, model in models.items():
        if model.tokenizer is None or model.tokenizer.hash != tokenizer.hash:
            raise UserError(
                f"{model.path or name} was not trained with the tokenizer of {data}; compare on its own data"
            )
        contexts.add(model.config.block_size)
    held_out = HeldOut.of(held_out_data, tokenizer, min(contexts), windows)
    result: dict[str, Any] = {name: score_model(model, held_out, draws, seed) for name, model in models.items()}
    unigram = Unigram.of(TokenData(data, "train"))
    result["unigram"] = numbers(float(unigram.nats(held_out.windows_NT).sum()) / held_out.n_tokens, held_out)
    compressed = xz(held_out_data)
    result["xz"] = {
        "bits_per_byte": compressed.bits_per_byte,
        "bytes": compressed.n_bytes,
        "compressed_bytes": compressed.n_compressed,
        "of": "the whole validation split, xz preset 9 extreme",
    }
    result["cloze"] = cloze(models, unigram, held_out.windows_NT, seed)
    types = [model.dtype for model in models.values()]
    result["protocol"] = protocol(held_out, tokenizer, min(contexts), draws, seed, types[0] if types else torch.float32)
    return result


def score_model(model: Model, held_out: HeldOut, draws: int, seed: int) -> dict[str, Any]:
    """Bound or likelihood of one model, with what identifies the model."""
    bound = corpus_bound(model, held_out.windows_NT, draws=draws, seed=seed)
    assert bound.se is not None, "two draws or more have a standard error"
    result: dict[str, Any] = {
        "kind": model.kind,
        "is_bound": model.kind == "mdm",
        "method": bound.method,
        **numbers(bound.nats_per_token, held_out),
        "nats_per_token_se": bound.se,
        "bits_per_byte_se": held_out.bits_per_byte(bound.se),
        "nats_per_token_interval": bound.interval,
        "bits_per_byte_interval": bound.bits_per_byte_interval(held_out.n_bytes),
        "parameters": model.config.n_params,
        "parameters_non_embedding": model.config.n_params_non_embedding,
        "config_hash": digest(model.config.to_dict()),
    }
    if bound.ce_by_level is not None:
        result["loss_by_mask_share"] = [None if x is None else float(x) for x in bound.ce_by_level]
    return result


def numbers(nats_per_token: float, held_out: HeldOut) -> dict[str, float]:
    return {"bits_per_byte": held_out.bits_per_byte(nats_per_token), "nats_per_token": nats_per_token}


def protocol(
    held_out: HeldOut, tokenizer: Tokenizer, context: int, draws: int, seed: int, dtype: torch.dtype = torch.float32
) -> dict[str, Any]:
    """What two numbers must share to be compared; `hash` covers all of it."""
    fields: dict[str, Any] = {
        "estimator": {
            "mdm": "mean over draws of (T/c) * cross-entropy of c masked tokens, c stratified on 1..T: an upper bound",
            "arm": "exact sum of next-token log-probabilities",
        },
        "draws": draws,
        "seed": seed,
        "windows": len(held_out.windows_NT),
        "window_tokens": int(held_out.windows_NT.shape[1]),
        "before_each_window": "one clean end-of-sequence token, not scored",
        "context": context,
        "tokens": held_out.n_tokens,
        "bytes": held_out.n_bytes,
        "windows_sha256": hashlib.sha256(np.ascontiguousarray(held_out.windows_NT, dtype="<i8").tobytes()).hexdigest(),
        "tokenizer_hash": tokenizer.hash,
        **noted(dtype),
    }
    return {**fields, "hash": digest(fields)}


def digest(fields: Mapping[str, Any]) -> str:
    """SHA-256 of JSON values, whatever the order of keys."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def training_curve(run: str | Path, data: str | Path) -> list[dict[str, Any]]:
    """The validations of a run from its metrics.jsonl, each with step, flops, seconds, bits_per_byte and its
    bits_per_byte_se and bits_per_byte_interval (None of a run that did not keep it)."""
    run = Path(run)
    recipe = read_settings(run)
    held_out_data = TokenData(data, "validation")
    held_out = HeldOut.of(held_out_data, held_out_data.tokenizer(), recipe["context"], recipe["validation"]["windows"])
    curve = []
    for record in read_records(run):
        if record["kind"] == "validation":
            point = {name: record[name] for name in ("step", "flops", "seconds")}
            point["bits_per_byte"] = held_out.bits_per_byte(record["loss"])
            point["bits_per_byte_se"] = held_out.bits_per_byte(record["se"])
            within = record.get("interval")
            point["bits_per_byte_interval"] = within and [held_out.bits_per_byte(nats) for nats in within]
            curve.append(point)
    return curve
