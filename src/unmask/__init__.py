"""Masked diffusion language models: train, scale, evaluate, sample; autoregressive twins on equal terms.

model = unmask.load("runs/demo/mdm")
unmask.generate(model, ["The state of the Union"], length=64, steps=32, order="confidence")
unmask.infill(model, ["The ____ of the Union"], gap=2)
unmask.score(model, [("My fellow", " Americans")])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unmask._version import __version__
from unmask.errors import UserError
from unmask.lazy import lazily

if TYPE_CHECKING:
    from unmask.decoding import Generation, generate
    from unmask.decoding.generate import infill
    from unmask.decoding.rules.plugins import plugin
    from unmask.likelihood import Greedy, RollingScore, Score, greedy, rolling, score
    from unmask.model.config import ModelConfig
    from unmask.model.folder import Model, load
    from unmask.model.transformer import Transformer

# Resolved on first use: importing `unmask` must not cost importing torch.
_HOMES = {
    "Generation": "unmask.decoding",
    "Greedy": "unmask.likelihood",
    "Model": "unmask.model.folder",
    "ModelConfig": "unmask.model.config",
    "RollingScore": "unmask.likelihood",
    "Score": "unmask.likelihood",
    "Transformer": "unmask.model.transformer",
    "generate": "unmask.decoding",
    "greedy": "unmask.likelihood",
    "infill": "unmask.decoding.generate",
    "load": "unmask.model.folder",
    "plugin": "unmask.decoding.rules.plugins",
    "rolling": "unmask.likelihood",
    "score": "unmask.likelihood",
}

__all__ = [
    "Generation",
    "Greedy",
    "Model",
    "ModelConfig",
    "RollingScore",
    "Score",
    "Transformer",
    "UserError",
    "__version__",
    "generate",
    "greedy",
    "infill",
    "load",
    "plugin",
    "rolling",
    "score",
]


lazily(__name__, _HOMES)
