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
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import torch

from unmask.decoding import loop, twin
from unmask.decoding.conditions import read_conditions
from unmask.decoding.generation import Generation, results
from unmask.decoding.limits.endings import Endings
from unmask.decoding.limits.limits import Limits
from unmask.decoding.options import Request, per_row, read_requests
from unmask.decoding.prompts import (
    Prompt,
    Seed,
    Stretch,
    as_list,
    read_prompt,
    row_seeds,
    start_ids,
)
from unmask.decoding.rules.guidance import Guidance
from unmask.decoding.state.canvas import Canvas
from unmask.decoding.state.table import Table
from unmask.errors import UserError
from unmask.model.folder import Model

DEFAULT_LENGTH, DEFAULT_GAP, MOST_STEPS = 64, 3, 128
NO_START = "the model has no end-of-sequence token to begin behind: an empty prompt is a bare canvas"


def generate(
    model: Model,
    prompts: Prompt | Sequence[Prompt | None] | None,
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
    eligible: str | Sequence[str | None] | None = None,
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
    fill: int | Sequence[int | None] | None = None,
    trace: bool = True,
    watch: Callable[[Canvas], object] | None = None,
) -> list[Generation]:
    """Continues every prompt by `length` tokens, and fills its blanks; one `Generation` per prompt, in order.

    Every option is one value for all prompts, or a list with an entry for each; a row's result does not depend on the
    others. None is the model's own default (`unmask tune` writes them), or else what stands here.

    prompts: texts or token ids, of any lengths; for an MDM, mask ids among them are blanks to be filled. Behind an
        empty prompt, and behind nothing where a text begins with a gap, a document begins: a clean end-of-sequence
        token, or the model's begin token, is put before it, as `score` does, which does not count as new (an MDM
        without such a token does without, said once). None in place of a prompt is a bare canvas, for an MDM.
    length: new tokens behind the prompt (64, or what the context leaves; 0 with `fill`).
    steps: of the reverse process (as many as there are masks, forced tokens left out, at most 128). Steps that commit
        nothing cost no pass, so `nfe` may be less. With an adaptive quota a bound on the passes (none).
    order, quota, block, revise, cache: which positions are committed ("ancestral"), how many a step ("paper"), in
        blocks of how many positions from left to right, what is taken back, and what is not run again; see `orders`,
        `quotas`, `revise` and `score`. Parameters: "threshold:0.8", "klass:threshold=0.9,kl=0.01". An ARM knows only
        one order: `steps`, `order`, `quota` and `cache` do not concern it.
    eligible: where a token may be written at all just now, "all" or "block:32"; block is short for the latter.
    threshold: short for that of quota "threshold" (or "klass"). order_noise: annealed randomness of a judged order.
    guidance: w of logits = u + (1 + w)(c - u), MDM only (0: off, one pass instead of two); guidance_mode,
        guidance_schedule, guidance_interval, negative: see `guidance`; a negative prompt without guidance is refused.
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
    given: dict[str, Any] = {
        "length": length, "steps": steps, "order": order, "quota": quota, "block": block, "revise": revise,
        "eligible": eligible, "guidance": guidance, "temperature": temperature, "cache": cache, "threshold": threshold,
        "order_noise": order_noise, "top_p": top_p, "top_k": top_k, "guidance_mode": guidance_mode,
        "guidance_schedule": guidance_schedule, "guidance_interval": guidance_interval, "eos": eos, "stop": stop,
        "banned": banned, "forced": forced, "pattern": pattern, "choices": choices, "special_tokens": special_tokens,
    }  # fmt: skip
    options = {name: value for name, value in given.items() if value is not None}
    ready = prepare(model, prompts, options, seed=seed, negative=negative, fill=fill, trace=trace)
    canvas, limits, endings = ready.stage.canvas, ready.stage.limits, ready.stage.endings
    if model.kind == "arm":
        twin.fill(model.network, canvas, ready.requests, limits, endings, watch)
    else:
        loop.fill(model.network, canvas, ready.requests, ready.guidances, limits, endings, watch)
    canvas.done = True
    if watch is not None:
        watch(canvas)
    return results(canvas, model, endings.surplus, ready.rows_R.tolist(), ready.stretches)


def infill(
    model: Model,
    texts: Prompt | Sequence[Prompt],
    gap: int | Sequence[int | None] = DEFAULT_GAP,
    *,
    seed: int | Sequence[Seed] = 0,
    **options: Any,
) -> list[Generation]:
    """Fills the gaps of texts: every run of two or more underscores becomes `gap` tokens, its space included.

    `Generation.text` is the whole text, gaps filled; `.tokens` are the new tokens, `.positions` their places in
    `.canvas`. gap: tokens, one number or one per text. seed and the other options are those of `generate`; with
    `length` a text also goes on behind its end. Raises `UserError` for a text without a gap, and as `generate` does.
    """
    return generate(model, texts, seed=seed, fill=gap, **options)


# ------------------------------------------------------------------ before the first pass


@dataclass
class Stage:
    """Where rows are filled: a canvas, and what its rows may write and where they end."""

    canvas: Canvas
    limits: Limits
    endings: Endings

    @classmethod
    def of(cls, model: Model, slots: int, width: int) -> Stage:
        """For so many rows of so many positions."""
        canvas = Canvas(Table(slots, width), model.config.blank_id, model.config.vocab_size)
        return cls(canvas, Limits(canvas, model.config.vocab_size), Endings(canvas, model.eos_ids))


@dataclass
class Prepared:
    """Rows of a stage that can be filled: all that was asked for is read, and nothing about it is wrong."""

    stage: Stage
    rows_R: torch.Tensor  # their slots
    requests: list[Request]
    guidances: list[Guidance]  # none for an ARM
    stretches: list[tuple[Stretch, ...]]  # what each row's text with gaps was made of


def prepare(
    model: Model,
    prompts: Prompt | Sequence[Prompt | None] | None,
    options: Mapping[str, Any],
    *,
    seed: int | Sequence[Seed] = 0,
    negative: Prompt | Sequence[Prompt | None] | None = None,
    fill: int | Sequence[int | None] | None = None,
    trace: bool = True,
    names: Sequence[str] | None = None,
    warn: bool = True,
    stage: Stage | None = None,
) -> Prepared:
    """What `generate` does before its first pass, its options (None left out) in a mapping.

    names: how errors call the prompts ("prompt 0", ...). warn: say what has no effect. stage: where the rows join, one
    that is just large enough by default. Raises `UserError`.
    """
    given = as_list(prompts)
    if not given:
        raise UserError('prompts is empty; give at least one, "" for text from nothing')
    names = names or [f"prompt {number}" for number in range(len(given))]
    fills = per_row("fill", fill, len(given))
    for gap in fills:
        if gap is not None and (not isinstance(gap, Integral) or isinstance(gap, bool) or gap < 1):
            raise UserError(f"fill is {gap!r}; give a whole number of at least 1")
    if any(gap is not None for gap in fills) and model.kind == "arm":
        raise UserError("fill needs a masked diffusion model; this one is autoregressive")
    quotas = ["paper" if gap is None else "even" for gap in fills]
    requests = read_requests(len(given), model.kind, quotas, model.defaults, **options)
    rows = [
        read_prompt(model, prompt, gap, name, request.special_tokens)
        for prompt, gap, name, request in zip(given, fills, names, requests, strict=True)
    ]
    ids = [row.ids for row in rows]
    requests = [
        replace(request, length=new_tokens(model, name, row.ids, row.added, request.length, gap is not None))
        for name, row, request, gap in zip(names, rows, requests, fills, strict=True)
    ]
    lengths = [request.length or 0 for request in requests]
    longest = max(len(row) + length for row, length in zip(ids, lengths, strict=True))
    stage = Stage.of(model, len(rows), longest) if stage is None else stage
    canvas, endings = stage.canvas, stage.endings
    rows_R = canvas.join(ids, lengths, row_seeds(seed, len(rows)), trace, [row.added for row in rows])
    slots = rows_R.tolist()
    read_conditions(model, stage.limits, endings, slots, requests, [row.word_starts for row in rows])
    endings.close(rows_R, settled=True)  # forced tokens may end a row before its first pass
    guidances: list[Guidance] = []
    if model.kind == "mdm":
        requests = [with_steps(row, canvas, request) for row, request in zip(slots, requests, strict=True)]
        guidances, idle = make_guidances(model, canvas, slots, requests, negative, names)
        if idle and warn:
            warnings.warn("guidance has no effect without a prompt; sampling without it", stacklevel=3)
        elif warn and any(row.bare for row in rows):
            warnings.warn(NO_START, stacklevel=3)
    elif negative is not None:
        raise UserError("negative needs a masked diffusion model; this one is autoregressive")
    return Prepared(stage, rows_R, requests, guidances, [row.stretches for row in rows])


def new_tokens(model: Model, name: str, row: list[int], added: int, length: int | None, filled: bool) -> int:
    """How many tokens go behind a prompt. Raises `UserError` if they do not fit, or there is nothing to do."""
    context = model.config.block_size
    if length is None:
        length = 0 if filled else max(1, min(DEFAULT_LENGTH, context - len(row)))
    if len(row) + length > context:
        what = f"has {counted(len(row) - added)}" if len(row) > added else "is empty"
        before = "an end-of-sequence token" if model.config.bos is None else "a begin token"
        what += f" and stands behind {before}" if added else ""
        raise UserError(
            f"{name} {what}, with length {length} that exceeds the context of {context}; shorten prompt or length"
        )
    if not length and model.config.blank_id not in row:
        raise UserError(f"{name} has no blank and length is 0: nothing to generate; write ____ in it")
    return int(length)


def counted(tokens: int) -> str:
    return "1 token" if tokens == 1 else f"{tokens} tokens"


def with_steps(row: int, canvas: Canvas, request: Request) -> Request:
    """The request with its number of steps: the given, or the model's own share of its masks, or one per mask up to
    128, at least one a block; rules that go on for as long as it takes have none unless told. Forced tokens are no
    masks."""
    new, masks = int(canvas.new_BL[row].sum()), int(canvas.open_BL[row].sum())
    blocks = -(-new // (request.block or new))
    if request.steps is None and request.steps_per_token is not None:
        return replace(request, steps=max(math.ceil(request.steps_per_token * masks), blocks))
    if request.steps is None and (request.adaptive or request.order.of.one_by_one):
        return request
    if request.steps is None:
        return replace(request, steps=max(min(masks, MOST_STEPS), blocks))
    if request.steps < blocks:
        raise UserError(
            f"steps {request.steps} is fewer than the {blocks} blocks of {request.block}; "
            "raise steps or block (each block takes at least one step)"
        )
    return request


def make_guidances(
    model: Model,
    canvas: Canvas,
    rows: Sequence[int],
    requests: Sequence[Request],
    negative: Prompt | Sequence[Prompt | None] | None,
    names: Sequence[str],
) -> tuple[list[Guidance], bool]:
    """Each row's guidance, and whether it can have no effect somewhere. Raises `UserError` for views that cannot be
    made, and for a negative prompt that nothing leads away from."""
    against = read_negative(negative, len(requests))
    if negative is not None and all(request.guidance == 0 for request in requests):
        raise UserError("negative is given without guidance, which gets away from it; give guidance, such as 1.0")
    each = negative is not None and not is_one(negative)
    made, idle = [], False
    for row, name, request, prompt in zip(rows, names, requests, against, strict=True):
        if each and prompt is not None and request.guidance == 0:
            raise UserError(f"{name} has a negative prompt without guidance; give guidance, such as 1.0")
        ids = None if prompt is None else tuple(model.encode(prompt, request.special_tokens) or start_ids(model))
        shifts = request.guidance != 0 and (ids is not None or request.guidance_mode == "drop")
        if shifts and bool(canvas.new_BL[row, : int(canvas.starts_B[row])].any()):
            what = "negative" if ids is not None else "guidance_mode 'drop'"
            raise UserError(f"{name} has blanks in it, which {what} would move; use guidance_mode 'mask'")
        if ids is not None and request.guidance != 0 and len(ids) + (request.length or 0) > model.config.block_size:
            raise UserError(
                f"negative of {name} has {counted(len(ids))}, with length {request.length} that exceeds the "
                f"context of {model.config.block_size}; shorten it"
            )
        idle |= request.guidance != 0 and ids is None and not bool(canvas.given_BL[row].any())
        made.append(
            Guidance(request.guidance, request.guidance_mode, request.guidance_schedule, request.guidance_interval, ids)
        )
    return made, idle


def is_one(prompt: Prompt | Sequence[Prompt | None]) -> bool:
    """Whether it is one text, or the ids of one."""
    return isinstance(prompt, str) or (len(prompt) > 0 and all(isinstance(entry, Integral) for entry in prompt))


def read_negative(negative: Prompt | Sequence[Prompt | None] | None, rows: int) -> list[Prompt | None]:
    """One for each row, None where a row has none."""
    if negative is None:
        return [None] * rows
    if isinstance(negative, torch.Tensor):
        negative = negative.tolist()
    if not isinstance(negative, Sequence):
        raise UserError(f"negative is {negative!r}; give a text, token ids, or one of them per prompt")
    against = [negative] * rows if is_one(negative) else list(negative)
    if len(against) != rows:
        raise UserError(f"negative has {len(against)} entries for {rows} prompts; give one, or one per prompt")
    return against  # type: ignore[return-value]
