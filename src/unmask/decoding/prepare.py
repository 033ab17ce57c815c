"""A row made ready: all that was asked for is read and checked, and stands on a stage of its own.

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

    stage: Stage  # of this row alone, in its first slot
    request: Request  # with its steps
    guidance: Guidance  # off for an autoregressive model
    stretches: tuple[Stretch, ...]  # what its text with gaps was made of
    idle: bool = False  # guidance has no effect on it
    bare: bool = False  # it should begin behind a token that the model does not have

    @property
    def positions(self) -> int:
        """How many it has, its prompt's included."""
        return self.stage.table.width

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
    return [
        prepare_row(model, *row, trace=trace)
        for row in zip(given, requests, seeds, against, fills, names, strict=True)
    ]


def prepare_row(
    model: Model,
    prompt: Prompt | None,
    request: Request,
    seed: tuple[int, int] = (0, 0),
    negative: Prompt | None = None,
    fill: int | None = None,
    name: str = "the prompt",
    *,
    trace: bool = True,
) -> Prepared:
    """One of them. Raises `UserError`."""
    row = read_prompt(model, prompt, fill, name, request.special_tokens)
    length = new_tokens(model, name, row.ids, row.added, request.length, fill is not None)
    request = replace(request, length=length)
    stage = Stage.of(model.config, model.eos_ids, 1, len(row.ids) + length)
    stage.canvas.join([row.ids], [length], [seed], trace, [row.added])
    set_conditions(model, stage, request, row)
    stage.endings.close(stage.canvas.rows, settled=True)
    if model.kind == "arm":
        return Prepared(stage, request, Guidance(), row.stretches)
    request = with_steps(stage, request)
    guidance = make_guidance(model, stage, request, negative, name)
    idle = request.guidance != 0 and negative is None and not bool(stage.canvas.given_BL.any())
    return Prepared(stage, request, guidance, row.stretches, idle, row.bare)


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


def with_steps(stage: Stage, request: Request) -> Request:
    """The request with its number of steps: the given, or the model's own share of its masks, or one per mask up to
    128, at least one a block; rules that go on for as long as it takes have none unless told. Forced tokens are no
    masks."""
    new, masks = int(stage.canvas.new_BL.sum()), int(stage.canvas.open_BL.sum())
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


def make_guidance(model: Model, stage: Stage, request: Request, negative: Prompt | None, name: str) -> Guidance:
    """A row's guidance. Raises `UserError` for a view that cannot be made."""
    canvas = stage.canvas
    ids = None if negative is None else tuple(model.encode(negative, request.special_tokens) or start_ids(model))
    shifts = request.guidance != 0 and (ids is not None or request.guidance_mode == "drop")
    if shifts and bool(canvas.new_BL[0, : int(canvas.starts_B[0])].any()):
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


def set_conditions(model: Model, stage: Stage, request: Request, row: Row) -> None:
    """Limits and endings. Raises `UserError` for conditions that contradict each other."""
    canvas, limits = stage.canvas, stage.limits
    found = read_conditions(model, stage, request, row)
    position_N = canvas.new_BL[0].nonzero().flatten().tolist()
    limits.ban(0, sorted(found.banned))
    for offset, token in found.forced.items():
        canvas.force(0, position_N[offset], token)
    for offsets, span in found.spans:
        limits.span(0, [position_N[offset] for offset in offsets], span)
    if row.word_starts:
        limits.begin(0, row.word_starts, tokens_with_a_space(model))
    stage.endings.join(canvas.rows, [request.eos], [request.revise is not None], [found.stops])


def read_conditions(model: Model, stage: Stage, request: Request, row: Row) -> Constraints:
    eos_ids = stage.endings.eos_ids
    banned = request.banned if request.eos != "suppress" else (*request.banned, *eos_ids)
    return read_constraints(
        model.tokenizer,
        model.config.vocab_size,
        runs_of(model, stage, request, row.word_starts),
        banned=banned,
        forced=request.forced,
        pattern=request.pattern,
        choices=request.choices,
        stop=request.stop,
    )


def runs_of(model: Model, stage: Stage, request: Request, word_starts: list[int]) -> list[Run]:
    """The gaps of a row, and its continuation, which alone may end early and is free where there are gaps to spell."""
    canvas, known = stage.canvas, model.tokenizer
    start, added = int(canvas.starts_B[0]), int(canvas.added_B[0])
    ends = () if request.eos == "suppress" else stage.endings.eos_ids
    position_N = canvas.new_BL[0].nonzero().flatten()
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
            begins_text=first == added or not (known and known.spelled(canvas.tokens_BL[0, added:first].tolist())),
        )
        for first, length in zip(firsts, lengths, strict=True)
    ]
