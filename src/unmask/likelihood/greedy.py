"""Whether a greedy decoder would write a continuation, most confident token first: the paper's check for LAMBADA.

    greedy(model, [("My fellow", " Americans")])[0].matches
    greedy(model, pairs, guidance=1.1, whole=True)[0].tokens       # what it writes, right or wrong

All tokens of the continuation begin as masks; at each step the position whose likeliest token is the most probable is
settled, one a step (arXiv 2410.18514, code of the evaluation): a replay of decoding (`replay`). A continuation is left
at its first wrong token, so that most cost one pass. An autoregressive model writes from left to right: one pass over
the right answer tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unmask.likelihood.pairs import Pair, Tokens, make_pairs
from unmask.likelihood.passes import check_guidance, run_queries
from unmask.likelihood.queries import Query
from unmask.likelihood.replay import replay
from unmask.model.folder import Model

RULES = {"order": "confidence", "quota": "even", "temperature": 0.0}


@dataclass(frozen=True)
class Greedy:
    """matches: the decoder writes exactly this continuation. tokens: what it writes, with `whole` and an MDM only."""

    matches: bool
    tokens: list[int] | None = None


def greedy(
    model: Model,
    pairs: Sequence[tuple[Tokens, Tokens]],
    guidance: float = 0.0,
    whole: bool = False,
    batch_tokens: int | None = None,
    special_tokens: bool = False,
) -> list[Greedy]:
    """A `Greedy` for each (context, continuation). `whole` decodes to the end where the answer is already wrong;
    special_tokens: those that texts spell are ids."""
    check_guidance(model, guidance)
    return greedy_of(model, make_pairs(model, pairs, special_tokens), guidance, whole, batch_tokens)


def greedy_of(
    model: Model, pairs: list[Pair], guidance: float = 0.0, whole: bool = False, batch_tokens: int | None = None
) -> list[Greedy]:
    """`greedy` of pairs that are encoded already."""
    if model.kind == "arm":
        queries = (Query.of(pair, item, causal=True) for item, pair in enumerate(pairs))
        return [Greedy(hit) for _, _, hit in run_queries(model, queries, 0.0, batch_tokens)]
    options = [{**RULES, "steps": pair.n_tokens, "guidance": guidance} for pair in pairs]
    found: list[Greedy] = [Greedy(False)] * len(pairs)
    for item, replayed in replay(model, pairs, options, batch_tokens, strict=not whole, own=whole):
        if whole:
            matches = bool((replayed.tokens_L == pairs[item].ids_T[pairs[item].start :]).all())
            found[item] = Greedy(matches, replayed.tokens_L.tolist())
        else:
            found[item] = Greedy(replayed.odds == 0)
    return found
