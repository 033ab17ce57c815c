"""The score of a finished run: its final weights on the sweep's tokens with the sweep's draws.

    score(Path("sweep/runs/arm-96x3-1.6e13-s0"), "data/sweep", 128, steps, scoring, Path("sweep/unigram.json"))

Every run of a sweep is scored on the same windows, spread evenly over the validation split, each behind a clean
end-of-sequence token, with the same masks (common random numbers) and in fp32 whatever it was trained in; a masked
model by the bound with fixed-count masks stratified over windows and draws, an autoregressive one exactly. The final
weights then lie in the run's folder, which is a model folder from then on.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from unmask.data.shards import TokenData
from unmask.errors import UserError
from unmask.files import write_whole
from unmask.likelihood import corpus_bound
from unmask.model.checkpoints import newest_checkpoint, step_of
from unmask.model.folder import CONFIG, TOKENIZER, WEIGHTS, load
from unmask.scaling.by_source import by_source
from unmask.scaling.machine import machine
from unmask.scaling.plateau import learned_at, unigram_entropy
from unmask.training.metrics import read_records
from unmask.training.validation import validation_windows, window_starts


def score(
    folder: Path,
    data: str,
    context: int,
    steps: int,
    scoring: dict[str, int],
    entropy_file: Path,
    device: str = "cpu",
) -> dict[str, Any]:
    """What the sweep's row has of a finished run; puts its final weights into its folder.

    entropy_file: where the unigram's entropy is kept.
    """
    began = time.monotonic()
    weights = final_weights(folder, steps)
    held_out = TokenData(data, "validation")
    windows_NT = validation_windows(held_out, context, scoring["sequences"])
    starts_N = window_starts(held_out, context, scoring["sequences"])
    model = load(weights, device)
    bound = corpus_bound(model, windows_NT, draws=scoring["draws"], seed=scoring["seed"])
    entropy = known_entropy(entropy_file, data)
    for name in (WEIGHTS, TOKENIZER, CONFIG):  # the last one makes it a model folder
        if (weights / name).is_file() and weights != folder:
            shutil.copyfile(weights / name, folder / f".{name}.partial")
            os.replace(folder / f".{name}.partial", folder / name)
    return {
        "loss": bound.nats_per_token,
        "se": bound.se,
        "plateau": learned_at(read_records(folder), entropy),
        "unigram": entropy,
        "method": bound.method,
        "is_bound": bound.is_bound,
        "sources": by_source(data, starts_N, bound.token_nats_NT),
        "protocol": protocol(windows_NT, scoring),
        "machine": machine(),
        "scoring_seconds": round(time.monotonic() - began, 1),
    }


def final_weights(folder: Path, steps: int) -> Path:
    """The checkpoint of the last step, or the folder itself where that was put there before. Never an earlier one."""
    newest = newest_checkpoint(folder, full=True)
    if newest is not None and step_of(newest.name) == steps:
        return newest
    if newest is None and (folder / CONFIG).is_file():
        return folder
    raise UserError(f"{folder} has no whole checkpoint of its last step, {steps}; train it again with --retry")


def protocol(windows_NT: np.ndarray, scoring: dict[str, int]) -> dict[str, Any]:
    """What two losses must share to be compared."""
    tokens = hashlib.sha256(np.ascontiguousarray(windows_NT.astype("<i8")).tobytes()).hexdigest()[:16]
    sizes = {"sequences": windows_NT.shape[0], "tokens": int(windows_NT.size)}
    return {"windows": tokens, **sizes, "draws": scoring["draws"], "seed": scoring["seed"], "type": "fp32"}


def known_entropy(cache: Path, data: str) -> float:
    """The unigram's entropy over the training tokens, counted once a sweep."""
    if cache.is_file():
        return float(json.loads(cache.read_text(encoding="utf-8"))["nats"])
    nats = unigram_entropy(TokenData(data, "train"))
    write_whole(cache, json.dumps({"nats": nats}) + "\n")
    return nats
