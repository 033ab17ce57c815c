"""The passes of a masked diffusion model over rows of a canvas: guidance, caches, and the head afterwards.

    scorer = Scorer(network, canvas); scorer.join(rows_R, guidances, caches)
    scores = scorer(rows_R, asked_RL, block_RL, block_R, w_R)
    for part, logits_nV in scores.chunks(): ...

A row has up to two *views*: its own tokens, and what guidance compares them with. A view is run whole, or, where the
row has a cache of keys and values, in part (Fast-dLLM, arXiv 2505.22618):

prefix  whole at the start of a block; then from the block's first position to the row's end
dual    whole at the start of a block; then the block alone, between a cached prefix and a cached suffix
reuse   whole; not at all while the row holds the tokens it held in its last pass

`refresh` n runs it whole every n-th pass besides; with n = 1 nothing is approximated. The last layer and the head run
only at the positions asked for, the head at some of them at a time, so that N x V logits never stand in memory at once.

Shapes: R rows, U views, L positions, Q positions of a window, S slots, N positions asked for (n of them at a time),
E width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from unmask.decoding.passes.crossing import to_device
from unmask.decoding.rules.guidance import Guidance
from unmask.decoding.rules.registry import Chosen, Registry, Rule, parameter
from unmask.decoding.state.canvas import Canvas
from unmask.decoding.state.table import FullError, Pool, span
from unmask.model.backbone import Backbone, predictions
from unmask.model.cache import cached_bytes
from unmask.model.visibility import Sees, keys

LOGITS_AT_ONCE = 1 << 24
# What a view held in its last pass, where it was asked, and the hidden states there [L, E].
Kept = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Cache(Rule):
    """How much of a row is run again: all of it."""

    window: ClassVar[str | None] = None  # "prefix" or "dual"
    reuse: ClassVar[bool] = False


CACHES: Registry[Cache] = Registry("cache")
CACHES.register("none")(Cache)


@CACHES.register("reuse")
class Reuse(Cache):
    reuse = True


@CACHES.register("prefix")
@dataclass(frozen=True)
class Prefix(Cache):
    window = "prefix"
    refresh: float = parameter(0, 0, whole=True)  # 0: at the start of each block only


@CACHES.register("dual")
class Dual(Prefix):
    window = "dual"


@dataclass
class Scores:
    """Hidden states at the positions asked for, row by row, left to right."""

    network: Backbone
    hidden_NE: torch.Tensor
    blind_ME: torch.Tensor | None = None  # of the guided ones, in the same order
    guided_N: torch.Tensor | None = None  # bool; None: all
    w_N: torch.Tensor | None = None  # fp32
    along: Sequence[torch.Tensor] = ()  # what was sent along, on the device

    def chunks(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """Pieces of 0..N with their logits_nV."""
        size = max(1, LOGITS_AT_ONCE // self.network.config.vocab_size)
        for start in range(0, len(self.hidden_NE), size):
            part = slice(start, start + size)
            yield part, self.logits(part)

    def logits(self, part: slice) -> torch.Tensor:
        c_nV = predictions(self.network, self.hidden_NE[part])
        if self.blind_ME is None or self.w_N is None:
            return c_nV
        if self.guided_N is None:
            u_nV = predictions(self.network, self.blind_ME[part])
            return u_nV + (1 + self.w_N[part, None]) * (c_nV - u_nV)
        guided_n = self.guided_N[part]
        before = int(self.guided_N[: part.start].sum())
        u_mV = predictions(self.network, self.blind_ME[before : before + int(guided_n.sum())])
        c_nV[guided_n] = u_mV + (1 + self.w_N[part][guided_n, None]) * (c_nV[guided_n] - u_mV)
        return c_nV


@dataclass
class Views:
    """What one pass looks at: the rows themselves, then the other views of those that are guided."""

    row_U: torch.Tensor  # index into the canvas
    kind_U: torch.Tensor  # 0: the row itself, 1: what guidance compares with
    tokens_UL: torch.Tensor
    lengths_U: torch.Tensor
    asked_UL: torch.Tensor
    block_UL: torch.Tensor
    block_U: torch.Tensor


class Scorer:
    """Runs passes and keeps what they leave behind: keys and values, or hidden states."""

    def __init__(
        self, network: Backbone, canvas: Canvas, cache_bytes: int | None = None, length: int | None = None
    ) -> None:
        """cache_bytes: for keys and values; by default as much as all rows could need. length: of the longest view."""
        table = canvas.table
        self.network, self.canvas = network, canvas
        self.device = network.device
        self.guidances: list[Guidance] = table.objects("guidance", Guidance, fixed=True)
        self.reuses_B = table.rows("reuses", torch.bool, fixed=True)
        self.windowed_B = table.rows("windowed", torch.bool, fixed=True)
        self.dual_B = table.rows("dual", torch.bool, fixed=True)
        self.refresh_B = table.rows("refresh", torch.int64, fixed=True)
        # At whose start a view was last run whole; what is dropped of a row makes it run whole again.
        self.block_B2 = table.rows("block run whole", torch.int64, -1, (2,), drops=True)
        self.since_B2 = table.rows("passes since", torch.int64, 0, (2,), drops=True)
        self.pool = Pool()  # of places in the cache
        self.places = table.places("cached", self.pool), table.places("cached blind", self.pool)  # of a row's two views
        self.length = table.width if length is None else length
        most = None if cache_bytes is None else cache_bytes // place_bytes(network, self.length)
        self.room = 2 * table.slots if most is None else min(most, 2 * table.slots)
        self.slots: Any = None  # made when the first row needs it
        self.kept: list[dict[int, Kept]] = table.objects("kept", dict, drops=True)  # by view

    def check(self, views: int) -> None:
        """Raises `FullError` where the cache has no place for so many more views."""
        if (free := self.room - self.pool.in_use) < views:
            raise FullError(
                f"rows that need {views} places in the cache join one with {free} free of {self.room} "
                f"({self.room * place_bytes(self.network, self.length):,} bytes)"
            )

    def join(self, rows_R: torch.Tensor, guidances: Sequence[Guidance], caches: Sequence[Chosen[Cache]]) -> None:
        """Rows with their guidance, and what of them is not run again."""
        for row, guidance in zip(rows_R.tolist(), guidances, strict=True):
            self.guidances[row] = guidance
        window, here = [cache.of.window for cache in caches], span(rows_R)
        self.reuses_B[here] = torch.tensor([cache.of.reuse for cache in caches])
        self.windowed_B[here] = torch.tensor([name is not None for name in window])
        self.dual_B[here] = torch.tensor([name == "dual" for name in window])
        self.refresh_B[here] = torch.tensor([int(cache.values.get("refresh", 0)) for cache in caches])
        cached_R = self.windowed_B[here]
        self.places[0].take(rows_R[cached_R])
        self.places[1].take(rows_R[cached_R & torch.tensor([guidance.scale != 0 for guidance in guidances])])
        if self.slots is None and cached_R.any():
            self.slots = self.network.cache(self.room, self.length)

    def __call__(
        self,
        rows_R: torch.Tensor,
        asked_RL: torch.Tensor,
        block_RL: torch.Tensor,
        block_R: torch.Tensor,
        w_R: Sequence[float] | None,
        along: Sequence[torch.Tensor] = (),
    ) -> Scores:
        """One pass: `asked_RL` where proposals are needed, `block_RL` the new positions of each row's current block,
        `block_R` its number. Counts the pass in the canvas. along: what is wanted on the device besides."""
        guided = [at for at, w in enumerate(w_R or ()) if w != 0 and self.has_prompt(int(rows_R[at]))]
        views = self.views(rows_R, asked_RL, block_RL, block_R, guided)
        if not guided or w_R is None:
            hidden, there = self.run(views, along)
            return Scores(self.network, hidden, along=there)
        count_R = asked_RL.sum(1)
        sent = [torch.tensor(list(w_R), dtype=torch.float32).repeat_interleave(count_R)]
        if len(guided) < len(rows_R):
            guided_R = torch.zeros(len(rows_R), dtype=torch.bool)
            guided_R[guided] = True
            sent.append(guided_R.repeat_interleave(count_R))
        hidden, there = self.run(views, [*sent, *along])
        hidden_NE, blind_ME = hidden.split([int(count_R.sum()), len(hidden) - int(count_R.sum())])
        guided_N = there[1] if len(sent) > 1 else None
        return Scores(self.network, hidden_NE, blind_ME, guided_N, there[0], there[len(sent) :])

    def has_prompt(self, row: int) -> bool:
        return self.guidances[row].negative is not None or bool(self.canvas.given_BL[row].any())

    def views(
        self,
        rows_R: torch.Tensor,
        asked_RL: torch.Tensor,
        block_RL: torch.Tensor,
        block_R: torch.Tensor,
        guided: list[int],
    ) -> Views:
        canvas = self.canvas
        own = Views(
            rows_R,
            torch.zeros_like(rows_R),
            canvas.tokens_BL[rows_R],
            canvas.lengths_B[rows_R],
            asked_RL,
            block_RL,
            block_R,
        )
        if not guided:
            return own
        rows, given_BL = rows_R[guided], canvas.given_BL
        if all(self.guidances[row].hides_in_place for row in rows.tolist()):
            tokens_UL = own.tokens_UL[guided].masked_fill(given_BL[rows], canvas.mask_id)
            lengths_U, asked_UL, block_UL = own.lengths_U[guided], asked_RL[guided], block_RL[guided]
        else:
            seen = []
            for row in rows.tolist():
                length = int(canvas.lengths_B[row])
                tokens, given = canvas.tokens_BL[row, :length].tolist(), given_BL[row, :length].tolist()
                seen.append(self.guidances[row].blind(tokens, given, int(canvas.starts_B[row]), canvas.mask_id))
            width = max(canvas.tokens_BL.shape[1], *(len(tokens) for tokens, _ in seen))
            own.tokens_UL = widen(own.tokens_UL, width, canvas.mask_id)
            own.asked_UL, own.block_UL = (widen(x, width, False) for x in (asked_RL, block_RL))
            lengths_U = torch.tensor([len(tokens) for tokens, _ in seen])
            tokens_UL = torch.full((len(seen), width), canvas.mask_id)
            for at, (tokens, _) in enumerate(seen):
                tokens_UL[at, : len(tokens)] = torch.tensor(tokens)
            shifts = [shift for _, shift in seen]
            asked_UL, block_UL = (
                torch.stack([x[at].roll(shift) for at, shift in zip(guided, shifts, strict=True)])
                for x in (own.asked_UL, own.block_UL)
            )
        return Views(
            torch.cat([own.row_U, rows]),
            torch.cat([own.kind_U, torch.ones_like(rows)]),
            torch.cat([own.tokens_UL, tokens_UL]),
            torch.cat([own.lengths_U, lengths_U]),
            torch.cat([own.asked_UL, asked_UL]),
            torch.cat([own.block_UL, block_UL]),
            torch.cat([own.block_U, block_R[guided]]),
        )

    def run(self, views: Views, along: Sequence[torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Hidden states wherever the views ask, view by view, left to right; and what is sent along."""
        row_U, kind_U = views.row_U, views.kind_U
        cached_U = self.windowed_B[row_U]
        if not cached_U.any() and not self.reuses_B[row_U].any():
            every = torch.arange(len(row_U))
            self.canvas.passes += 1
            self.count(views, every, views.lengths_U)
            return self.whole(views, every, False, along)
        fresh_U = self.block_B2[row_U, kind_U] != views.block_U
        due_U = (self.refresh_B[row_U] > 0) & (self.since_B2[row_U, kind_U] + 1 >= self.refresh_B[row_U])
        whole_U = cached_U & (fresh_U | due_U)
        kept_U = torch.tensor([self.is_kept(views, u) for u in range(len(row_U))])
        parts = {
            "plain": ~cached_U & ~kept_U,
            "whole": whole_U,
            "window": cached_U & ~whole_U,
            "kept": kept_U,
        }
        number_UL = (views.asked_UL.flatten().cumsum(0) - 1).view(views.asked_UL.shape)
        found: list[torch.Tensor] = []
        places: list[torch.Tensor] = []
        there: list[torch.Tensor] = []
        for name, is_part_U in parts.items():
            at = is_part_U.nonzero().flatten()
            if not len(at):
                continue
            mine = along if not there else ()  # the first run takes it along
            if name == "window":
                hidden, sent = self.windows(views, at, mine)
                self.since_B2[row_U[at], kind_U[at]] += 1
            elif name == "kept":
                states = [(self.kept[int(row_U[u])][int(kind_U[u])][2], views.asked_UL[u]) for u in at]
                hidden, sent = torch.cat([states_LE[asked_L] for states_LE, asked_L in states]), []
            else:
                self.count(views, at, views.lengths_U[at])
                hidden, sent = self.whole(views, at, name == "whole", mine)
                if name == "whole":
                    self.block_B2[row_U[at], kind_U[at]] = views.block_U[at]
                    self.since_B2[row_U[at], kind_U[at]] = 0
                else:
                    self.keep(views, at, hidden)
            there = there or sent
            found.append(hidden)
            places.append(number_UL[at][views.asked_UL[at]])
        self.canvas.passes += int(not kept_U.all())
        there = there or to_device(along, self.device)
        if len(found) == 1:
            return found[0], there
        hidden_NE = found[0].new_empty(int(views.asked_UL.sum()), found[0].shape[-1])
        hidden_NE[torch.cat(places).to(self.device)] = torch.cat(found)
        return hidden_NE, there

    def count(self, views: Views, at: torch.Tensor, computed: torch.Tensor) -> None:
        ones = torch.ones_like(at)
        self.canvas.nfe_B.index_add_(0, views.row_U[at], ones)
        self.canvas.computed_B.index_add_(0, views.row_U[at], computed)

    def whole(
        self, views: Views, at: torch.Tensor, cached: bool, along: Sequence[torch.Tensor] = ()
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """These views run whole, padded to the longest; with `cached` what they leave is kept in their slots."""
        lengths_U = views.lengths_U[at]
        width = int(lengths_U.max())
        inside_UL = torch.arange(width) < lengths_U[:, None]
        sent = [views.tokens_UL[at, :width], *views.asked_UL[at, :width].nonzero(as_tuple=True)]
        options: dict[str, Any] = {}
        if not cached:
            (tokens_UL, row_N, place_N), sees, there = self.send(sent, inside_UL, along)
        else:
            assert self.slots is not None
            inside_UL = widen(inside_UL, self.slots.length, False)
            sent.append(self.place(views, at))
            (tokens_UL, row_N, place_N, place_U), sees, there = self.send(sent, inside_UL, along)
            options["cache"] = self.slots.at(place_U)
            options["positions_BT"] = torch.arange(width, device=self.device).expand(len(at), width)
        return self.network.hidden(tokens_UL, sees=sees, at=(row_N, place_N), **options), there

    def windows(
        self, views: Views, at: torch.Tensor, along: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The windows of these views, against what their slots hold of the rest."""
        assert self.slots is not None
        lengths_U, asked_UL, block_UL = views.lengths_U[at], views.asked_UL[at], views.block_UL[at]
        position_L = torch.arange(asked_UL.shape[1])
        inside_UL = position_L < lengths_U[:, None]
        from_block_UL = inside_UL & (position_L >= block_UL.int().argmax(1)[:, None])
        window_UL = torch.where(self.dual_B[views.row_U[at], None], block_UL, from_block_UL)
        window_UL = self.network.config.alignment.window(window_UL)
        count_U = window_UL.sum(1)
        self.count(views, at, count_U)
        # Padding queries write to a slot of their own, at which no key is read.
        positions_UL = torch.where(window_UL, position_L, self.slots.length).sort(1).values
        positions_UQ = positions_UL[:, : int(count_U.max())]
        tokens_UL = widen(views.tokens_UL[at], self.slots.length + 1, self.canvas.mask_id)
        sent = [tokens_UL.gather(1, positions_UQ), positions_UQ, *asked_UL.nonzero(as_tuple=True)]
        sent.append(self.place(views, at))
        inside_UL = widen(inside_UL, self.slots.length, False)
        (tokens_UQ, positions_UQ, row_N, place_N, place_U), sees, there = self.send(sent, inside_UL, along)
        options: dict[str, Any] = {"positions_BT": positions_UQ, "cache": self.slots.at(place_U)}
        return self.network.hidden(tokens_UQ, sees=sees, at=(row_N, place_N), **options), there

    def send(
        self, needed: Sequence[torch.Tensor], inside_UL: torch.Tensor, along: Sequence[torch.Tensor]
    ) -> tuple[list[torch.Tensor], Sees, list[torch.Tensor]]:
        """On the device, in one copy: what a run needs, what its network sees (no padding), what goes along."""
        padding = [] if inside_UL.all() else [inside_UL]
        there = to_device([*needed, *padding, *along], self.device)
        sees, first = self.network.sees, len(needed)
        return there[:first], sees & keys(there[first]) if padding else sees, there[first + len(padding) :]

    def place(self, views: Views, at: torch.Tensor) -> torch.Tensor:
        row_U, is_blind_U = views.row_U[at], views.kind_U[at] == 1
        own_B, blind_B = (places.place_B for places in self.places)
        return torch.where(is_blind_U, blind_B[row_U], own_B[row_U])

    def kept_of(self, views: Views, u: int) -> Kept | None:
        return self.kept[int(views.row_U[u])].get(int(views.kind_U[u]))

    def is_kept(self, views: Views, u: int) -> bool:
        """Whether a view holds what it held in its last pass, and was asked there for all it is asked for now."""
        kept = self.kept_of(views, u)
        if kept is None:
            return False
        tokens_L, asked_L, _ = kept
        length = int(views.lengths_U[u])
        same = len(tokens_L) == length and torch.equal(tokens_L, views.tokens_UL[u, :length])
        return same and not bool((views.asked_UL[u] & ~asked_L).any())

    def keep(self, views: Views, at: torch.Tensor, hidden: torch.Tensor) -> None:
        """Notes hidden states of views that may be asked again."""
        for u, hidden_nE in zip(at.tolist(), hidden.split(views.asked_UL[at].sum(1).tolist()), strict=True):
            if self.reuses_B[views.row_U[u]]:
                asked_L = views.asked_UL[u].clone()
                spread_LE = hidden.new_zeros(len(asked_L), hidden.shape[-1])
                spread_LE[asked_L.to(hidden.device)] = hidden_nE
                tokens_L = views.tokens_UL[u, : int(views.lengths_U[u])].clone()
                row, kind = int(views.row_U[u]), int(views.kind_U[u])
                self.kept[row] = {**self.kept[row], kind: (tokens_L, asked_L, spread_LE)}


def place_bytes(network: Backbone, width: int) -> int:
    """Of the keys and values of one view, with the slot behind the last."""
    return cached_bytes(network.config, network.dtype, width + 1)


def widen(x_UL: torch.Tensor, width: int, fill: int | bool) -> torch.Tensor:
    """Padded on the right to `width` columns."""
    missing = width - x_UL.shape[1]
    return x_UL if missing <= 0 else torch.cat([x_UL, x_UL.new_full((len(x_UL), missing), fill)], dim=1)
