"""How often the likeliest token is the right one, where a single token is hidden.

    cloze({"mdm": mdm, "arm": arm}, unigram, windows_NT, seed=0)["mdm"]["accuracy"]

The masked model sees both sides of the gap, the autoregressive one only what stands before it, the unigram nothing: the
plainest picture of what bidirectional context is worth. Windows stand behind a clean end-of-sequence token, as in
`unmask.evaluation.compare`; every model is asked about the same places, drawn by the seed.

Shapes: N windows, T tokens, P places in a window.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from unmask.errors import UserError
from unmask.evaluation.baselines import Unigram
from unmask.model.backbone import predictions
from unmask.model.folder import Model
from unmask.statistics import of_share

PLACES, BATCH = 4, 256


def cloze(
    models: Mapping[str, Model], unigram: Unigram, windows_NT: np.ndarray, seed: int = 0, places: int = PLACES
) -> dict[str, Any]:
    """For each model and the unigram {accuracy, se, interval}; the error is the binomial one of these places, the
    interval Wilson's. JSON values."""
    count, length = windows_NT.shape
    generator = np.random.default_rng(seed)
    places_NP = np.stack([generator.choice(length, size=min(places, length), replace=False) for _ in range(count)])
    truth_NP = np.take_along_axis(windows_NT, places_NP, axis=1)
    guesses = {name: guess(model, windows_NT, places_NP) for name, model in models.items()}
    guesses["unigram"] = np.full_like(truth_NP, unigram.nats_V.argmin())
    result: dict[str, Any] = {"places": int(truth_NP.size), "seed": seed}
    for name, guess_NP in guesses.items():
        accuracy = float((guess_NP == truth_NP).mean())
        se = math.sqrt(accuracy * (1 - accuracy) / truth_NP.size)
        result[name] = {"accuracy": accuracy, "se": se, "interval": of_share(accuracy, truth_NP.size)}
    return result


@torch.inference_mode()
def guess(model: Model, windows_NT: np.ndarray, places_NP: np.ndarray) -> np.ndarray:
    """[N, P]: the likeliest token at each place, the other places of its window being visible (or before it)."""
    if model.start_id is None:
        raise UserError(f"{model.path or 'the model'} has no eos_id to put before a window")
    count, per_window = places_NP.shape
    tokens_MT = np.insert(windows_NT, 0, model.start_id, axis=1).repeat(per_window, axis=0)
    at_M = places_NP.reshape(-1) + 1
    rows_M = np.arange(len(at_M))
    if model.kind == "mdm":
        tokens_MT[rows_M, at_M] = model.mask_id
    tokens_MT = tokens_MT[:, : model.config.alignment.fed(tokens_MT.shape[1])]
    guesses = []
    for start in range(0, len(at_M), BATCH):
        rows = slice(start, start + BATCH)
        tokens_BT, at_B = (torch.from_numpy(x[rows]).to(model.device) for x in (tokens_MT, at_M))
        hidden_BE = model.network.hidden(tokens_BT, at=(torch.arange(len(at_B), device=model.device), at_B))
        guesses.append(predictions(model.network, hidden_BE).argmax(-1).cpu().numpy())
    return np.concatenate(guesses).reshape(count, per_window)
