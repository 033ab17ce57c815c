"""One pair of passes, with the prompt in view and without it, for every guidance scale and for PMI.

    for one in guided_scores(model, [("My fellow", " Americans"), ([5, 6], [7])], scales=(0.5, 1.0), draws=16):
        one.nats_W, one.seen, one.blind, one.pmi(1.0)

Guidance scores with logits u + (1 + w)(c - u), c with the prompt and u without it, normalised at every position (arXiv
2410.18514). The same c and u serve all scales, so a sweep of w costs what one w does; and they give the pointwise
mutual information seen - lambda * blind (arXiv 2104.08315), which takes the answer's own frequency out of its score. At
lambda = w / (1 + w) that is guidance without its normalisation, but for a factor, so the two tell apart how much of a
gain is the removal of the prior.

All of these rank answers; none but w = 0 is a likelihood, so none has bits per byte.

Without guidance a draw costs one pass instead of two. `seen_twice` is w = 0 with twice the draws, the first half of
them the same masks: what the compute of guidance buys by itself.

Shapes: W scales, N scored positions, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F

from unmask.errors import UserError
from unmask.likelihood.estimators import Estimator
from unmask.likelihood.pairs import Pair, Tokens, make_pairs
from unmask.likelihood.passes import VIEWS, batches, check_finite, paired_logits, run_queries
from unmask.likelihood.queries import Query
from unmask.model.folder import Model


@dataclass(frozen=True, eq=False)
class GuidedScore:
    """Nats of one continuation by what it is scored with, all from the same masks; lower is likelier."""

    nats_W: np.ndarray  # guided, a scale each
    seen: float  # given the prompt: w = 0
    blind: float  # without it
    seen_twice: float  # given the prompt, with twice the draws
    n_tokens: int

    def pmi(self, weight: float) -> float:
        """Minus the pointwise mutual information, the answer's own nats taken off by this weight."""
        return self.seen - weight * self.blind


@dataclass
class _Sums:
    """What has been drawn of one pair: a column for w = 0, one for each scale, one without the prompt."""

    estimator: Estimator
    stride: int
    sizes: list[int]
    columns: int
    baseline: np.ndarray | None = None  # [tokens, columns], with everything masked
    drawn: np.ndarray = field(init=False)  # [columns]: weighted sums over all draws so far
    more: float = 0.0  # the same of w = 0 over the second half of the draws

    def __post_init__(self) -> None:
        self.drawn = np.zeros(self.columns)

    @property
    def draws(self) -> int:
        return sum(self.sizes) if self.estimator.sampled else 1

    def add(self, query: Query, start: int, ce_nC: np.ndarray) -> None:
        if query.is_baseline:
            self.baseline = ce_nC
            return
        if self.baseline is not None:
            ce_nC = ce_nC - self.baseline[query.scored - start, : ce_nC.shape[1]]
        total = query.weight * ce_nC.sum(axis=0)
        if len(total) == self.columns:
            self.drawn += total
        else:
            self.more += float(total[0])

    def score(self, n_tokens: int) -> GuidedScore:
        start = np.zeros(self.columns) if self.baseline is None else self.baseline.sum(axis=0)
        nats_C = start + self.drawn / self.draws
        twice = float(nats_C[0])
        if self.estimator.sampled:
            twice = float(start[0]) + (float(self.drawn[0]) + self.more) / (2 * self.draws)
        return GuidedScore(nats_C[1:-1], float(nats_C[0]), float(nats_C[-1]), twice, n_tokens)


def guided_scores(
    model: Model,
    pairs: Sequence[tuple[Tokens, Tokens]] | Sequence[Pair],
    scales: Sequence[float],
    draws: int = 16,
    seed: int = 0,
    view: str | None = None,
    twice: bool = True,
    batch_tokens: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> list[GuidedScore]:
    """A `GuidedScore` for each (context, continuation), in their order.

    scales: guidance scales w. draws: masks of a pair by `mc-fixed`, which enumerates short continuations; an
    autoregressive model is exact. view: what stands for the prompt where it is not seen: ``mask`` (default of a masked
    model), ``drop`` (default of an autoregressive one, which then begins behind its start token) or ``end``, which puts
    end-of-sequence tokens there. twice: also draw as much again without guidance.
    Raises `UserError` for a view that the model does not have, and as `unmask.score` does.
    """
    if not all(math.isfinite(scale) for scale in scales):
        raise UserError(f"guidance scales are {list(scales)}; give finite numbers")
    view = checked_view(model, view)
    made = [pair if isinstance(pair, Pair) else make_pairs(model, [pair])[0] for pair in pairs]
    whole = Estimator("mc-fixed", draws)
    known = {}
    for item, pair in enumerate(made):
        used = Estimator("exact") if model.kind == "arm" else whole.for_length(pair.n_tokens, draws)
        sizes = used.groups(pair.n_tokens, draws) if used.sampled else [1]
        known[item] = _Sums(used, used.stride(pair.n_tokens, draws), sizes, len(scales) + 2)
    done = 0
    for query, ce_nC in _paired(model, _queries(made, known, seed, model.kind == "arm", 0), scales, view, batch_tokens):
        known[query.item].add(query, made[query.item].start, ce_nC)
        if progress is not None and query.item != done:
            done = query.item
            progress(done, len(made))
    if twice and model.kind == "mdm":
        more = {item: sums for item, sums in known.items() if sums.estimator.sampled}
        for query, ce_n, _ in run_queries(model, _queries(made, more, seed, False, 1), 0.0, batch_tokens):
            known[query.item].add(query, made[query.item].start, ce_n[:, None])
    elif model.kind == "mdm":
        for sums in known.values():
            sums.more = float(sums.drawn[0])
    return [known[item].score(pair.n_tokens) for item, pair in enumerate(made)]


def checked_view(model: Model, view: str | None) -> str:
    """The view without the prompt that a model is to have. Raises `UserError` for one it has not."""
    if view is None:
        return "drop" if model.kind == "arm" else "mask"
    if view not in VIEWS:
        raise UserError(f"view '{view}' is unknown; views without the prompt: {', '.join(VIEWS)}")
    if view == "mask" and model.kind == "arm":
        raise UserError("an autoregressive model has no mask to put for the prompt; use the view drop or end")
    if model.start_id is None and model.kind == "arm" or view == "end" and model.eos_id is None:
        raise UserError(f"the model has no end-of-sequence token, which the view {view} needs; set eos_id")
    return view


def _queries(pairs: list[Pair], known: dict[int, _Sums], seed: int, causal: bool, half: int) -> Iterator[Query]:
    """Longest first, so that a batch has little padding; half 1: as many draws again."""
    for item in sorted(known, key=lambda i: (-len(pairs[i].ids_T), i)):
        pair, sums = pairs[item], known[item]
        whole = Query.of(pair, item, causal)
        if causal:
            yield whole
            continue
        first = half * len(sums.sizes), half * sum(sums.sizes)
        yield from sums.estimator.queries(whole, seed, pair.key, sums.sizes, sums.stride, *first)


def _paired(
    model: Model, queries: Iterator[Query], scales: Sequence[float], view: str, batch_tokens: int | None
) -> Iterator[tuple[Query, np.ndarray]]:
    """Each query with its nats [n, 2 + W] at each scored position: with the prompt, at each scale, without it."""
    for batch in batches(model, queries, 1.0, batch_tokens):
        targets_N = torch.from_numpy(np.concatenate([query.ids_T[query.scored] for query in batch])).to(model.device)
        parts = []
        for part, seen_nV, blind_nV in paired_logits(model, batch, view):
            assert blind_nV is not None, "a view was given"
            parts.append(nats_by_scale(seen_nV, blind_nV, targets_N[part], scales))
        nats_NC = np.concatenate(parts)
        check_finite(model, nats_NC)
        start = 0
        for query in batch:
            yield query, nats_NC[start : (start := start + len(query.scored))]


def nats_by_scale(
    seen_nV: torch.Tensor, blind_nV: torch.Tensor, targets_n: torch.Tensor, scales: Sequence[float]
) -> np.ndarray:
    """float64 [n, 2 + W]: cross-entropies of the targets at w = 0, at each scale, and without the prompt."""
    difference_nV = seen_nV - blind_nV
    columns = [seen_nV, *(blind_nV + (1 + scale) * difference_nV for scale in scales), blind_nV]
    nats = [F.cross_entropy(logits_nV, targets_n, reduction="none").double() for logits_nV in columns]
    return torch.stack(nats, dim=1).cpu().numpy()
