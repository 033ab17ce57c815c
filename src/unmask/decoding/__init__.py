"""Decoding: one loop over a canvas (score, propose, select, revise), order rules, guidance, the autoregressive twin."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from unmask.lazy import lazily

if TYPE_CHECKING:
    from unmask.decoding.generate import generate
    from unmask.decoding.generation import Generation
    from unmask.decoding.rules.orders import ORDERS
    from unmask.decoding.rules.quotas import QUOTAS
    from unmask.decoding.show.page import write_html
    from unmask.decoding.show.trace import load_trace, save_trace
    from unmask.decoding.show.watch import Watcher
    from unmask.model.folder import Model

__all__ = [
    "ORDERS",
    "QUOTAS",
    "Generation",
    "Watcher",
    "generate",
    "infill",
    "load_trace",
    "save_trace",
    "write_html",
]


def infill(
    model: Model, texts: Any, steps: int | None = None, gap: int | None = None, **options: Any
) -> list[Generation]:
    """`unmask.infill` under its old name, for one release."""
    from unmask.decoding.generate import infill as fill_gaps

    moved = "unmask.decoding.infill is now unmask.infill; this name goes in the next release"
    warnings.warn(moved, DeprecationWarning, stacklevel=2)
    more = {} if gap is None else {"gap": gap}
    return fill_gaps(model, texts, steps=steps, **more, **options)


lazily(
    __name__,
    {
        "generate": "unmask.decoding.generate",
        "Generation": "unmask.decoding.generation",
        "ORDERS": "unmask.decoding.rules.orders",
        "QUOTAS": "unmask.decoding.rules.quotas",
        "Watcher": "unmask.decoding.show.watch",
        "write_html": "unmask.decoding.show.page",
        **dict.fromkeys(("load_trace", "save_trace"), "unmask.decoding.show.trace"),
    },
)
