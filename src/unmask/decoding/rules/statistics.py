"""What rules read of the proposals beside tokens and their probabilities: the statistics.

    class Threshold(Quota):
        reads = ("best",)                       # and then answers["best"], ranked["best"]

A statistic is computed in the passes in which a row's rule reads it, and only then. `tokens`, those drawn, and
`probability`, theirs, are always there.

What a statistic remembers is found by indices that are known before the pass: it names them in `sends`, and they go to
the device with what the network needs.

Shapes: R rows, N positions of a pass (n of those whose rows read it, m of these known from the pass before),
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch

from unmask.decoding.rules.law import Law, likeliest_N1, runner_up_N1, within
from unmask.decoding.rules.registry import Registry
from unmask.decoding.state.table import Table
from unmask.errors import UserError, nearest

ALWAYS = ("tokens", "probability")


class Statistic:
    """A number for every position asked for. One object serves a table; what it remembers of rows are columns."""

    slopes: ClassVar[bool] = False  # it reads `law.slope_N`
    sent: Sequence[torch.Tensor] = ()  # of this pass, on the device

    def __init__(self, table: Table, vocab_size: int, device: torch.device) -> None:
        self.table, self.vocab_size, self.device = table, vocab_size, device

    def join(self, rows_R: torch.Tensor) -> None:
        """Rows that read it join."""

    def begin(self, rows_R: torch.Tensor) -> None:
        """A pass begins, with these rows."""

    def sends(self, row_N: torch.Tensor, position_N: torch.Tensor) -> Sequence[torch.Tensor]:
        """What it needs on the device as `sent`, of all the pass's positions; these are on the host."""
        return ()

    def take(self, sent: Sequence[torch.Tensor]) -> None:
        self.sent = sent

    def of(self, law: Law) -> torch.Tensor:
        """[N], float64, for some of the pass's positions."""
        raise NotImplementedError

    def end(self) -> None:
        """The pass is over: what lies beside the table may be written now."""

    def forget(self) -> None:
        """The pass raised: its rows are as they were before, and so is what is remembered of them."""


STATISTICS: Registry[Statistic] = Registry("statistic", ALWAYS)


@STATISTICS.register("best")
class Best(Statistic):
    """The probability of the likeliest token."""

    def of(self, law: Law) -> torch.Tensor:
        return law.best_N


@STATISTICS.register("likeliest")
class Likeliest(Statistic):
    """The likeliest token itself, whatever is drawn."""

    def of(self, law: Law) -> torch.Tensor:
        return likeliest_N1(law.logits_NV, law.tops_NK)[:, 0].double()


@STATISTICS.register("margin")
class Margin(Statistic):
    """The probability of the likeliest token less that of the next."""

    def of(self, law: Law) -> torch.Tensor:
        next_N1 = runner_up_N1(law.logits_NV, law.tops_NK)
        return ((1 - (next_N1.double() - law.top_N1).exp()) / law.total_N1)[:, 0]


@STATISTICS.register("entropy")
class Entropy(Statistic):
    """Entropy in nats."""

    slopes = True

    def of(self, law: Law) -> torch.Tensor:
        assert law.slope_N is not None
        return law.total_N1[:, 0].log() - law.slope_N / law.total_N1[:, 0]


@STATISTICS.register("given")
class Given(Statistic):
    """The probability of the token that stands there; of positions without one, nothing sensible."""

    def of(self, law: Law) -> torch.Tensor:
        assert law.given_N is not None, "only a revision that judges committed tokens has them"
        return law.probability(law.given_N[:, None])


@STATISTICS.register("drift")
class Drift(Statistic):
    """KL(now || the row's pass before) in nats, infinite where the position was not asked then (arXiv 2511.05664).

    Remembers log-probabilities on the model's device, of those rows alone that read it.
    """

    at_n: torch.Tensor  # of this pass, on the host
    known_m: torch.Tensor

    def __init__(self, table: Table, vocab_size: int, device: torch.device) -> None:
        super().__init__(table, vocab_size, device)
        self.before = table.sparse("drift: log-probabilities", torch.float32, vocab_size, device)
        self.passes_B = table.rows("drift: passes", torch.int64)
        self.asked_BL = table.positions("drift: asked in pass", torch.int64, -1, drops=True)
        self.told: list[tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor]] = []  # places and values of this pass

    def join(self, rows_R: torch.Tensor) -> None:
        self.before.take(rows_R)

    def begin(self, rows_R: torch.Tensor) -> None:
        self.passes_B[rows_R] += 1

    def sends(self, row_N: torch.Tensor, position_N: torch.Tensor) -> Sequence[torch.Tensor]:
        self.at_n = (self.before.place_B[row_N] >= 0).nonzero().flatten()  # of the N
        row_n, position_n = row_N[self.at_n], position_N[self.at_n]
        pass_n = self.passes_B[row_n]
        self.known_m = (self.asked_BL[row_n, position_n] == pass_n - 1).nonzero().flatten()  # of the n
        self.asked_BL[row_n, position_n] = pass_n
        return self.at_n, self.known_m, self.before.place_B[row_n], position_n

    def of(self, law: Law) -> torch.Tensor:
        count = len(law.logits_NV)
        drift_N = torch.full((count,), torch.inf, dtype=torch.float64, device=law.logits_NV.device)
        at_n, known_m, place_n, position_n = self.sent
        here = within(self.at_n, law.start, law.start + count)
        known = within(self.known_m, here.start, here.stop)
        at_n, place = at_n[here] - law.start, (place_n[here], position_n[here])
        now_nV = law.log_probabilities(slice(None) if len(at_n) == count else at_n)
        if known.start < known.stop:
            known_m = known_m[known] - here.start
            then_mV, now_mV = self.before.values[place[0][known_m], place[1][known_m]], now_nV[known_m]
            # Banned tokens have probability 0 in both.
            term_mV = torch.where(now_mV > -torch.inf, now_mV.exp() * (now_mV - then_mV), 0.0)
            drift_N[at_n[known_m]] = term_mV.sum(1).double()
        self.told.append((place, now_nV))
        return drift_N

    def end(self) -> None:
        for place, now_nV in self.told:
            self.before.values[place] = now_nV
        self.told = []

    def forget(self) -> None:
        self.told = []


class Statistics:
    """Those of a table, each made when a rule first reads it."""

    def __init__(self, table: Table, vocab_size: int, device: torch.device) -> None:
        self.table, self.vocab_size, self.device = table, vocab_size, device
        self.made: dict[str, Statistic] = {}

    def __getitem__(self, name: str) -> Statistic:
        """Raises `UserError` for one that does not exist."""
        if name not in self.made:
            if name not in STATISTICS:
                known = ", ".join(STATISTICS)
                raise UserError(f"statistic '{name}' is unknown{nearest(name, STATISTICS)}; a rule can read {known}")
            self.made[name] = STATISTICS[name](self.table, self.vocab_size, self.device)
        return self.made[name]

    def join(self, rows_R: torch.Tensor, reads: Iterable[str]) -> None:
        """Rows whose rules read these."""
        for name in reads:
            self[name].join(rows_R)

    def end(self) -> None:
        for statistic in self.made.values():
            statistic.end()

    def forget(self) -> None:
        for statistic in self.made.values():
            statistic.forget()
