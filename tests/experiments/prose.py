"""Documents of words drawn at random: no stretch of one stands in another."""

from __future__ import annotations

import random


def documents(count: int, words: int = 150, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    known = ["".join(rng.choices("aeioulmnrst", k=rng.randint(2, 6))) for _ in range(400)]
    return [" ".join(rng.choices(known, k=words)) + "." for _ in range(count)]
