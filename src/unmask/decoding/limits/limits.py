"""What a row may write: banned tokens, tokens forced at a place, patterns and choices over spans, first tokens of gaps.

    limits = Limits(canvas, vocab_size)
    limits.ban(row, [3, 7]); limits.span(row, positions, span); limits.begin(row, positions, allowed_V)
    allowed = limits.allowed(rows_R, asked_RL)               # `allowed.masks` may be sent ahead, for `allowed.take`
    allowed.apply(part, logits_nV)
    chosen_RL = limits.admit(rows_R, chosen_RL, tokens_RL, priority_RL)

A pattern holds whatever the order: a token is allowed where some completion of the whole span, given what stands there
already, has it. Tokens of one pass are drawn apart, so those that do not fit together wait for the next pass, at least
one being committed; such rows may take more passes than steps.

Shapes: B rows, R rows of a pass, L positions, N positions asked for (n of them at a time), V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from unmask.decoding.limits.constraints import OPEN, Span
from unmask.decoding.state.canvas import Canvas


class Limits:
    """All rows' limits; empty unless told."""

    def __init__(self, canvas: Canvas, vocab_size: int) -> None:
        table = canvas.table
        self.canvas, self.vocab_size = canvas, vocab_size
        self.banned: list[torch.Tensor | None] = table.objects("banned", lambda: None, fixed=True)
        self.begins: list[tuple[list[int], torch.Tensor] | None] = table.objects("begins", lambda: None, fixed=True)
        self.spans: list[list[tuple[list[int], Span]]] = table.objects("spans", list, fixed=True)
        self.any = False  # whether a row has any

    def refresh(self) -> None:
        """Rows have joined or left."""
        has = (banned is not None or begin is not None for banned, begin in zip(self.banned, self.begins, strict=True))
        self.any = any(has) or any(self.spans)

    def ban(self, row: int, tokens: Sequence[int]) -> None:
        if not tokens:
            return
        banned_V = torch.zeros(self.vocab_size, dtype=torch.bool)
        banned_V[list(tokens)] = True
        before = self.banned[row]
        self.banned[row] = banned_V if before is None else before | banned_V
        self.any = True

    def begin(self, row: int, positions: list[int], allowed_V: torch.Tensor) -> None:
        """Only `allowed_V` at these positions."""
        self.begins[row] = (positions, allowed_V)
        self.any = True

    def span(self, row: int, positions: list[int], span: Span) -> None:
        self.spans[row].append((positions, span))
        self.canvas.spanned_BL[row, positions] = True
        self.any = True

    def splice(self, row: int, from_L: torch.Tensor) -> None:
        """The row's positions have moved; `check_splice` has let them."""
        to = {place: at for at, place in enumerate(from_L.tolist()) if place >= 0}
        self.spans[row] = [([to[place] for place in places], span) for places, span in self.spans[row]]
        if (begin := self.begins[row]) is not None:
            self.begins[row] = ([to[place] for place in begin[0] if place in to], begin[1])

    def check_splice(self, row: int, start: int, delete: int) -> None:
        """Raises `ValueError` for a splice that would change the length of a pattern's text."""
        for places, _ in self.spans[row]:
            if places[0] < start + max(delete, 1) and start <= places[-1] and (delete or places[0] < start):
                raise ValueError(f"a splice at position {start} of the row in slot {row} lies within a pattern")

    def allowed(self, rows_R: torch.Tensor, asked_RL: torch.Tensor) -> Allowed:
        """Of the positions asked for, row by row, left to right."""
        stretches, masks, start = [], list[torch.Tensor](), 0
        for row, asked_L in zip(rows_R.tolist(), asked_RL, strict=True):
            positions = asked_L.nonzero().flatten().tolist()
            allowed_nV = self.of_row(row, positions)
            if allowed_nV is not None and positions:
                stretches.append((start, start + len(positions)))
                masks.append(allowed_nV)
            start += len(positions)
        return Allowed(stretches, masks)

    def of_row(self, row: int, positions: list[int]) -> torch.Tensor | None:
        """Bool [n, V], or [1, V] where all positions are alike; None: anything."""
        banned_V, begin, spans = self.banned[row], self.begins[row], self.spans[row]
        if begin is None and not spans:
            return None if banned_V is None else ~banned_V[None]
        allowed_nV = torch.ones(len(positions), self.vocab_size, dtype=torch.bool)
        at = {position: number for number, position in enumerate(positions)}
        if begin is not None:
            for position in begin[0]:
                if position in at:
                    allowed_nV[at[position]] &= begin[1]
        for places, span in spans:
            asked = [number for number, position in enumerate(places) if position in at]
            if asked:
                here = [at[places[number]] for number in asked]
                allowed_nV[here] &= torch.from_numpy(span.allowed(self.standing(row, places), asked))
        return allowed_nV if banned_V is None else allowed_nV & ~banned_V

    def standing(self, row: int, places: list[int]) -> list[int]:
        """The tokens of a span; `OPEN` where there is none, as behind the end of a row that was cut."""
        tokens_n, filled_n = self.canvas.tokens_BL[row, places], self.canvas.new_BL[row, places]
        return tokens_n.masked_fill(self.canvas.open_BL[row, places] | ~filled_n, OPEN).tolist()

    def admit(
        self, rows_R: torch.Tensor, chosen_RL: torch.Tensor, tokens_RL: torch.Tensor, priority_RL: torch.Tensor
    ) -> torch.Tensor:
        """The chosen positions whose tokens fit together in their spans, the highest priority first."""
        if not self.canvas.spanned_BL[rows_R].any():
            return chosen_RL
        admitted_RL = chosen_RL.clone()
        for at, row in enumerate(rows_R.tolist()):
            for places, span in self.spans[row]:
                chosen = [n for n, position in enumerate(places) if chosen_RL[at, position]]
                if len(chosen) < 2:
                    continue
                chosen.sort(key=lambda n: -float(priority_RL[at, places[n]]))
                proposals = [(n, int(tokens_RL[at, places[n]])) for n in chosen]
                for n, fits in zip(chosen, span.admit(self.standing(row, places), proposals), strict=True):
                    admitted_RL[at, places[n]] = fits
        return admitted_RL


class Allowed:
    """Which tokens may be written, for runs of the positions asked for; elsewhere any."""

    def __init__(self, stretches: list[tuple[int, int]], masks: list[torch.Tensor]) -> None:
        self.stretches, self.masks = stretches, masks  # from where to where; bool [n, V] or [1, V], True: allowed

    def take(self, there: list[torch.Tensor]) -> None:
        """The masks on the logits' device."""
        self.masks = there

    def apply(self, part: slice, logits_nV: torch.Tensor) -> torch.Tensor:
        """The logits of these positions with -inf where a token is not allowed, in place."""
        for (start, stop), allowed_nV in zip(self.stretches, self.masks, strict=True):
            low, high = max(start, part.start), min(stop, part.stop)
            if low < high:
                here_nV = allowed_nV if len(allowed_nV) == 1 else allowed_nV[low - start : high - start]
                logits_nV[low - part.start : high - part.start].masked_fill_(~here_nV.to(logits_nV.device), -torch.inf)
        return logits_nV
