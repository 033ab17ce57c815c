"""Rows made ready: all that was asked for is read and checked, and stands on a stage that no loop knows.

    rows = prepare(model, ["My fellow", "The ____ of"], {"steps": 16}, seed=1, fill=[None, 2])
    loop.join(rows)

Nothing is touched that others see: a server prepares rows in one thread while another fills those that have joined.
Forced tokens are written here, before the first pass; they may end a row at once. What the library does with many
prompts and a server with one is the same.

Shapes: V vocabulary, N positions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import torch

from unmask.decoding.limits.constraints import Constraints, Run, read_constraints
from unmask.decoding.limits.stage import Stage
from unmask.decoding.options import Request, per_row, read_requests
from unmask.decoding.prompts import (
    Prompt,
    Row,
    Seed,
    Stretch,
    as_list,
    read_prompt,
    row_seeds,
    start_ids,
    tokens_with_a_space,
)
from unmask.decoding.rules.guidance import Guidance
from unmask.errors import UserError
from unmask.model.folder import Model

DEFAULT_LENGTH, MOST_STEPS = 64, 128
NO_START = "the model has no end-of-sequence token to begin behind: an empty prompt is a bare canvas"
NOTHING_TO_GUIDE = "guidance has no effect without a prompt; sampling without it"


@dataclass(frozen=True)
class Prepared:
    """A row that can be filled, any number of times."""

    stage: Stage  # of the rows that were prepared together
    slot: int  # its own there
    positions: int  # how many it has, its prompt's included
    request: Request  # with its steps
    guidance: Guidance  # off for an autoregressive model
    stretches: tuple[Stretch, ...]  # what its text with gaps was made of
    idle: bool = False  # guidance has no effect on it
    bare: bool = False  # it should begin behind a token that the model does not have

    @property
    def negative(self) -> int:
        """Tokens of its negative prompt."""
        return len(self.guidance.negative or ())

    @property
    def caches(self) -> int:
        """How many rows of cached keys and values it needs: one for each of its views, where it is run in part."""
        return 0 if self.request.cache.of.window is None else 1 + (self.guidance.scale != 0)


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
) -> list[Prepared]:
    """What `generate` does before anything is filled, its options (None left out) in a mapping.

    names: how errors call the prompts ("prompt 0", ...). Raises `UserError`.
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
    seeds = row_seeds(seed, len(given))
    if negative is not None and model.kind == "arm":
        raise UserError("negative needs a masked diffusion model; this one is autoregressive")
    against = against_each(negative, requests, names)
    rows = [
        read_prompt(model, prompt, gap, name, request.special_tokens)
        for prompt, gap, name, request in zip(given, fills, names, requests, strict=True)
    ]
    requests = [
        replace(request, length=new_tokens(model, name, row.ids, row.added, request.length, gap is not None))
        for name, row, request, gap in zip(names, rows, requests, fills, strict=True)
    ]
    lengths = [request.length or 0 for request in requests]
    sizes = [len(row.ids) + length for row, length in zip(rows, lengths, strict=True)]
    stage = Stage.of(model.config, model.eos_ids, len(rows), max(sizes))
    slots_R = stage.canvas.join([row.ids for row in rows], lengths, seeds, trace, [row.added for row in rows])
    set_conditions(model, stage, slots_R, requests, rows)
    stage.endings.close(slots_R, settled=True)
    ready = []
    for slot, size, request, row, prompt, name in zip(
        slots_R.tolist(), sizes, requests, rows, against, names, strict=True
    ):
        guidance, idle = Guidance(), False  # of an autoregressive model
        if model.kind == "mdm":
            request = with_steps(stage, slot, request)
            guidance = make_guidance(model, stage, slot, request, prompt, name)
            idle = request.guidance != 0 and prompt is None and not bool(stage.canvas.given_BL[slot].any())
        ready.append(Prepared(stage, slot, size, request, guidance, row.stretches, idle, row.bare))
    return ready


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


def with_steps(stage: Stage, slot: int, request: Request) -> Request:
    """The request with its number of steps: the given, or the model's own share of its masks, or one per mask up to
    128, at least one a block; rules that go on for as long as it takes have none unless told. Forced tokens are no
    masks."""
    new, masks = int(stage.canvas.new_BL[slot].sum()), int(stage.canvas.open_BL[slot].sum())
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


# ------------------------------------------------------------------ guidance


def against_each(
    negative: Prompt | Sequence[Prompt | None] | None, requests: Sequence[Request], names: Sequence[str]
) -> list[Prompt | None]:
    """The negative prompt of each row, None where a row has none. Raises `UserError` for one that nothing leads away
    from."""
    if negative is None:
        return [None] * len(requests)
    against = read_negative(negative, len(requests))
    if all(request.guidance == 0 for request in requests):
        raise UserError("negative is given without guidance, which gets away from it; give guidance, such as 1.0")
    for name, request, prompt in zip(names, requests, against, strict=True):
        if not is_one(negative) and prompt is not None and request.guidance == 0:
            raise UserError(f"{name} has a negative prompt without guidance; give guidance, such as 1.0")
    return [
        prompt if request.guidance != 0 else None for prompt, request in zip(against, requests, strict=True)
    ]


def make_guidance(
    model: Model, stage: Stage, slot: int, request: Request, negative: Prompt | None, name: str
) -> Guidance:
    """A row's guidance. Raises `UserError` for a view that cannot be made."""
    canvas = stage.canvas
    ids = None if negative is None else tuple(model.encode(negative, request.special_tokens) or start_ids(model))
    shifts = request.guidance != 0 and (ids is not None or request.guidance_mode == "drop")
    if shifts and bool(canvas.new_BL[slot, : int(canvas.starts_B[slot])].any()):
        what = "negative" if ids is not None else "guidance_mode 'drop'"
        raise UserError(f"{name} has blanks in it, which {what} would move; use guidance_mode 'mask'")
    if ids is not None and len(ids) + (request.length or 0) > model.config.block_size:
        raise UserError(
            f"negative of {name} has {counted(len(ids))}, with length {request.length} that exceeds the "
            f"context of {model.config.block_size}; shorten it"
        )
    interval = request.guidance_interval
    return Guidance(request.guidance, request.guidance_mode, request.guidance_schedule, interval, ids)


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


# ------------------------------------------------------------------ what it may write, where it ends


def set_conditions(
    model: Model, stage: Stage, slots_R: torch.Tensor, requests: Sequence[Request], rows: Sequence[Row]
) -> None:
    """Limits and endings. Raises `UserError` for conditions that contradict each other."""
    canvas, limits, stops = stage.canvas, stage.limits, []
    for slot, request, row in zip(slots_R.tolist(), requests, rows, strict=True):
        conditions = read_conditions(model, stage, slot, request, row)
        position_N = canvas.new_BL[slot].nonzero().flatten().tolist()
        limits.ban(slot, sorted(conditions.banned))
        for offset, token in conditions.forced.items():
            canvas.force(slot, position_N[offset], token)
        for offsets, span in conditions.spans:
            limits.span(slot, [position_N[offset] for offset in offsets], span)
        if row.word_starts:
            limits.begin(slot, row.word_starts, tokens_with_a_space(model))
        stops.append(conditions.stops)
    ends = [request.eos for request in requests]
    stage.endings.join(slots_R, ends, [request.revise is not None for request in requests], stops)


def read_conditions(model: Model, stage: Stage, slot: int, request: Request, row: Row) -> Constraints:
    eos_ids = stage.endings.eos_ids
    banned = request.banned if request.eos != "suppress" else (*request.banned, *eos_ids)
    return read_constraints(
        model.tokenizer,
        model.config.vocab_size,
        runs_of(model, stage, slot, request, row.word_starts),
        banned=banned,
        forced=request.forced,
        pattern=request.pattern,
        choices=request.choices,
        stop=request.stop,
    )


def runs_of(model: Model, stage: Stage, slot: int, request: Request, word_starts: list[int]) -> list[Run]:
    """The gaps of a row, and its continuation, which alone may end early and is free where there are gaps to spell."""
    canvas, known = stage.canvas, model.tokenizer
    start, added = int(canvas.starts_B[slot]), int(canvas.added_B[slot])
    ends = () if request.eos == "suppress" else stage.endings.eos_ids
    position_N = canvas.new_BL[slot].nonzero().flatten()
    apart = torch.tensor([start, *word_starts])  # gaps behind one another in the text have no token between
    begins_N = torch.ones_like(position_N, dtype=torch.bool)
    begins_N[1:] = (position_N[1:] != position_N[:-1] + 1) | torch.isin(position_N[1:], apart)
    firsts = position_N[begins_N].tolist()
    lengths = torch.bincount(begins_N.cumsum(0) - 1).tolist() if firsts else []
    return [
        Run(
            length,
            spells=first < start or firsts[0] >= start,
            eos_ids=ends if first >= start else (),
            takes_space=first in word_starts,
            begins_text=first == added or not (known and known.spelled(canvas.tokens_BL[slot, added:first].tolist())),
        )
        for first, length in zip(firsts, lengths, strict=True)
    ]
