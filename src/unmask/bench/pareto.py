"""Which settings of a decoding benchmark are worth having: the front of speed and quality, and equals in quality.

    front([Point("a", 100, 20.0, 1.0, 3.3), ...], entropy=3.4)       # {"a", ...}

Perplexity can be had cheaply by repeating oneself. A setting whose tokens have clearly less entropy than real text of
the same length (`SLACK` nats) is therefore marked as flattered, and takes no part in the front or in a choice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

SLACK = 0.15  # nats
EQUAL_SE = 2.0  # standard errors of a difference that count as none


@dataclass(frozen=True)
class Point:
    """A setting at one batch size."""

    name: str
    kind: str
    speed: float  # useful tokens/s, median
    perplexity: float | None
    se: float
    entropy: float

    def flattered(self, entropy: float) -> bool:
        """Its tokens have clearly less entropy than those of real text."""
        return self.entropy < entropy - SLACK

    def not_worse(self, other: Point) -> bool:
        """Its perplexity lies below the other's, or above by no more than what the errors explain."""
        if self.perplexity is None or other.perplexity is None:
            return False
        return self.perplexity - other.perplexity <= EQUAL_SE * math.hypot(self.se, other.se)


def points(cell: dict[str, Any], batch: str) -> list[Point]:
    """The settings of a cell that wrote something and were timed at this batch."""
    found = []
    for row in cell["rows"]:
        if batch in row["speed"] and "entropy" in row["quality"]:
            perplexity = row["quality"].get("perplexity", {"value": None, "se": math.nan})
            speed = row["speed"][batch]["tokens_per_second"]["median"]
            entropy = row["quality"]["entropy"]["value"]
            found.append(Point(row["setting"], row["kind"], speed, perplexity["value"], perplexity["se"], entropy))
    return found


def front(found: Iterable[Point], entropy: float) -> set[str]:
    """Names of the settings that no other one beats in speed and perplexity at once, flattered ones left out."""
    best, names = math.inf, set()
    honest = (p for p in found if p.perplexity is not None and not p.flattered(entropy))
    for point in sorted(honest, key=lambda p: (-p.speed, p.perplexity)):
        assert point.perplexity is not None
        if point.perplexity < best:
            best = point.perplexity
            names.add(point.name)
    return names


def equals(found: Sequence[Point], baseline: Point, entropy: float) -> list[Point]:
    """Masked-model settings whose perplexity is not worse than the baseline's, the fastest first."""
    good = [p for p in found if p.kind == "mdm" and not p.flattered(entropy) and p.not_worse(baseline)]
    return sorted(good, key=lambda p: -p.speed)
