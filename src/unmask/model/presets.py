"""The paper's 30 model sizes by name, and its training-step rule.

    preset("170M", vocab_size=32000, causal=False)      # the paper's "220M"
    training_steps(60e18, n_params=169.897728e6, batch=256, mean_length=2038.265)

Source: arXiv 2410.18514, appendix on model configurations, and its public code for the step rule. A name is the
count of non-embedding parameters in millions; the objective ("mdm" or "arm") is a field of its own.
"""

from __future__ import annotations

from typing import Any

from unmask.errors import UserError, nearest
from unmask.model.config import ModelConfig

# name: (layers, heads, width, feed-forward width)
PRESETS: dict[str, tuple[int, int, int, int]] = {
    f"{name}M": (layers, heads, width, ff or 4 * width)
    for name, layers, heads, width, ff in [
        (6, 6, 4, 256, 0),
        (19, 8, 6, 384, 0),
        (34, 8, 8, 512, 0),
        (48, 9, 9, 576, 0),
        (66, 10, 10, 640, 0),
        (75, 16, 8, 640, 1600),
        (85, 13, 10, 640, 0),
        (113, 12, 12, 768, 0),
        (142, 15, 12, 768, 0),
        (170, 18, 12, 768, 0),
        (180, 14, 14, 896, 0),
        (206, 16, 14, 896, 0),
        (231, 18, 14, 896, 0),
        (268, 16, 16, 1024, 0),
        (302, 18, 16, 1024, 0),
        (336, 20, 16, 1024, 0),
        (472, 18, 10, 1280, 0),
        (551, 21, 10, 1280, 0),
        (571, 18, 11, 1408, 0),
        (629, 24, 10, 1280, 0),
        (666, 21, 11, 1408, 0),
        (717, 19, 12, 1536, 0),
        (761, 24, 11, 1408, 0),
        (831, 22, 12, 1536, 0),
        (944, 25, 12, 1536, 0),
        (1028, 20, 14, 1792, 0),
        (1233, 24, 14, 1792, 0),
        (1476, 22, 16, 2048, 0),
        (1678, 25, 16, 2048, 0),
        (2121, 28, 17, 2176, 0),
    ]
}


def preset(name: str, *, vocab_size: int = 32000, causal: bool = False, **fields: Any) -> ModelConfig:
    """The `ModelConfig` of a named size; `fields` override or add. Raises `UserError` for an unknown name."""
    if name not in PRESETS:
        raise UserError(f"model.size '{name}' is not a preset{nearest(name, PRESETS)}; presets: {', '.join(PRESETS)}")
    layers, heads, width, ff = PRESETS[name]
    shape = {"n_layer": layers, "n_head": heads, "n_embd": width, "intermediate_size": ff}
    return ModelConfig.from_dict({**shape, "vocab_size": vocab_size, "causal": causal, **fields})


def mean_length(context: int, random_length_share: float) -> float:
    """Expected tokens per sequence when a share of sequences is cut to a length uniform on 1..context."""
    return context * (1 - random_length_share) + (context + 1) / 2 * random_length_share


def training_steps(flops: float, n_params: float, batch: int, mean_length: float = 2048.0) -> int:
    """Steps that spend `flops` by the 6ND rule: D = steps * batch * mean_length tokens (floor, at least 1)."""
    return max(1, int(flops / (6.0 * n_params * batch * mean_length)))


def warmup_steps(steps: int, minimum: int = 100) -> int:
    """The paper's warm-up: 1% of the steps, at least `minimum`."""
    return max(minimum, int(steps * 0.01))
