"""An estimator of a masked diffusion model's likelihood: a method with its settings.

    estimator = Estimator("mc-fixed", draws=128)
    for query in estimator.queries(whole, seed=0, key=11): ...    # its masked, scored, weight

Methods are the files of `likelihood/methods`, each with what it estimates and how; docs/likelihood.md has their table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unmask.decoding.rules.plugins import used
from unmask.errors import UserError, nearest
from unmask.likelihood.method import FIRST, Drawing, Method
from unmask.likelihood.methods import NAMES as METHODS
from unmask.likelihood.methods import method_of
from unmask.likelihood.queries import Query, check_draws

ORDERS = (FIRST, "right-to-left", "random")  # of methods that ask queries


@dataclass(frozen=True)
class Estimator:
    """A method with its settings. `draws` is 0 where nothing is drawn; raises `UserError` for settings unknown."""

    method: str = "mc-fixed"
    draws: int | None = None  # masks, or orders; None: as many as the method usually draws
    order: str = FIRST
    decode: Mapping[str, Any] | None = None  # the rules of a decoder that is replayed

    def __post_init__(self) -> None:
        of = method_of(self.method)
        if of.decodes:
            object.__setattr__(self, "decode", of.check(self.order, self.decode or {}))
            object.__setattr__(self, "order", str((self.decode or {}).get("order", self.order)))
        else:
            self.check_order(of.orders)
            if self.decode is not None:
                takers = ", ".join(name for name in METHODS if method_of(name).decodes)
                mend = f"use {takers}, or leave it out" if takers else "leave it out"
                raise UserError(f"decode does not concern method {self.method}, which replays no decoder; {mend}")
        draws = of.usual if self.draws is None else self.draws
        check_draws(draws, 2 if self.sampled else 0)
        object.__setattr__(self, "draws", int(draws) if self.sampled else 0)

    def check_order(self, orders: Sequence[str]) -> None:
        if self.order not in ORDERS:
            raise UserError(
                f"order '{self.order}' is unknown{nearest(str(self.order), ORDERS)}; orders: {', '.join(ORDERS)}"
            )
        if self.order not in orders:
            takers = ", ".join(name for name in METHODS if self.order in method_of(name).orders)
            raise UserError(f"order '{self.order}' does not concern method {self.method}, only {takers}")

    @property
    def of(self) -> Method:
        return method_of(self.method)

    @property
    def sampled(self) -> bool:
        return self.of.sampled(self.order)

    @property
    def target(self) -> str:
        """``nelbo``, ``order-mixture`` or ``chain``; see `Method`."""
        return self.of.target(self.order)

    @property
    def is_bound(self) -> bool:
        return self.target != "chain"

    def to_dict(self) -> dict[str, Any]:
        """JSON values, as protocols record them."""
        decode = {} if self.decode is None else {"decode": dict(self.decode), **used(self.decode)}
        return {"method": self.method, "draws": self.draws, "order": self.order, **decode}

    def for_length(self, length: int, draws: int) -> Estimator:
        """This one, or the one that costs no more than so many draws and has no error."""
        enough = self.of.enough(length, draws)
        return self if enough is None else Estimator(enough)

    def stride(self, length: int, draws: int) -> int:
        """Tokens from one pass to the next along an order."""
        return self.of.stride(length, draws)

    def groups(self, length: int, draws: int) -> list[int]:
        """Sizes of the independent groups of so many draws."""
        return self.of.groups(length, draws)

    def estimate(self, nats: np.ndarray, sizes: list[int]) -> tuple[float, float]:
        """Nats and their standard error, from those of every draw."""
        return self.of.estimate(nats, sizes)

    def queries(
        self,
        whole: Query,
        seed: int,
        key: int,
        sizes: list[int] | None = None,
        stride: int | None = None,
        first_group: int = 0,
        first_draw: int = 0,
    ) -> Iterator[Query]:
        """The passes over a text. sizes, stride: by default those of the estimator's draws; groups are numbered from
        `first_group`, draws from `first_draw`, so that more can be added."""
        draws = self.draws or 0
        sizes = self.groups(whole.length, draws) if sizes is None else sizes
        stride = self.stride(whole.length, draws) if stride is None else stride
        return self.of.queries(whole, self.order, seed, key, Drawing(sizes, stride, draws, first_group, first_draw))
