"""Log-likelihood of continuations given their contexts, each number with its standard error and its protocol.

    unmask score runs/demo/mdm "The state of the Union is strong." --draws 128
    score(model, [("My fellow", " Americans"), ([5, 6], [7])], method="mc-fixed", draws=128, seed=0)
    score(model, pairs, until_se=0.1)                       # as many draws as that takes, pair by pair

Estimators: `unmask.likelihood.estimators`; docs/likelihood.md says what each targets.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from unmask.decoding.rules.plugins import used
from unmask.errors import UserError
from unmask.likelihood.estimators import Estimator
from unmask.likelihood.greedy import greedy_of
from unmask.likelihood.pairs import Pair, Tokens, make_pairs
from unmask.likelihood.passes import check_guidance, run_queries
from unmask.likelihood.queries import Query
from unmask.likelihood.shared import run_shared, shareable
from unmask.model.config import ModelConfig
from unmask.model.folder import Model
from unmask.model.placement import dtype_name
from unmask.statistics import error_of_sum, interval

# With a wanted standard error: so many groups before the error is believed, of so many Bernoulli masks or at most so
# many passes along an order, and how many times as many groups at most from one look at it to the next.
FIRST_GROUPS, BERNOULLI_GROUP, ORDER_PASSES, GROWTH = 8, 8, 16, 4
MAX_DRAWS = 16384


SCHEMA_VERSION = 1  # of `Rates.to_dict`


class Rates:
    """What follows from any log-likelihood, its error and its counts."""

    logprob: float
    se: float
    groups: int
    n_tokens: int
    n_bytes: int | None
    dtype: str

    @property
    def nats_per_token(self) -> float:
        """-logprob per scored token."""
        return -self.logprob / self.n_tokens

    @property
    def bits_per_byte(self) -> float | None:
        return -self.logprob / math.log(2) / self.n_bytes if self.n_bytes else None

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of `logprob` for the Monte Carlo error, by Student's t over the groups."""
        low, high = interval(self.logprob, self.se, self.groups) or (-math.inf, math.inf)
        return low, high

    def to_dict(self) -> dict[str, Any]:
        """JSON values: the fields, the interval and the two rates. What names no `dtype` is of fp32, what names no
        `decode` replayed no decoder; `plugins` are those whose rules it has."""
        rates = {"nats_per_token": self.nats_per_token, "bits_per_byte": self.bits_per_byte}
        unsaid = (("dtype", "fp32"), ("decode", None))
        fields = {name: value for name, value in vars(self).items() if (name, value) not in unsaid}
        plugins = used(vars(self).get("decode") or {})
        return {"schema_version": SCHEMA_VERSION, **fields, **plugins, "interval": list(self.interval), **rates}


@dataclass(frozen=True)
class Score(Rates):
    """A log-likelihood in nats and how it was got. A bound lies below the true value."""

    logprob: float  # never positive, but for the noise of an estimate from a handful of draws
    se: float  # standard error of `logprob` by Monte Carlo; 0.0 where nothing is drawn
    n_tokens: int
    n_bytes: int | None  # UTF-8 bytes scored; None for token ids without a tokenizer
    method: str
    order: str  # of chain-rule
    target: str  # what is estimated: "nelbo", "order-mixture", "chain", or "exact" for an autoregressive model
    draws: int  # masks, or for order-mixture and chain-rule orders; 0 where nothing is drawn
    groups: int  # independent groups that the standard error comes from; 0 where nothing is drawn
    guidance: float
    seed: int
    is_bound: bool
    context_dropped: int  # context tokens that did not fit
    config_hash: str
    until_se: float | None = None  # the standard error that was asked for
    greedy: bool | None = None  # a greedy decoder writes it; None where that was not asked
    dtype: str = "fp32"  # of the model's weights
    decode: dict[str, Any] | None = None  # the rules of the decoder that was replayed; None where none was


@dataclass
class Drawn:
    """What has been drawn of one pair: nats of every draw or order, and the sizes of their groups."""

    estimator: Estimator
    stride: int = 1
    passes: int = 0
    baseline: np.ndarray | None = None  # nats of every token with all of them masked
    nats: np.ndarray = field(default_factory=lambda: np.zeros(0))
    sizes: list[int] = field(default_factory=list)
    hits: list[bool] = field(default_factory=list)

    def grow(self, sizes: list[int]) -> None:
        start = 0.0 if self.baseline is None else float(self.baseline.sum())
        self.nats = np.concatenate([self.nats, np.full(sum(sizes), start)])
        self.sizes = self.sizes + sizes

    @property
    def draws(self) -> int:
        """As `Score.draws` counts them."""
        if not self.estimator.sampled:
            return 0
        return self.passes if self.estimator.method == "mc-fixed" else len(self.nats)

    def estimate(self) -> tuple[float, float]:
        """Nats and their standard error."""
        return self.estimator.estimate(self.nats, self.sizes)


def config_hash(model: Model) -> str:
    """16 hex digits of the model's shape and tokenizer: numbers under different ones are not comparable per token."""
    return hash_of(model.config, model.tokenizer.hash if model.tokenizer else None)


@lru_cache(maxsize=64)
def hash_of(config: ModelConfig, tokenizer: str | None) -> str:
    facts = {"model": config.to_dict(), "tokenizer": tokenizer}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def score(
    model: Model,
    pairs: Sequence[tuple[Tokens, Tokens]],
    method: str | None = None,
    guidance: float = 0.0,
    draws: int | None = None,
    seed: int = 0,
    batch_tokens: int | None = None,
    order: str = "left-to-right",
    until_se: float | None = None,
    max_draws: int = MAX_DRAWS,
    greedy: bool = False,
    special_tokens: bool = False,
    progress: Callable[[int, int], object] | None = None,
    decode: Mapping[str, Any] | None = None,
) -> list[Score]:
    """A `Score` for each (context, continuation), text or token ids, in their order.

    method: ``mc-fixed`` (default; short answers are enumerated), or another of `unmask.likelihood.METHODS`; an
        autoregressive model answers every one of them exactly.
    guidance: w of unsupervised guidance.
    draws: at most so many masks (128 by default), or so many orders (8) for order-mixture and chain-rule at random.
    batch_tokens: tokens in one forward pass.
    order: of chain-rule: ``left-to-right``, ``right-to-left`` or ``random``.
    until_se: draw until the standard error is at most this many nats, pair by pair, up to `max_draws`; `draws` is then
        not used.
    greedy: fill `Score.greedy`, at the price of about one more pass (none for an autoregressive model).
    special_tokens: special tokens that texts spell, such as <|im_start|>, are their ids; else they are text.
    progress: called with (pairs done, pairs) now and then.
    decode: of a method that replays a decoder, its rules as options of `generate`, {"quota": "even", "steps": 8}.

    A context too long for the model loses tokens on its left, which is counted and warned of. Raises `UserError` for
    an empty continuation, one longer than the model's context, and logits that are not finite.
    """
    made = make_pairs(model, pairs, special_tokens)
    if cut := sum(pair.dropped > 0 for pair in made):
        warnings.warn(
            f"{cut} of {len(made)} contexts are cut on the left to fit the model's {model.config.block_size} tokens",
            stacklevel=2,
        )
    estimator = Estimator("mc-fixed" if method is None else method, draws, order, decode)
    return score_pairs(
        model, made, estimator, guidance, seed, batch_tokens, until_se, max_draws, greedy=greedy, progress=progress
    )


def score_pairs(
    model: Model,
    made: list[Pair],
    estimator: Estimator,
    guidance: float = 0.0,
    seed: int = 0,
    batch_tokens: int | None = None,
    until_se: float | None = None,
    max_draws: int = MAX_DRAWS,
    greedy: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> list[Score]:
    """`score` of pairs that are encoded already."""
    check_guidance(model, guidance)
    causal = model.kind == "arm"
    if causal:
        estimator = Estimator("exact")
    elif until_se is not None:
        check_until(estimator, until_se, max_draws)
    known: dict[int, Drawn] = {}
    wanted: dict[int, list[int]] = {}  # sizes of the groups to draw next of each item
    for item, pair in enumerate(made):
        known[item], wanted[item] = _begin(estimator, pair.n_tokens, until_se is not None, max_draws)
    if estimator.of.decodes:
        _replay(model, made, estimator, known, wanted, guidance, batch_tokens, progress)
    while wanted:
        _draw(model, made, known, wanted, guidance, seed, batch_tokens, progress)
        wanted = {}
        for item, drawn in known.items() if until_se is not None else ():
            if more := _more(drawn, made[item].n_tokens, until_se or 0.0, max_draws):
                known[item], wanted[item] = more
    matches = []
    if greedy and not causal:
        matches = [checked.matches for checked in greedy_of(model, made, guidance, False, batch_tokens)]
    given = {
        "guidance": float(guidance), "seed": seed, "config_hash": config_hash(model), "dtype": dtype_name(model.dtype),
        "until_se": None if causal else until_se,
    }  # fmt: skip
    scores = []
    for item, pair in enumerate(made):
        right = all(known[item].hits) if causal else matches[item] if greedy else None
        scores.append(score_of(pair, known[item], causal, greedy=right, **given))
    if until_se is not None and (short := sum(s.se > until_se for s in scores)):
        warnings.warn(
            f"{short} of {len(scores)} scores have not reached a standard error of {until_se} nats with {max_draws} "
            "draws; raise one of them",
            stacklevel=3,
        )
    return scores


def score_of(pair: Pair, drawn: Drawn, causal: bool, **given: Any) -> Score:
    """What was drawn of a pair, as its score; `given` are the fields that the call decides."""
    used, (nats, se) = drawn.estimator, drawn.estimate()
    return Score(
        logprob=-nats,
        se=se,
        n_tokens=pair.n_tokens,
        n_bytes=pair.n_bytes,
        method=used.method,
        order=used.order,
        decode=None if used.decode is None else dict(used.decode),
        target="exact" if causal else used.target,
        draws=drawn.draws,
        groups=len(drawn.sizes) if used.sampled else 0,
        is_bound=not causal and used.is_bound,
        context_dropped=pair.dropped,
        **given,
    )


def error_of_total(pairs: Sequence[Pair], scores: Sequence[Score]) -> tuple[float, int]:
    """Standard error of the sum of some pairs' scores and the independent groups it is worth (0: nothing is drawn).

    Pairs of one key are scored under the same masks, so that their errors add up; those of different keys add in
    squares. For pairs that are equal altogether that is exact, for answers of one context it is the most it can be.
    """
    errors: dict[int, tuple[float, int]] = {}
    for pair, scored in zip(pairs, scores, strict=True):
        se, groups = errors.get(pair.key, (0.0, 0))
        fewest = min(groups, scored.groups) if groups and scored.groups else groups or scored.groups
        errors[pair.key] = (se + scored.se, fewest)
    return error_of_sum(errors.values())


def check_until(estimator: Estimator, until_se: float, max_draws: int) -> None:
    if not estimator.sampled:
        raise UserError(f"until_se does not concern method {estimator.method}, which draws nothing; leave it out")
    if not isinstance(until_se, int | float) or isinstance(until_se, bool) or not until_se > 0:
        raise UserError(f"until_se is {until_se!r}; give a standard error in nats above 0")
    if max_draws < (least := 2 * ORDER_PASSES):
        raise UserError(f"max_draws is {max_draws}; give at least {least}")


def _begin(estimator: Estimator, length: int, until: bool, max_draws: int) -> tuple[Drawn, list[int]]:
    """Nothing drawn yet, and the groups to begin with: all of them, or so many that their error can be believed."""
    draws = estimator.draws or 0
    if until and estimator.of.masks:
        draws = min(
            max_draws, FIRST_GROUPS * (min(length, ORDER_PASSES) if estimator.method == "mc-fixed" else BERNOULLI_GROUP)
        )
    elif until:
        draws = min(max_draws, FIRST_GROUPS)
    used = estimator.for_length(length, draws)
    drawn = Drawn(used, used.stride(length, draws))
    if not used.sampled:
        return drawn, [1]
    if until and used.method == "mc-bernoulli":
        return drawn, [BERNOULLI_GROUP] * max(2, draws // BERNOULLI_GROUP)
    return drawn, used.groups(length, draws)


def _more(drawn: Drawn, length: int, until_se: float, max_draws: int) -> tuple[Drawn, list[int]] | None:
    """What to draw of an item next, which may be all masks from scratch; None where its error is small enough or its
    draws are used up."""
    error, groups = drawn.estimate()[1], len(drawn.sizes)
    if error <= until_se:
        return None
    each = drawn.draws / groups
    # No more than `max_draws` are run, whatever an order's random start makes of its passes.
    most = -(-length // drawn.stride) if drawn.estimator.method == "mc-fixed" else drawn.sizes[0]
    # A tenth more than the error seen so far asks for, since it is itself an estimate.
    total = math.ceil(groups * min(GROWTH, 1.1 * (error / until_se) ** 2))
    more = min(max(1, total - groups), (max_draws - drawn.draws) // most)
    if more <= 0:
        return None
    exact = drawn.estimator.for_length(length, int(drawn.draws + more * each))
    if not exact.sampled:
        return Drawn(exact), [1]
    return drawn, [drawn.sizes[0]] * more


def _draw(
    model: Model,
    pairs: list[Pair],
    known: dict[int, Drawn],
    wanted: dict[int, list[int]],
    guidance: float,
    seed: int,
    batch_tokens: int | None,
    progress: Callable[[int, int], object] | None,
) -> None:
    """Adds groups of the `wanted` sizes to what is known of each item."""
    for item, sizes in wanted.items():
        known[item].grow(sizes)
    done = len(pairs) - len(wanted)
    alone = wanted
    if model.kind == "arm":
        groups = shareable(pairs)
        for item, ce_n, hit in run_shared(model, pairs, groups, batch_tokens):
            known[item].nats[0], known[item].hits = ce_n.sum(), [hit]
            done += 1
            if progress is not None:
                progress(done, len(pairs))
        together = {item for group in groups for item in group}
        alone = {item: sizes for item, sizes in wanted.items() if item not in together}
    last = -1
    queries = _queries(pairs, known, alone, seed, model.kind == "arm")
    for query, ce_n, hit in run_queries(model, queries, guidance, batch_tokens):
        drawn = known[query.item]
        drawn.passes += 1
        if query.is_baseline:  # the first pass of its item
            drawn.baseline = ce_n
            drawn.nats += ce_n.sum()
        else:
            if drawn.baseline is not None:
                ce_n = ce_n - drawn.baseline[query.scored - pairs[query.item].start]
            drawn.nats[query.draw if drawn.estimator.sampled else 0] += query.weight * ce_n.sum()
        drawn.hits.append(hit)
        if progress is not None and query.item != last:
            done, last = done + (last >= 0), query.item
            progress(done, len(pairs))
    if progress is not None:
        progress(len(pairs), len(pairs))


def _replay(
    model: Model,
    pairs: list[Pair],
    estimator: Estimator,
    known: dict[int, Drawn],
    wanted: dict[int, list[int]],
    guidance: float,
    batch_tokens: int | None,
    progress: Callable[[int, int], object] | None,
) -> None:
    """All that is wanted of a method that runs the model itself."""
    found = estimator.of.run(model, pairs, estimator.decode or {}, guidance, batch_tokens)
    for done, (item, nats) in enumerate(found, 1):
        known[item].grow(wanted.pop(item))
        known[item].nats[0] = nats
        if progress is not None:
            progress(done, len(pairs))


def _queries(
    pairs: list[Pair], known: dict[int, Drawn], wanted: dict[int, list[int]], seed: int, causal: bool
) -> Iterator[Query]:
    """Longest first, so that a batch has little padding and a lack of memory shows at once."""
    for item in sorted(wanted, key=lambda i: -len(pairs[i].ids_T)):
        pair, drawn, sizes = pairs[item], known[item], wanted[item]
        whole = Query.of(pair, item, causal)
        if causal:
            yield whole
            continue
        first = len(drawn.sizes) - len(sizes), len(drawn.nats) - sum(sizes)
        yield from drawn.estimator.queries(whole, seed, pair.key, sizes, drawn.stride, *first)
