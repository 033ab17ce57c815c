"""What a pass says of the positions that were asked for: the tokens drawn, their probabilities, statistics.

    answers["tokens"], answers["probability"], answers["entropy"]          # [R, L]; zeros where nothing was asked
    ranked = Ranked(answers, rank_RK, turn.eligible_RL); ranked["best"]    # [R, K], the order's first choice first

Which statistics there are beside tokens and probability is what the rules of the rows read.

Shapes: R rows, L positions, K ranks (positions by priority), N positions asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch


@dataclass
class Answers:
    """Of some rows of a pass."""

    asked_RL: torch.Tensor
    columns: Mapping[str, torch.Tensor]  # each [R, L]; "probability" is at temperature 1, float64

    @classmethod
    def of(
        cls, asked_RL: torch.Tensor, columns: Mapping[str, torch.Tensor], at: tuple[torch.Tensor, ...] | None = None
    ) -> Answers:
        """From a value for each position asked for, row by row, left to right. at: the same positions as indices."""
        at = asked_RL.nonzero(as_tuple=True) if at is None else at
        spread = {name: value_N.new_zeros(asked_RL.shape) for name, value_N in columns.items()}
        for name, value_N in columns.items():
            spread[name][at] = value_N
        return cls(asked_RL, spread)

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.columns[name]

    def split(self, sizes: Sequence[int]) -> list[Answers]:
        """The parts of consecutive rows."""
        if len(sizes) == 1:
            return [self]
        pieces = {name: column_RL.split(list(sizes)) for name, column_RL in self.columns.items()}
        return [
            Answers(asked_RL, {name: parts[number] for name, parts in pieces.items()})
            for number, asked_RL in enumerate(self.asked_RL.split(list(sizes)))
        ]


class Ranked:
    """The same, each row's positions ranked: those that may be written by their priority, then the rest."""

    def __init__(self, answers: Answers, rank_RK: torch.Tensor, eligible_RL: torch.Tensor) -> None:
        self.answers, self.rank_RK = answers, rank_RK
        self.open_RK = eligible_RL.gather(1, rank_RK)  # False: no more of them

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.ranked(self.answers[name])

    def ranked(self, values_RL: torch.Tensor) -> torch.Tensor:
        return values_RL.gather(1, self.rank_RK)
