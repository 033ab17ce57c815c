"""Replaying a decoder on a text: its rules choose the positions, and the text's own tokens are written there.

    request = replace(request, revise=Chosen("replay", Replay()))      # no option names it; see `likelihood/replay.py`
    text_BL = table.positions(TEXT, torch.int64); text_BL[row, position_L] = ids_L
    table.positions(NATS, torch.float64)[row]                          # -log p of each token, once it is written

A position's token counts with the probability by which the decoder would have drawn it there, given what stood in the
row then: at the row's temperature. Where that is 0 and the decoder writes its likeliest token, the probability is that
at temperature 1, and `ODDS` counts the positions at which it would have written another.

Shapes: B slots of the table, R rows in a turn, L positions, N positions of a pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from unmask.decoding.rules.law import Law, weigh
from unmask.decoding.rules.revise import Revision, Step
from unmask.decoding.rules.statistics import STATISTICS, Statistic
from unmask.decoding.state.table import Table

# Columns: the text, the nats of what is written of it, and how many of these tokens were not the decoder's own.
TEXT, NATS, ODDS = "replay: text", "replay: nats", "replay: odds"


@STATISTICS.register("text")
class Text(Statistic):
    """-log p, in nats, of the token that a replayed text has there."""

    def __init__(self, table: Table, vocab_size: int, device: torch.device) -> None:
        super().__init__(table, vocab_size, device)
        self.text_BL = table.positions(TEXT, torch.int64)
        self.temperature_B = table.rows("temperature", torch.float64)

    def of(self, law: Law) -> torch.Tensor:
        ids_N1 = self.text_BL[law.row_N, law.position_N][:, None].to(law.logits_NV.device)
        below_N = (law.top_N1 - law.logits_NV.gather(1, ids_N1)).double()[:, 0]
        temperature_N = self.temperature_B[law.row_N]
        temperature_N = torch.where(temperature_N > 0, temperature_N, 1.0).to(below_N.device)
        if bool((temperature_N == 1).all()):
            return below_N + law.total_N1.log()[:, 0]
        mass_NK, _ = weigh(law.logits_NV, law.top_N1, temperature_N[:, None])
        return below_N / temperature_N + mass_NK.sum(-1).log()


@dataclass(frozen=True)
class Replay(Revision):
    """Takes no token back: it puts the text's in place of the proposed ones. Not registered, since it needs a text."""

    reads = ("text",)
    needs_steps = False
    strict: bool = False  # a row ends at the first token that the decoder would not have written

    def after(self, step: Step) -> None:
        turn, answers, chosen_RL = step.turn, step.answers, step.chosen_RL
        table, rows_R = turn.table, turn.rows_R
        text_RL = table.positions(TEXT, torch.int64)[rows_R]
        odd_R = (chosen_RL & (answers["tokens"] != text_RL)).sum(1)
        table.rows(ODDS, torch.int64)[rows_R] += odd_R
        nats_BL = table.positions(NATS, torch.float64)
        nats_BL[rows_R] = torch.where(chosen_RL, answers["text"], nats_BL[rows_R])
        answers.columns = {**answers.columns, "tokens": text_RL, "probability": (-answers["text"]).exp()}
        if self.strict and bool((odd_R > 0).any()):
            step.chosen_RL = chosen_RL & (odd_R == 0)[:, None]
            turn.canvas.open_BL[rows_R[odd_R > 0]] = False
