"""The autoregressive twin: the same canvas, filled left to right from a causal model with a preallocated KV cache.

    twin = Twin.for_rows(model, rows); twin.join(rows)
    while twin.running:
        twin.step()

A pass writes a token of every row that takes part: newcomers' prompts run apart, the other rows take a `DecodeStep`.
Prompts of different lengths share the cache; rows may differ in temperature, top-k, top-p, length, limits and where
they end. The rows of a pass are the first of the cache: who leaves or sits out makes place for them. What a row writes
is a function of its own seed alone.

Shapes: B rows, R rows of a pass, L positions, T prompt tokens, S steps, N tokens written at once, E width,
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from unmask.decoding.limits.stage import Stage
from unmask.decoding.passes.propose import Draws, propose
from unmask.decoding.prepare import Prepared
from unmask.decoding.state.events import Events
from unmask.decoding.state.rows import Budget, Rows, Seat
from unmask.decoding.state.table import FullError, span
from unmask.diffusion.noise import uniforms
from unmask.model.cache import KVCache, cached_bytes
from unmask.model.decode_step import DecodeStep
from unmask.model.folder import Model


@dataclass
class Line:
    """The rows of a pass in the cache's order, as long as they stay the same; on the CPU."""

    asked: frozenset[Seat] | None  # for whom the step was asked; None: all
    rows_R: torch.Tensor
    seats: tuple[Seat, ...]
    new: int  # so many at its end have not run their prompts yet
    left: int  # passes until the first of them is full
    most: int  # and the last
    position_R: torch.Tensor  # written next
    step_R: torch.Tensor
    tokens_R: torch.Tensor  # written last
    temperature_R: torch.Tensor
    top_p_R: torch.Tensor | None
    top_k_R: torch.Tensor | None
    uniforms_SR: torch.Tensor  # from now on; on the model's device
    ends_R: torch.Tensor  # at its end of sequence
    told_R: torch.Tensor  # by stop strings
    told: bool  # whether any is
    forced: bool
    taken: int = 0  # passes so far
    pending: list[Events] = field(default_factory=list)  # what the canvas does not hold yet

    @property
    def draws(self) -> Draws:
        return Draws(self.temperature_R, self.uniforms_SR[self.taken], self.top_p_R, self.top_k_R)


class Twin(Rows[Prepared]):
    """What continues the rows that have joined it, a token a step."""

    def __init__(self, model: Model, budget: Budget, stage: Stage | None = None) -> None:
        """stage: one that is as large as the budget, for its rows to be adopted."""
        self.stage = stage or Stage.of(model.config, model.eos_ids, budget.slots, budget.width)
        super().__init__(self.stage.canvas, budget)
        self.network, self.limits, self.endings = model.network, self.stage.limits, self.stage.endings
        self.device = model.network.device
        self.eos_ids = torch.tensor(self.endings.eos_ids, dtype=torch.int64)
        table = self.table
        self.position_B = table.rows("written next", torch.int64)
        self.token_B = table.rows("written last", torch.int64)
        self.draws_BL = table.positions("draws", torch.float64)
        self.temperature_B = table.rows("temperature", torch.float64)
        self.top_p_B = table.rows("top-p", torch.float64, 1.0)
        self.top_k_B = table.rows("top-k", torch.int64)
        bytes_each, most = cached_bytes(model.config, model.network.dtype, budget.width), budget.cache_bytes
        self.room = budget.slots if most is None else min(most // bytes_each, budget.slots)
        self.cache: KVCache = model.network.cache(self.room, budget.width)
        self.places: list[int | None] = [None] * self.room  # which slot's row has run its prompt there
        self.decode: DecodeStep | None = None
        self.line: Line | None = None
        self.told = Events.joined(self.canvas.mask_id, [])  # of the last step

    @classmethod
    def for_rows(cls, model: Model, rows: Sequence[Prepared], stage: Stage | None = None) -> Twin:
        """One that is just large enough for these. stage: theirs, where they are to be adopted."""
        return cls(model, Budget(len(rows), max(row.positions for row in rows)), stage)

    # -------------------------------------------------------------- coming and going

    def check(self, guests: Sequence[Prepared]) -> None:
        super().check(guests)
        if (free := self.room - int(self.table.taken_B.sum())) < len(guests):
            raise FullError(f"{len(guests)} rows join a cache with {free} free places of {self.room}")

    def enter(self, rows_R: torch.Tensor, guests: Sequence[Prepared]) -> None:
        self.stage.put(rows_R, [(guest.stage, guest.slot) for guest in guests])
        requests, canvas = [guest.request for guest in guests], self.canvas
        here = span(rows_R)
        self.position_B[here] = canvas.starts_B[here]
        self.temperature_B[here] = torch.tensor([float(request.temperature) for request in requests]).double()
        self.top_p_B[here] = torch.tensor([request.top_p or 1.0 for request in requests], dtype=torch.float64)
        self.top_k_B[here] = torch.tensor([request.top_k or 0 for request in requests])
        for row in rows_R.tolist():
            start, stop = int(canvas.starts_B[row]), int(canvas.lengths_B[row])
            seed, k = canvas.seeds[row]
            self.draws_BL[row, start:stop] = torch.from_numpy(uniforms(seed, k, stop - start))
        self.unline()

    def exit(self, rows_R: torch.Tensor) -> None:
        self.unline()
        gone = set(rows_R.tolist())
        self.places = [None if slot in gone else slot for slot in self.places]
        self.stage.refresh()

    # -------------------------------------------------------------- a step

    def save(self) -> None:
        """A step of the twin changes nothing that is seen before its end."""

    def undo(self, before: Any) -> None:
        pass

    def advance(self, seats: Sequence[Seat] | None) -> tuple[tuple[Seat, ...], tuple[Seat, ...]]:
        asked = None if seats is None else frozenset(seats)
        if self.line is None or self.line.asked != asked:
            self.unline()
            rows_R = self.going(seats)
            if not len(rows_R):
                self.told = Events.joined(self.canvas.mask_id, [])
                return (), ()
            self.line = self.make_line(rows_R, asked)
        line = self.line
        logits_RV = self.run(line)
        if self.limits.any:
            asked_RL = torch.arange(self.table.width) == line.position_R[:, None]
            logits_RV = self.limits.allowed(line.rows_R, asked_RL).apply(slice(0, len(line.rows_R)), logits_RV)
        found = propose(logits_RV, line.draws)
        return line.seats, self.take(line, found.tokens_N, found.probability_N)

    def events(self) -> Events:
        return self.told

    def run(self, line: Line) -> torch.Tensor:
        """Logits [R, V] of every row's next token."""
        rows, steps = len(line.seats), line.most - line.taken
        if self.decode is None:
            self.cache.first(rows)
            self.decode = DecodeStep(self.network, self.cache, steps)
        decode, old = self.decode, rows - line.new
        if not line.new:
            decode.use(rows, steps)
            return decode.head(decode(line.tokens_R.to(self.device), line.position_R - 1))
        logits = []
        if old:
            decode.use(old, steps)
            logits.append(decode.head(decode(line.tokens_R[:old].to(self.device), line.position_R[:old] - 1)))
        hidden_RE = self.run_prompts(line.rows_R[old:], old)
        decode.use(rows, steps)
        return torch.cat([*logits, decode.head(hidden_RE)])

    def run_prompts(self, rows_R: torch.Tensor, first: int) -> torch.Tensor:
        """Hidden states [R, E] of the last token of these rows' prompts; the cache takes the prompts in, from its place
        `first` on.

        Whatever lies behind a short prompt is overwritten in the cache before any query may look at it.
        """
        canvas, device, count = self.canvas, self.device, len(rows_R)
        starts_R = canvas.starts_B[rows_R]
        width = int(starts_R.max())
        tokens_RT = canvas.tokens_BL[rows_R, :width]
        tokens_RT = tokens_RT.masked_fill(tokens_RT == canvas.mask_id, 0)  # which is no token of a causal model
        at = torch.arange(count, device=device), starts_R.to(device)
        positions_RT = torch.arange(width, device=device).expand(count, width)
        cache = self.cache.part(first, first + count)
        return self.network.hidden(tokens_RT.to(device), positions_BT=positions_RT, cache=cache, at=at)

    def take(self, line: Line, tokens_R: torch.Tensor, probability_R: torch.Tensor) -> tuple[Seat, ...]:
        """Notes a token of every row; returns the rows that are done."""
        canvas, place = self.canvas, (line.rows_R, line.position_R)
        self.told = Events(canvas.mask_id, *place, tokens_R, probability_R, line.step_R)
        if line.forced:
            # The caller's word stands; what was drawn there is no commitment.
            forced_R = canvas.forced_BL[place]
            columns = (column[~forced_R] for column in (*place, tokens_R, probability_R, line.step_R))
            self.told = Events(canvas.mask_id, *columns)
            tokens_R = torch.where(forced_R, canvas.tokens_BL[place], tokens_R)
        line.pending.append(self.told)
        line.tokens_R, line.position_R, line.step_R = tokens_R, line.position_R + 1, line.step_R + 1
        line.taken += 1
        first, line.new = line.new > 0, 0
        if first:
            self.places[: len(line.seats)] = line.rows_R.tolist()
        ended = self.ended(line)
        leaving = bool(ended) or line.taken == line.left
        if not (leaving or first or line.told or self.limits.any):
            return ()
        self.write()
        for row, length in ended:
            canvas.cut(row, length, "eos")
        if line.told:
            self.endings.close(line.rows_R[line.told_R])
        if not (leaving or line.told):
            return ()
        over_R = line.position_R >= canvas.lengths_B[line.rows_R]
        if not over_R.any():
            return ()
        self.end(line.rows_R[over_R])
        self.line = None
        return tuple(seat for seat, over in zip(line.seats, over_R.tolist(), strict=True) if over)

    def ended(self, line: Line) -> list[tuple[int, int]]:
        """Rows that end behind the token written last, with their lengths."""
        if not any(token in self.endings.eos_ids for token in line.tokens_R.tolist()):
            return []
        ended = (line.ends_R & torch.isin(line.tokens_R, self.eos_ids)).nonzero().flatten()
        return list(zip(line.rows_R[ended].tolist(), line.position_R[ended].tolist(), strict=True))

    # -------------------------------------------------------------- the rows of a pass

    def make_line(self, rows_R: torch.Tensor, asked: frozenset[Seat] | None) -> Line:
        rows_R, new = self.arrange(rows_R.tolist())
        position_R = self.position_B[rows_R]
        left_R = self.canvas.lengths_B[rows_R] - position_R
        left, most = map(int, left_R.aminmax())
        top_p_R, top_k_R = self.top_p_B[rows_R], self.top_k_B[rows_R]
        filtered = bool((top_p_R < 1).any() or (top_k_R > 0).any())
        told_R = torch.tensor([self.endings.stops[row] is not None for row in rows_R.tolist()])
        position_RS = position_R[:, None] + torch.arange(left)
        return Line(
            asked,
            rows_R,
            tuple(self.seats(rows_R)),
            new,
            left,
            most,
            position_R,
            step_R=position_R - self.canvas.starts_B[rows_R],
            tokens_R=self.token_B[rows_R],
            temperature_R=self.temperature_B[rows_R],
            top_p_R=top_p_R if filtered else None,
            top_k_R=top_k_R if filtered else None,
            uniforms_SR=self.draws_BL[rows_R[:, None], position_RS].t().contiguous().to(self.device),
            ends_R=self.endings.stop_B[rows_R] | self.endings.truncate_B[rows_R],
            told_R=told_R,
            told=bool(told_R.any()),
            forced=bool(self.canvas.forced_BL[rows_R].any()),
        )

    def arrange(self, rows: Sequence[int]) -> tuple[torch.Tensor, int]:
        """These rows in the order in which they stand first in the cache, and how many at its end are new to it.

        The last ones move into the places of those that leave: what stays where it is is not copied.
        """
        here = {slot: place for place, slot in enumerate(self.places) if slot is not None}
        old, new = [row for row in rows if row in here], [row for row in rows if row not in here]
        staying = {here[row]: row for row in old if here[row] < len(old)}
        movers = iter(sorted((row for row in old if here[row] >= len(old)), key=here.__getitem__))
        order = [staying[place] if place in staying else next(movers) for place in range(len(old))] + new
        aside = [slot for slot in here if slot not in rows]  # they keep their places where they can
        behind = {here[slot]: slot for slot in aside if here[slot] >= len(order)}
        free = (place for place in range(len(order), self.room) if place not in behind)
        behind |= {next(free): slot for slot in aside if here[slot] < len(order)}
        wanted = {**dict(enumerate(order[: len(old)])), **behind}
        moves = {place: here[slot] for place, slot in wanted.items()}
        if any(place != source for place, source in moves.items()):
            self.cache.move(moves, int(self.position_B[list(here)].max()))
        self.places = [wanted.get(place) for place in range(self.room)]
        return torch.tensor(order), len(new)

    def unline(self) -> None:
        """The rows of a pass are others from now on."""
        self.write()
        self.line = None

    def write(self) -> None:
        """What each row of the line has drawn, and the passes it took part in."""
        canvas, line = self.canvas, self.line
        if line is None or not line.pending:
            return
        steps, told = len(line.pending), Events.joined(canvas.mask_id, line.pending)
        line.pending = []
        canvas.write(told.row_N, told.position_N, told.token_N, told.probability_N, told.step_N)
        canvas.tell()
        canvas.passes += steps
        canvas.nfe_B[line.rows_R] += steps
        canvas.computed_B[line.rows_R] = canvas.starts_B[line.rows_R] + canvas.nfe_B[line.rows_R] - 1
        self.position_B[line.rows_R], self.token_B[line.rows_R] = line.position_R, line.tokens_R
