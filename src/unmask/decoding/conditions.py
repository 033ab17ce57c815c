"""From a row's request to its limits and endings.

limits = make_limits(model, canvas, requests, eos_id, gapped=False)
endings = make_endings(model, canvas, requests, eos_id)
"""

from __future__ import annotations

from collections.abc import Sequence

from unmask.decoding.canvas import Canvas
from unmask.decoding.endings import Endings
from unmask.decoding.limits import Limits
from unmask.decoding.request import Request
from unmask.model.folder import Model


def make_limits(model: Model, canvas: Canvas, requests: Sequence[Request], eos_id: int | None, gapped: bool) -> Limits:
    """Banned and forced tokens, patterns and choices of every row; forced tokens are written. Raises `UserError`."""
    limits = Limits(canvas, model.config.vocab_size)
    for row, request in enumerate(requests):
        if request.eos == "suppress" and eos_id is not None:
            limits.ban(row, [eos_id])
    return limits


def make_endings(model: Model, canvas: Canvas, requests: Sequence[Request], eos_id: int | None) -> Endings:
    return Endings(canvas, requests, eos_id)
