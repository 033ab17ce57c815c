"""Which settings of a decoding benchmark are worth having: the front of speed and quality, and equals in quality.

    front(points(cell, batch="1"), entropy=3.4)       # names

Quality is the judge's bits per byte of text: the logarithm of its perplexity, spread over bytes, whose errors are far
smaller than those of the perplexity itself. It can be had cheaply by repeating oneself, so a setting whose tokens have
clearly less entropy than real text of the same length (`SLACK` nats) is marked as flattered, and takes no part in the
front or in a choice.
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
    bits: float | None  # per byte; None without a judge
    se: float
    entropy: float
    interval: Sequence[float] | None = None  # 95%, of `bits`

    def flattered(self, entropy: float) -> bool:
        """Its tokens have clearly less entropy than those of real text."""
        return self.entropy < entropy - SLACK

    def not_worse(self, other: Point) -> bool:
        """Its bits lie below the other's, or above by no more than what the errors explain."""
        if self.bits is None or other.bits is None:
            return False
        return self.bits - other.bits <= EQUAL_SE * math.hypot(self.se, other.se)


def points(cell: dict[str, Any], batch: str) -> list[Point]:
    """The settings of a cell that wrote something and were timed at this batch."""
    measured = []
    for row in cell["rows"]:
        if batch in row["speed"] and "entropy" in row["quality"]:
            bits = row["quality"].get("bits_per_byte", {"value": None, "se": math.nan})
            speed = row["speed"][batch]["tokens_per_second"]["median"]
            entropy = row["quality"]["entropy"]["value"]
            within = bits.get("interval")
            measured.append(Point(row["setting"], row["kind"], speed, bits["value"], bits["se"], entropy, within))
    return measured


def front(measured: Iterable[Point], entropy: float | None) -> set[str]:
    """Names of the settings that no other one beats in speed and quality at once.

    entropy: of real text, under which a setting is left out as flattered; None lets entropy fall.
    """
    best, names = math.inf, set()
    judged = [(point, point.bits) for point in measured if point.bits is not None]
    honest = [(point, bits) for point, bits in judged if entropy is None or not point.flattered(entropy)]
    for point, bits in sorted(honest, key=lambda pair: (-pair[0].speed, pair[1])):
        if bits < best:
            best = bits
            names.add(point.name)
    return names


def equals(measured: Sequence[Point], baseline: Point, entropy: float | None) -> list[Point]:
    """Masked-model settings whose quality is not worse than the baseline's, the fastest first; `entropy` as above."""
    good = [p for p in measured if p.kind == "mdm" and p.not_worse(baseline)]
    return sorted((p for p in good if entropy is None or not p.flattered(entropy)), key=lambda p: -p.speed)
