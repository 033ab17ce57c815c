"""`generate`: text out of a model, by whichever rules; `infill`: the gaps of a text.

    generate(model, ["My fellow", "The state of the"], length=64, steps=64, order="confidence", guidance=0.5)
    generate(model, prompts, order=["confidence", "random"], quota="threshold:0.9", cache="dual", block=32)
    infill(model, ["The ____ of the Union"], gap=2)

    unmask sample RUN --prompt "My fellow" --length 64 --steps 64 --order confidence --guidance 0.5
    unmask sample RUN --fill "The ____ of the Union" --gap 2

Takes a masked diffusion model (arXiv 2410.18514) or its autoregressive twin; see docs/decoding.md for the rules.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

from unmask.decoding import autoregressive, engine
from unmask.decoding.canvas import Canvas
from unmask.decoding.conditions import read_conditions
from unmask.decoding.generation import Generation, results
from unmask.decoding.guidance import Guidance
from unmask.decoding.prompts import (
    Gapped,
    Prompt,
    Seed,
    as_list,
    blanks,
    row_seeds,
    start_token,
)
from unmask.decoding.request import Request, read_requests
from unmask.errors import UserError
from unmask.model.folder import Model

DEFAULT_LENGTH, DEFAULT_GAP, MOST_STEPS = 64, 3, 128
# A model's own defaults (`unmask tune`) hold together; whoever names one of these says all of them.
RULES = ("order", "quota", "threshold", "order_noise", "steps", "steps_per_token", "block", "revise", "cache")


def generate(
    model: Model,
    prompts: Prompt | Sequence[Prompt],
    length: int | Sequence[int] | None = None,
    steps: int | Sequence[int | None] | None = None,
    order: str | Sequence[str] | None = None,
    quota: str | Sequence[str | None] | None = None,
    block: int | Sequence[int | None] | None = None,
    revise: str | Sequence[str | None] | None = None,
    guidance: float | Sequence[float] | None = None,
    temperature: float | Sequence[float] | None = None,
    cache: str | Sequence[str | None] | None = None,
    seed: int | Sequence[Seed] = 0,
    *,
    threshold: float | Sequence[float | None] | None = None,
    order_noise: float | Sequence[float] | None = None,
    top_p: float | Sequence[float | None] | None = None,
    top_k: int | Sequence[int | None] | None = None,
    guidance_mode: str | Sequence[str] | None = None,
    guidance_schedule: str | Sequence[str] | None = None,
    guidance_interval: tuple[float, float] | Sequence[tuple[float, float]] | None = None,
    negative: Prompt | Sequence[Prompt | None] | None = None,
    eos: str | Sequence[str] | None = None,
    stop: str | Sequence[Any] | None = None,
    banned: Sequence[Any] | None = None,
    forced: Mapping[int, int | str] | Sequence[Mapping[int, int | str] | None] | None = None,
    pattern: str | Sequence[str | None] | None = None,
    choices: Sequence[Any] | None = None,
    special_tokens: bool | Sequence[bool] | None = None,
    fill: int | None = None,
    trace: bool = True,
    watch: Callable[[Canvas], object] | None = None,
) -> list[Generation]:
    """Continues every prompt by `length` tokens, and fills its blanks; one `Generation` per prompt, in order.

    Every option is one value for all prompts, or a list with an entry for each; a row's result does not depend on the
    others. None is the model's own default (`unmask tune` writes them), or else what stands here.

    prompts: texts or token ids, of any lengths; for an MDM, mask ids among them are blanks to be filled. An empty
        prompt is allowed (an ARM then starts from the end-of-sequence token).
    length: new tokens behind the prompt (64, or what the context leaves; 0 with `fill`).
    steps: of the reverse process (as many as there are masks, at most 128). Steps that commit nothing cost no pass, so
        `nfe` may be less. With an adaptive quota a bound on the passes (none).
    order, quota, block, revise, cache: which positions are committed ("ancestral"), how many a step ("paper"), in
        blocks of how many positions from left to right, what is taken back, and what is not run again; see `orders`,
        `quotas`, `revise` and `score`. Parameters: "threshold:0.8", "klass:threshold=0.9,kl=0.01". An ARM knows only
        one order: `steps`, `order`, `quota` and `cache` do not concern it.
    threshold: short for that of quota "threshold" (or "klass"). order_noise: annealed randomness of a judged order.
    guidance: w of logits = u + (1 + w)(c - u), MDM only (0: off, one pass instead of two); guidance_mode,
        guidance_schedule, guidance_interval, negative: see `guidance`.
    temperature, top_p, top_k: of the tokens drawn (1); temperature 0 takes the most likely one.
    seed: row i draws from (seed, i); or one seed, or pair (seed, i), per row.
    eos: "fill" (default of an MDM), "truncate", "stop" (of an ARM), "suppress"; see `endings`. stop: texts before
        which a row ends.
    banned: token ids, or texts of single tokens, never written. forced: {place among the new tokens: id or text},
        written before the first pass.
    pattern, choices: a regular expression, or texts one of which, that the continuation (with `fill`, every gap)
        must spell.
    special_tokens: special tokens that a prompt (and its negative one) spells, such as <|im_start|>, are their ids;
        else they are text like any other.
    fill: runs of two or more underscores in a text are blanks of this many tokens (see `infill`). The quota is then
        "even": the paper's rounds a gap of a few tokens down to nothing until its last step, which commits them all.
    trace: keep the list of commitments, in order.
    watch: called with the `Canvas` after every pass, and once more at the end with `canvas.done`.
    """
    options = {name: value for name, value in locals().items() if name not in NOT_OPTIONS and value is not None}
    given = as_list(prompts)
    if not given:
        raise UserError('prompts is empty; give at least one, "" for text from nothing')
    if fill is not None and (not isinstance(fill, Integral) or isinstance(fill, bool) or fill < 1):
        raise UserError(f"fill is {fill!r}; give a whole number of at least 1")
    if fill is not None and model.kind == "arm":
        raise UserError("fill needs a masked diffusion model; this one is autoregressive")
    defaults = model.defaults
    if any(name in options for name in RULES):
        defaults = {name: value for name, value in defaults.items() if name not in RULES}
    usual_quota = "paper" if fill is None else "even"
    requests = read_requests(len(given), model.kind, usual_quota, **{**defaults, **options})
    gapped = [
        Gapped(model.encode(prompt, request.special_tokens))
        if fill is None
        else blanks(model, prompt, fill, request.special_tokens)
        for prompt, request in zip(given, requests, strict=True)
    ]
    rows, word_starts = [row.ids for row in gapped], [row.word_starts for row in gapped]
    if model.kind == "arm":
        rows = [row or [start_token(model)] for row in rows]
    requests = [
        replace(request, length=new_tokens(model, number, row, request.length, fill))
        for number, (row, request) in enumerate(zip(rows, requests, strict=True))
    ]
    mask_id = model.config.vocab_size  # no token of either kind of model
    canvas = Canvas.of(rows, [request.length or 0 for request in requests], mask_id, row_seeds(seed, len(rows)), trace)
    limits, endings = read_conditions(model, canvas, requests, model.eos_ids, word_starts)
    endings.close(canvas.rows, settled=True)  # forced tokens may end a row before its first pass
    if model.kind == "arm":
        autoregressive.fill(model.network, canvas, requests, limits, endings, watch)
    else:
        share = defaults.get("steps_per_token")
        requests = [with_steps(row, canvas, request, share) for row, request in enumerate(requests)]
        guidances = make_guidances(model, canvas, requests, negative)
        engine.fill(model.network, canvas, requests, guidances, limits, endings, watch)
    canvas.done = True
    if watch is not None:
        watch(canvas)
    return results(canvas, model, endings.surplus, [row.stretches for row in gapped])


NOT_OPTIONS = ("model", "prompts", "seed", "negative", "fill", "trace", "watch")


def infill(
    model: Model, texts: Prompt | Sequence[Prompt], steps: int | None = None, gap: int = DEFAULT_GAP, **options: Any
) -> list[Generation]:
    """Fills the blanks of texts: every run of two or more underscores becomes `gap` tokens, its space included.

    `Generation.text` is the whole text, `.tokens` the new tokens, `.positions` their places in `.canvas`. Options
    are those of `generate`.
    """
    return generate(model, texts, steps=steps, fill=gap, **options)


# ------------------------------------------------------------------ small parts


def new_tokens(model: Model, number: int, row: list[int], length: int | None, fill: int | None) -> int:
    """How many tokens go behind a prompt. Raises `UserError` if they do not fit, or there is nothing to do."""
    context = model.config.block_size
    if length is None:
        length = 0 if fill is not None else max(1, min(DEFAULT_LENGTH, context - len(row)))
    if len(row) + length > context:
        raise UserError(
            f"prompt {number} has {len(row)} tokens, with length {length} that exceeds the context of {context}; "
            "shorten prompt or length"
        )
    if not length and model.config.vocab_size not in row:
        raise UserError(f"prompt {number} has no blank and length is 0: nothing to generate; write ____ in it")
    return int(length)


def with_steps(row: int, canvas: Canvas, request: Request, share: float | None = None) -> Request:
    """The request with its number of steps: the given, or the model's own `share` of its masks, or one per mask up to
    128, at least one a block; rules that go on for as long as it takes have none unless told."""
    new = int(canvas.new_BL[row].sum())
    blocks = -(-new // (request.block or new))
    if request.steps is None and share is not None:
        return replace(request, steps=max(math.ceil(share * new), blocks))
    if request.steps is None and (request.adaptive or request.order.of.one_by_one):
        return request
    if request.steps is None:
        return replace(request, steps=max(min(new, MOST_STEPS), blocks))
    if request.steps < blocks:
        raise UserError(
            f"steps {request.steps} is fewer than the {blocks} blocks of {request.block}; "
            "raise steps or block (each block takes at least one step)"
        )
    return request


def make_guidances(
    model: Model, canvas: Canvas, requests: Sequence[Request], negative: Prompt | Sequence[Prompt | None] | None
) -> list[Guidance]:
    """Each row's guidance. Says once where it can have no effect. Raises `UserError` for views that cannot be made."""
    rows = len(requests)
    against: list[Prompt | None] = [None] * rows
    if negative is not None:
        if not isinstance(negative, Sequence):
            raise UserError(f"negative is {negative!r}; give a text, token ids, or one of them per prompt")
        alike = isinstance(negative, str) or all(isinstance(entry, Integral) for entry in negative)
        against = [negative] * rows if alike else list(negative)  # type: ignore[list-item, arg-type]
        if len(against) != rows:
            raise UserError(f"negative has {len(against)} entries for {rows} prompts; give one, or one per prompt")
    made, idle = [], False
    for row, (request, prompt) in enumerate(zip(requests, against, strict=True)):
        ids = None if prompt is None else tuple(model.encode(prompt, request.special_tokens))
        shifts = request.guidance != 0 and (ids is not None or request.guidance_mode == "drop")
        if shifts and bool(canvas.new_BL[row, : int(canvas.starts_B[row])].any()):
            what = "negative" if ids is not None else "guidance_mode 'drop'"
            raise UserError(f"prompt {row} has blanks in it, which {what} would move; use guidance_mode 'mask'")
        if ids is not None and request.guidance != 0 and len(ids) + (request.length or 0) > model.config.block_size:
            raise UserError(
                f"negative of prompt {row} has {len(ids)} tokens, with length {request.length} that exceeds the "
                f"context of {model.config.block_size}; shorten it"
            )
        idle |= request.guidance != 0 and ids is None and not bool(canvas.given_BL[row].any())
        made.append(
            Guidance(request.guidance, request.guidance_mode, request.guidance_schedule, request.guidance_interval, ids)
        )
    if idle:
        warnings.warn("guidance has no effect without a prompt; sampling without it", stacklevel=3)
    return made
