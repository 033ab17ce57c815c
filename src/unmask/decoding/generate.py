"""`generate`: text out of a model, by whichever rules; `infill`: the gaps of a text.

    generate(model, ["My fellow", "The state of the"], length=64, steps=64, order="confidence", guidance=0.5)
    infill(model, ["The ____ of the Union"], gap=2)

    unmask sample RUN --prompt "My fellow" --length 64 --steps 64 --order confidence --guidance 0.5
    unmask sample RUN --fill "The ____ of the Union" --gap 2

Takes a masked diffusion model (arXiv 2410.18514) or its autoregressive twin; see docs/decoding.md for the rules.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch

from unmask.decoding import autoregressive, engine
from unmask.decoding.canvas import Canvas
from unmask.decoding.generation import Generation, results
from unmask.decoding.orders import ORDERS, QUOTAS
from unmask.errors import UserError, nearest
from unmask.model.folder import Model

DEFAULT_ORDER, DEFAULT_LENGTH, DEFAULT_GAP, MOST_STEPS = "ancestral", 64, 3, 128
# A blank takes the space before it along, since in most vocabularies a word's token holds that space, and then begins
# with a token that does: the text keeps its word boundary.
BLANK = re.compile(r"( ?)_{2,}")

Prompt = str | Sequence[int]
Seed = int | tuple[int, int]


def generate(
    model: Model,
    prompts: Prompt | Sequence[Prompt],
    length: int | None = None,
    steps: int | None = None,
    order: str = DEFAULT_ORDER,
    quota: str | None = None,
    block: int | None = None,
    revise: str | None = None,
    guidance: float = 0.0,
    temperature: float = 1.0,
    cache: str | None = None,
    seed: int | Sequence[Seed] = 0,
    fill: int | None = None,
    trace: bool = True,
    watch: Callable[[Canvas], object] | None = None,
    stop_at_eos: bool | None = None,
) -> list[Generation]:
    """Continues every prompt by `length` tokens, and fills its blanks; one `Generation` per prompt, in order.

    prompts: texts or token ids, of any lengths; for an MDM, mask ids among them are blanks to be filled. An empty
        prompt is allowed (an ARM then starts from the end-of-sequence token).
    length: new tokens behind the prompt (by default 64, or what the context leaves; 0 with `fill`).
    steps: of the reverse process, per row (as many as there are masks, at most 128). Steps that commit nothing cost
        no pass, so `nfe` may be less.
    order, quota, block: which positions are committed, how many at a step, and in blocks of how many positions from
        left to right; see `orders`. An ARM knows only one order: `steps`, `order` and `quota` do not concern it.
    revise, cache: None is all there is so far.
    guidance: w of logits = u + (1 + w)(c - u), MDM only; 0 is off and costs one pass instead of two.
    temperature: 0 takes the most likely token.
    seed: row i draws from (seed, i); or one seed, or pair (seed, i), per row.
    fill: runs of two or more underscores in a text are blanks of this many tokens (see `infill`).
    trace: keep the list of commitments, in order.
    watch: called with the `Canvas` after every pass, and once more at the end with `canvas.done`.
    stop_at_eos: end a row once its text up to the first end of sequence is settled, and drop what lies behind
        (default for an ARM; an MDM fills all it was asked for and only `text` is cut).
    """
    given = as_list(prompts)
    if not given:
        raise UserError('prompts is empty; give at least one, "" for text from nothing')
    check(model, length, steps, order, quota, block, revise, guidance, temperature, cache, fill)
    eos_id = end_of_sequence(model)
    gapped = [(model.encode(prompt), []) if fill is None else blanks(model, prompt, fill) for prompt in given]
    rows, word_starts = [row for row, _ in gapped], [starts for _, starts in gapped]
    if model.kind == "arm":
        rows = [row or [start_token(eos_id)] for row in rows]
    mask_id = model.config.vocab_size  # no token of either kind of model
    context = model.config.block_size
    if length is None:
        room = context - max(len(row) for row in rows)
        length = 0 if fill is not None else max(1, min(DEFAULT_LENGTH, room))
    for number, row in enumerate(rows):
        if len(row) + length > context:
            raise UserError(
                f"prompt {number} has {len(row)} tokens, with length {length} that exceeds the context of {context}; "
                "shorten prompt or length"
            )
        if not length and mask_id not in row:
            raise UserError(f"prompt {number} has no blank and length is 0: nothing to generate; write ____ in it")
    canvas = Canvas.of(rows, length, mask_id, row_seeds(seed, len(rows)), trace)
    stop_id = eos_id if (model.kind == "arm" if stop_at_eos is None else stop_at_eos) else None

    if model.kind == "arm":
        autoregressive.fill(model.network, canvas, float(temperature), stop_id, watch)
    else:
        if guidance != 0 and not canvas.given_BL.any():
            warnings.warn("guidance has no effect without a prompt; sampling without it", stacklevel=2)
        new_B = canvas.new_BL.sum(1)
        steps_B = new_B.clamp(max=MOST_STEPS) if steps is None else torch.full_like(new_B, steps)
        if block is not None:
            blocks_B = -(-new_B // block)
            # The default divides without loss: a step per block at least.
            steps_B = torch.maximum(steps_B, blocks_B) if steps is None else steps_B
            if (steps_B < blocks_B).any():
                raise UserError(
                    f"steps {steps} is fewer than the {int(blocks_B.max())} blocks of {block}; "
                    "raise steps or block (each block takes at least one step)"
                )
        rule = ORDERS[order]
        chosen_quota = rule.quota or QUOTAS[quota or "paper"]
        rules = engine.Rules(rule, chosen_quota, steps_B, block, float(guidance), float(temperature), stop_id)
        if any(word_starts):
            rules = replace(rules, limited_BL=places(canvas, word_starts), allowed_V=tokens_with_a_space(model))
        engine.fill(model.network, canvas, rules, watch)
    canvas.done = True
    if watch is not None:
        watch(canvas)
    return results(canvas, model, eos_id)


def infill(
    model: Model, texts: Prompt | Sequence[Prompt], steps: int | None = None, gap: int = DEFAULT_GAP, **options: Any
) -> list[Generation]:
    """Fills the blanks of texts: every run of two or more underscores becomes `gap` tokens, its space included.

    `Generation.text` is the whole text, `.tokens` the new tokens, `.positions` their places in `.canvas`. Options
    are those of `generate`, but orders that have a quota use "even": the paper's rounds a gap of a few tokens down to
    nothing until its last step, which then commits all of them at once.
    """
    order = ORDERS.get(options.get("order", DEFAULT_ORDER))
    if options.get("quota") is None and order is not None and order.quota is None and model.kind == "mdm":
        options["quota"] = "even"
    return generate(model, texts, steps=steps, fill=gap, **options)


# ------------------------------------------------------------------ checks and small parts


def check(
    model: Model,
    length: int | None,
    steps: int | None,
    order: str,
    quota: str | None,
    block: int | None,
    revise: str | None,
    guidance: float,
    temperature: float,
    cache: str | None,
    fill: int | None,
) -> None:
    """Raises `UserError` for settings out of range, unknown, or at odds with the kind of model."""
    whole = {"length": (length, 0), "steps": (steps, 1), "block": (block, 1), "fill": (fill, 1)}
    for name, (value, least) in whole.items():
        if value is not None and (not isinstance(value, Integral) or isinstance(value, bool) or value < least):
            raise UserError(f"{name} is {value!r}; give a whole number of at least {least}")
    if order not in ORDERS:
        raise UserError(f"order '{order}' is unknown{nearest(str(order), ORDERS)}; give one of {', '.join(ORDERS)}")
    if quota is not None and quota not in QUOTAS:
        raise UserError(f"quota '{quota}' is unknown{nearest(str(quota), QUOTAS)}; give one of {', '.join(QUOTAS)}")
    for name, choice in {"revise": revise, "cache": cache}.items():
        if choice is not None:
            raise UserError(f"{name} '{choice}' is unknown; all there is so far is None (leave it out)")
    for name, number in {"guidance": guidance, "temperature": temperature}.items():
        if isinstance(number, bool) or not isinstance(number, Real) or not math.isfinite(number):
            raise UserError(f"{name} is {number!r}; give a finite number")
    if temperature < 0:
        raise UserError(f"temperature is {temperature}; give 0 (the most likely token) or more")
    if model.kind == "arm":
        for name, given in {"guidance": guidance != 0, "fill": fill is not None, "block": block is not None}.items():
            if given:
                raise UserError(f"{name} needs a masked diffusion model; this one is autoregressive")
        if length == 0:
            raise UserError("length is 0; an autoregressive model only continues, so give at least 1")
    elif quota is not None and ORDERS[order].quota is not None:
        raise UserError(f"quota '{quota}' does not go with order '{order}', which draws its own; leave out one")


def as_list(prompts: Prompt | Sequence[Prompt]) -> list[Prompt]:
    """One text, or one list of ids, counts as a list of one prompt; arrays and tensors of ids are lists of them.

    Raises `UserError` naming the first prompt that is neither text nor ids.
    """
    if isinstance(prompts, np.ndarray | torch.Tensor):
        prompts = prompts.tolist()
    if isinstance(prompts, str) or (len(prompts) and isinstance(prompts[0], Integral)):
        return [prompts]  # type: ignore[list-item]
    for number, prompt in enumerate(prompts):
        if not isinstance(prompt, str | Sequence | np.ndarray | torch.Tensor):
            raise UserError(f"prompt {number} is {prompt!r}; give a text or a list of token ids")
    return list(prompts)  # type: ignore[arg-type]


def blanks(model: Model, prompt: Prompt, gap: int) -> tuple[list[int], list[int]]:
    """Token ids with `gap` masks for every blank of a text (ids are taken as they are), and which of the masks stand
    for a space as well."""
    if not isinstance(prompt, str):
        return model.encode(prompt), []
    assert model.mask_id is not None
    first, *rest = BLANK.split(prompt)
    ids, word_starts = model.encode(first), []
    for space, piece in zip(rest[::2], rest[1::2], strict=True):
        word_starts += [len(ids)] if space else []
        ids += [model.mask_id] * gap + encode_behind(model, piece)
    return ids, word_starts


def encode_behind(model: Model, piece: str) -> list[int]:
    """Token ids of a text that goes on behind another: some vocabularies (Llama) put a space of their own before the
    first word of what they are given, which would stand beside the one that is there."""
    if piece.startswith(" "):
        before, whole = model.encode("a"), model.encode(f"a{piece}")
        if whole[: len(before)] == before:
            return whole[len(before) :]
    return model.encode(piece)


def places(canvas: Canvas, positions: list[list[int]]) -> torch.Tensor:
    """Bool [B, L], true at the positions of each row."""
    mask_BL = torch.zeros_like(canvas.new_BL)
    for row, here in enumerate(positions):
        mask_BL[row, here] = True
    return mask_BL


def tokens_with_a_space(model: Model) -> torch.Tensor:
    """Bool [V]: tokens whose text begins with a space; all of them where the vocabulary has none such."""
    assert model.tokenizer is not None
    texts = (model.tokenizer.token_text(token) for token in range(model.config.vocab_size))
    found_V = torch.tensor([text.startswith(" ") for text in texts])
    return found_V if found_V.any() else ~found_V


def end_of_sequence(model: Model) -> int | None:
    if model.config.eos_id is not None:
        return model.config.eos_id
    return None if model.tokenizer is None else model.tokenizer.eos_id


def start_token(eos_id: int | None) -> int:
    """What an ARM continues when the prompt is empty: the end of a document before."""
    if eos_id is None:
        raise UserError("prompt is empty and the model has no end-of-sequence token to start from; give a prompt")
    return eos_id


def row_seeds(seed: int | Sequence[Seed], rows: int) -> list[tuple[int, int]]:
    """(seed, row) of each row."""
    if isinstance(seed, Integral):
        return [(int(seed), row) for row in range(rows)]
    try:
        pairs = [(int(s), 0) if isinstance(s, Integral) else (int(s[0]), int(s[1])) for s in seed]  # type: ignore
    except (TypeError, ValueError, IndexError):
        raise UserError(f"seed is {seed!r}; give a whole number, or one number or pair per prompt") from None
    if len(pairs) != rows:
        raise UserError(f"seed has {len(pairs)} entries for {rows} prompts; give one number, or one entry per prompt")
    return pairs
