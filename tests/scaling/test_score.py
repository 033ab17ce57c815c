"""D0 of made-up curves, losses by source, entropies by hand."""

from __future__ import annotations

