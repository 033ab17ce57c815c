"""The passes of a masked diffusion model over rows of a canvas: guidance, caches, hidden states where they are asked.

    scorer = Scorer(network, canvas); scorer.join(rows_R, guidances, caches)
    scores = scorer(rows_R, asked_RL, block_RL, block_R, w_R)
    for part, logits_nV in scores.chunks(): ...

A row has up to two *views*: its own tokens, and what guidance compares them with. A view is run whole, or, where the
row has a cache of keys and values, in part (Fast-dLLM, arXiv 2505.22618):

prefix  whole at the start of a block; then from the block's first position to the row's end
dual    whole at the start of a block; then the block alone, between a cached prefix and a cached suffix
reuse   whole; not at all while the row holds the tokens it held in its last pass

`refresh` n runs it whole every n-th pass besides; with n = 1 nothing is approximated. The last layer runs only at the
positions asked for. Some views whole and some in part take two runs of the network: what all runs of a pass need is
worked out on the host first, and goes to the device in one copy.

Shapes: R rows, U views, L positions, Q positions of a window, S slots, N positions asked for, M of them guided,
E width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from unmask.decoding.passes.caches import Cache
from unmask.decoding.passes.crossing import Parcel
from unmask.decoding.passes.logits import Blind, Scores
from unmask.decoding.passes.views import Views, views_of, widen
from unmask.decoding.rules.guidance import Guidance
from unmask.decoding.rules.registry import Chosen
from unmask.decoding.state.canvas import Canvas
from unmask.decoding.state.table import FullError, Pool, span
from unmask.model.backbone import Backbone
from unmask.model.cache import cached_bytes
from unmask.model.visibility import keys

# What a view held in its last pass, where it was asked, and the hidden states there, on the device.
Kept = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Run = Callable[[], torch.Tensor]  # hidden states, once what it needs has been sent


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
        self.any = False  # whether a row is not always run whole

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
        self.refresh()

    def refresh(self) -> None:
        """Rows have joined or left."""
        self.any = bool(((self.windowed_B | self.reuses_B) & self.canvas.table.taken_B).any())

    def __call__(
        self,
        rows_R: torch.Tensor,
        asked_RL: torch.Tensor,
        block_RL: torch.Tensor,
        block_R: torch.Tensor,
        w_R: Sequence[float] | None,
        parcel: Parcel | None = None,
    ) -> Scores:
        """One pass: `asked_RL` where proposals are needed, `block_RL` the new positions of each row's current block,
        `block_R` its number. Counts the pass in the canvas. parcel: what is wanted on the device besides, where it is
        afterwards."""
        parcel = Parcel() if parcel is None else parcel
        guided = [at for at, w in enumerate(w_R or ()) if w != 0 and self.has_prompt(int(rows_R[at]))]
        views = views_of(self.canvas, self.guidances, rows_R, asked_RL, block_RL, block_R, guided)
        if not guided or w_R is None:
            return Scores(self.network, self.run(views, parcel))
        count_R = asked_RL.sum(1)
        w_M, here_M = torch.tensor([w_R[at] for at in guided], dtype=torch.float32), None
        if len(guided) < len(rows_R):
            guided_R = torch.zeros(len(rows_R), dtype=torch.bool)
            guided_R[guided] = True
            here_M = guided_R.repeat_interleave(count_R).nonzero().flatten()
            w_M = w_M.repeat_interleave(count_R[guided])
        else:
            w_M = w_M.repeat_interleave(count_R)
        sent = parcel.put(w_M) if here_M is None else parcel.put(w_M, here_M)
        hidden, asked = self.run(views, parcel), int(count_R.sum())
        w_M, *at_M = parcel[sent]
        return Scores(self.network, hidden[:asked], Blind(hidden[asked:], w_M, at_M[0] if at_M else None, here_M))

    def has_prompt(self, row: int) -> bool:
        return self.guidances[row].negative is not None or bool(self.canvas.given_BL[row].any())

    def run(self, views: Views, parcel: Parcel) -> torch.Tensor:
        """Hidden states wherever the views ask, view by view, left to right. Sends the parcel."""
        if not self.any:
            self.canvas.passes += 1
            run = self.whole(views, slice(None), False, parcel)
            parcel.send(self.device)
            return run()
        row_U, kind_U = views.row_U, views.kind_U
        cached_U = self.windowed_B[row_U]
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
        runs: dict[str, Run] = {}
        places: list[torch.Tensor] = []
        for name, is_part_U in parts.items():
            at = is_part_U.nonzero().flatten()
            if not len(at):
                continue
            if name == "window":
                runs[name] = self.windows(views, at, parcel)
            elif name == "kept":
                runs[name] = self.again(views, at, parcel)
            else:
                runs[name] = self.whole(views, at, name == "whole", parcel)
            places.append(number_UL[at][views.asked_UL[at]])
        self.canvas.passes += int(not kept_U.all())
        together = parcel.put(torch.cat(places)) if len(runs) > 1 else None
        parcel.send(self.device)
        found = {name: run() for name, run in runs.items()}
        if "plain" in found:
            self.keep(views, parts["plain"].nonzero().flatten(), found["plain"])
        hidden = torch.cat(list(found.values())) if together is not None else next(iter(found.values()))
        return hidden if together is None else torch.empty_like(hidden).index_copy_(0, parcel[together][0], hidden)

    def count(self, views: Views, at: torch.Tensor | slice, computed: torch.Tensor) -> None:
        row_U = views.row_U[at]
        self.canvas.nfe_B.index_add_(0, row_U, torch.ones_like(row_U))
        self.canvas.computed_B.index_add_(0, row_U, computed)

    def whole(self, views: Views, at: torch.Tensor | slice, cached: bool, parcel: Parcel) -> Run:
        """These views run whole, padded to the longest; with `cached` what they leave is kept in their slots."""
        lengths_U = views.lengths_U[at]
        width = int(lengths_U.max())
        inside_UL = torch.arange(width) < lengths_U[:, None]
        self.count(views, at, lengths_U)
        places_UL = None
        if cached:
            row_U, kind_U = views.row_U[at], views.kind_U[at]
            self.block_B2[row_U, kind_U], self.since_B2[row_U, kind_U] = views.block_U[at], 0
            places_UL = torch.arange(width).expand(len(row_U), width)
        return self.ready(views, at, views.tokens_UL[at, :width], inside_UL, places_UL, parcel)

    def windows(self, views: Views, at: torch.Tensor, parcel: Parcel) -> Run:
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
        self.since_B2[views.row_U[at], views.kind_U[at]] += 1
        # Padding queries write to a slot of their own, at which no key is read.
        positions_UL = torch.where(window_UL, position_L, self.slots.length).sort(1).values
        positions_UQ = positions_UL[:, : int(count_U.max())]
        tokens_UL = widen(views.tokens_UL[at], self.slots.length + 1, self.canvas.mask_id)
        return self.ready(views, at, tokens_UL.gather(1, positions_UQ), inside_UL, positions_UQ, parcel)

    def ready(
        self,
        views: Views,
        at: torch.Tensor | slice,
        tokens_UQ: torch.Tensor,
        inside_UL: torch.Tensor,
        positions_UQ: torch.Tensor | None,
        parcel: Parcel,
    ) -> Run:
        """A run over these tokens of some views. inside_UL: what is no padding. positions_UQ: where the tokens stand
        and their keys and values are kept; None: from the row's beginning, and nowhere."""
        asked = views.asked_UL[at, : inside_UL.shape[1]].nonzero(as_tuple=True)
        cached = () if positions_UQ is None else (positions_UQ, self.place(views, at))
        if cached:
            assert self.slots is not None
            inside_UL = widen(inside_UL, self.slots.length, False)
        padding = () if inside_UL.all() else (inside_UL,)
        sent = parcel.put(tokens_UQ, *asked, *cached, *padding)

        def run() -> torch.Tensor:
            tokens_UQ, row_N, place_N, *more = parcel[sent]
            options: dict[str, Any] = {}
            if cached:
                options["positions_BT"] = more[0]
                options["cache"] = self.slots.at(more[1], *cached)
            sees = self.network.sees & keys(more[-1]) if padding else self.network.sees
            return self.network.hidden(tokens_UQ, sees=sees, at=(row_N, place_N), **options)

        return run

    def again(self, views: Views, at: torch.Tensor, parcel: Parcel) -> Run:
        """What was kept of these views' last pass."""
        kept, index_N, count = [self.kept_of(views, u) for u in at.tolist()], list[torch.Tensor](), 0
        for (_, asked_L, _), wanted_L in zip(kept, views.asked_UL[at], strict=True):
            index_N.append(count + (asked_L.cumsum(0) - 1)[wanted_L[: len(asked_L)]])
            count += int(asked_L.sum())
        sent = parcel.put(torch.cat(index_N))
        return lambda: torch.cat([hidden_nE for *_, hidden_nE in kept])[parcel[sent][0]]

    def place(self, views: Views, at: torch.Tensor | slice) -> torch.Tensor:
        row_U, is_blind_U = views.row_U[at], views.kind_U[at] == 1
        own_B, blind_B = (places.place_B for places in self.places)
        return torch.where(is_blind_U, blind_B[row_U], own_B[row_U])

    def kept_of(self, views: Views, u: int) -> Kept:
        return self.kept[int(views.row_U[u])][int(views.kind_U[u])]

    def is_kept(self, views: Views, u: int) -> bool:
        """Whether a view holds what it held in its last pass, and was asked there for all it is asked for now."""
        if int(views.kind_U[u]) not in self.kept[int(views.row_U[u])]:
            return False
        tokens_L, asked_L, _ = self.kept_of(views, u)
        length = int(views.lengths_U[u])
        same = len(tokens_L) == length and torch.equal(tokens_L, views.tokens_UL[u, :length])
        return same and not bool((views.asked_UL[u, :length] & ~asked_L).any())

    def keep(self, views: Views, at: torch.Tensor, hidden: torch.Tensor) -> None:
        """Notes hidden states of views that may be asked again."""
        for u, hidden_nE in zip(at.tolist(), hidden.split(views.asked_UL[at].sum(1).tolist()), strict=True):
            if self.reuses_B[views.row_U[u]]:
                row, kind, length = int(views.row_U[u]), int(views.kind_U[u]), int(views.lengths_U[u])
                kept = views.tokens_UL[u, :length].clone(), views.asked_UL[u, :length].clone(), hidden_nE.clone()
                self.kept[row] = {**self.kept[row], kind: kept}


def place_bytes(network: Backbone, width: int) -> int:
    """Of the keys and values of one view, with the slot behind the last."""
    return cached_bytes(network.config, network.dtype, width + 1)
