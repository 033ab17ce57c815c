"""MAUVE of generated against real text (Pillutla et al., arXiv 2102.01454), where its package is installed.

    pip install 'unmask[mauve]'
    mauve_score(features(judge, written), features(judge, real))    # an Estimate; None without the package

Both sets of texts become the judge's last hidden states, these clusters, and the two histograms a number in (0, 1]: 1
where they cannot be told apart. The authors' code does it; ours are the features. It depends on the judge and on the
number of texts (the authors take thousands): compare values of one table only. The error is the jackknife's.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Sequence

import numpy as np
import torch

from unmask.evaluation.judge import Judge
from unmask.evaluation.self_bleu import jackknife_error
from unmask.statistics import Estimate

GROUPS = 10
LEAST = 4 * GROUPS  # texts, below which clusters mean nothing
MISSING = "no MAUVE: it needs the package mauve-text (pip install 'unmask[mauve]')"


def can_mauve() -> bool:
    return importlib.util.find_spec("mauve") is not None


@torch.inference_mode()
def features(judge: Judge, texts: Sequence[str]) -> np.ndarray:
    """float32 [n, width]: the judge's hidden state behind each text's last token; of a long text its end counts."""
    model = judge.model
    states = []
    for text in texts:
        ids = model.encode(text) or ([model.start_id] if model.start_id is not None else [0])
        tokens_BT = torch.tensor([ids[-model.config.block_size :]], device=model.device)
        states.append(model.network.hidden(tokens_BT)[0, -1].float().cpu().numpy())
    return np.stack(states)


def mauve_score(written: np.ndarray, real: np.ndarray) -> Estimate | None:
    """None where the package is missing, or there are fewer than `LEAST` texts on a side."""
    if not can_mauve() or min(len(written), len(real)) < LEAST:
        return None
    value = _compute(written, real)
    left_out = []
    for group in range(GROUPS):
        kept = [side[np.arange(len(side)) % GROUPS != group] for side in (written, real)]
        left_out.append(_compute(*kept))
    return Estimate(value, jackknife_error(left_out), GROUPS) if math.isfinite(value) else None


def _compute(written: np.ndarray, real: np.ndarray) -> float:
    theirs = importlib.import_module("mauve")
    return float(theirs.compute_mauve(p_features=real, q_features=written, verbose=False, device_id=-1, seed=25).mauve)
