"""`generate`: text out of a model, by whichever rules; `infill`: the gaps of a text.

    generate(model, ["My fellow", "The state of the"], length=64, steps=64, order="confidence", guidance=0.5)
    generate(model, prompts, order=["confidence", "random"], quota="threshold:0.9", cache="dual", block=32)
    infill(model, ["The ____ of the Union"], gap=2)

    unmask sample RUN --prompt "My fellow" --length 64 --steps 64 --order confidence --guidance 0.5
    unmask sample RUN --fill "The ____ of the Union" --gap 2

Takes a masked diffusion model (arXiv 2410.18514) or its autoregressive twin; see docs/decoding.md for the rules.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from unmask.decoding.generation import Generation, results
from unmask.decoding.loop import Loop
from unmask.decoding.prepare import NO_START, NOTHING_TO_GUIDE, Prepared, prepare
from unmask.decoding.prompts import Prompt, Seed
from unmask.decoding.state.canvas import Canvas
from unmask.decoding.twin import Twin
from unmask.model.folder import Model

DEFAULT_GAP = 3


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
    rows = prepare(model, prompts, options, seed=seed, negative=negative, fill=fill, trace=trace)
    if any(row.idle for row in rows):
        warnings.warn(NOTHING_TO_GUIDE, stacklevel=2)
    elif any(row.bare for row in rows):
        warnings.warn(NO_START, stacklevel=2)
    return filled(model, rows, watch, once=True)


def filled(
    model: Model,
    rows: Sequence[Prepared],
    watch: Callable[[Canvas], object] | None = None,
    once: bool = False,
) -> list[Generation]:
    """Rows that all join at once, stepped until none is left to fill.

    once: they were prepared together and are not needed again, so that they are filled where they are.
    """
    kind: type[Loop | Twin] = Twin if model.kind == "arm" else Loop
    loop = kind.for_rows(model, rows, rows[0].stage if once else None)
    seats = loop.adopt(rows) if once else loop.join(rows)
    with torch.inference_mode():
        for passed in loop.steps():
            if watch is not None and passed.seats:
                loop.write()
                watch(loop.canvas)
    loop.canvas.done = True
    if watch is not None:
        watch(loop.canvas)
    surplus, slots = loop.endings.surplus, [seat.slot for seat in seats]
    return results(loop.canvas, model, surplus, slots, [row.stretches for row in rows])


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
