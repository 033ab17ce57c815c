"""What a way to estimate a likelihood is: the queries that it asks, or, where it runs the model itself, its nats.

    METHOD = MyMethod()                    # in likelihood/methods/my_method.py; see there

With L tokens to score, `target` says which number is meant: ``nelbo`` (the mean over all orders of revealing a token at
a time of that order's -log p), ``order-mixture`` (-log of the mean over orders of that order's p), or ``chain`` (-log p
of one order: exact for the decoder that follows it, neither a bound on the others nor an estimate of them).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from unmask.likelihood.pairs import Pair
from unmask.likelihood.queries import Query
from unmask.model.folder import Model

FIRST = "left-to-right"


class Method:
    """A method that draws nothing and bounds the likelihood, unless it says otherwise."""

    orders: ClassVar[Sequence[str]] = (FIRST,)  # that it can follow
    usual: ClassVar[int] = 0  # draws, where it is not told how many; 0: it draws nothing
    masks: ClassVar[bool] = False  # draws are masks, not orders
    decodes: ClassVar[bool] = False  # it replays a decoder, whose rules it takes, and has `run` instead of `queries`

    def sampled(self, order: str) -> bool:
        return self.usual > 0

    def target(self, order: str) -> str:
        return "nelbo"

    def enough(self, length: int, draws: int) -> str | None:
        """The method that costs no more than so many draws of this one and has no error, where there is one."""
        return None

    def stride(self, length: int, draws: int) -> int:
        """Tokens from one pass to the next along an order."""
        return 1

    def groups(self, length: int, draws: int) -> list[int]:
        """Sizes of the independent groups of so many draws: an order is a group of its own."""
        return [1] * draws

    def queries(self, whole: Query, order: str, seed: int, key: int, drawn: Drawing) -> Iterator[Query]:
        """Parts of a text that is asked for as a whole."""
        raise NotImplementedError

    def estimate(self, nats: np.ndarray, sizes: list[int]) -> tuple[float, float]:
        """Nats and their standard error, from those of every draw and the sizes of the independent groups."""
        return combine(nats, sizes)

    def check(self, order: str, decode: Mapping[str, Any]) -> dict[str, Any]:
        """The decoder's options, before anything is run; for a method that `decodes`. Raises `UserError`."""
        raise NotImplementedError

    def run(
        self, model: Model, pairs: Sequence[Pair], decode: Mapping[str, Any], guidance: float, batch_tokens: int | None
    ) -> Iterator[tuple[int, float]]:
        """Each pair's number and nats, in any order; for a method that `decodes`."""
        raise NotImplementedError


@dataclass(frozen=True)
class Drawing:
    """Which draws: groups of these sizes, numbered from `first_group`, their draws from `first_draw`, so that more can
    be added; and the stride of each."""

    sizes: list[int] = field(default_factory=list)
    stride: int = 1
    draws: int = 0  # that the estimator has in all, or is told
    first_group: int = 0
    first_draw: int = 0


def combine(values: np.ndarray, sizes: list[int]) -> tuple[float, float]:
    """Mean of all draws and its standard error from the spread of the groups' means (0.0 for a single group)."""
    mean = float(values.mean())
    if len(sizes) < 2:
        return mean, 0.0
    shares = np.array(sizes) / sum(sizes)
    means = np.add.reduceat(values, np.cumsum([0, *sizes[:-1]])) / np.array(sizes)
    spread = float((shares**2 * (means - mean) ** 2).sum())
    return mean, float(np.sqrt(spread * len(sizes) / (len(sizes) - 1)))
