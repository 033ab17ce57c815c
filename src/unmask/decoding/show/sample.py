"""What `unmask sample` does: prompts from the command line in one batch, or from a file or stdin line by line.

    unmask sample runs/mdm --prompt "My fellow" --ids "5 17 3" --length 16
    unmask sample runs/mdm --fill "The ____ of the Union" --gap 2 --watch
    unmask sample runs/mdm --prompts prompts.jsonl --out out.jsonl

Options are those of `generate`; see `prompt_lines` for the lines of a file.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from unmask.decoding.generate import DEFAULT_GAP, generate
from unmask.decoding.generation import Generation
from unmask.decoding.options import own_defaults
from unmask.decoding.rules.plugins import load_plugins, used
from unmask.decoding.show.animation import write_svg
from unmask.decoding.show.page import write_html
from unmask.decoding.show.prompt_lines import ROWS_AT_ONCE, Defaults, read_lines, sample_lines
from unmask.decoding.show.result_lines import ResultFile, ResultStream
from unmask.decoding.show.sample_options import SampleOptions
from unmask.decoding.show.trace import save_trace
from unmask.decoding.show.watch import Watcher
from unmask.errors import UserError
from unmask.files import check_writable
from unmask.model.folder import Model, load
from unmask.model.placement import noted
from unmask.terminal import say

GUIDED = ("guidance_mode", "guidance_schedule", "guidance_interval")


@dataclass
class Sampled:
    """Rows with what they were asked for."""

    rows: list[dict[str, Any]]  # JSON values
    texts: list[str]  # of each, the prompt included


def sample(options: SampleOptions) -> Sampled | None:
    """The rows, or None where `options.prompts` are and their results went out line by line.

    Raises `UserError` for options that do not go together, and at the end for lines without a result.
    """
    check(options)
    check_writable([options.trace, options.html, options.svg])
    load_plugins(options.plugin)
    given = read_rules(options.rules)
    model = load(options.model, options.device, options.dtype, verify=options.verify)
    check_guided(given, model, options)
    if own := own_defaults(model.defaults, given):
        words = ", ".join(f"{name} {value}" for name, value in own.items())
        say(f"unmask: by the model's own defaults (unmask tune): {words}; options on the command line go before")
    if options.prompts is not None:
        by_lines(options, model, given)
        return None
    return in_one_batch(options, model, given, own)


def in_one_batch(options: SampleOptions, model: Model, given: dict[str, Any], own: dict[str, Any]) -> Sampled:
    source, prompts = read_prompts(options)
    prompts = [prompt for prompt in prompts for _ in range(options.samples)]
    gap = None if source != "fill" else options.gap or DEFAULT_GAP
    with Watcher(model, steps=given.get("steps")) if options.watch else nullcontext() as watch:
        found = generate(model, prompts, seed=options.seed, fill=gap, watch=watch, **given)
    settings = {"model": options.model, **noted(model.dtype), **own, **given, "seed": options.seed}
    settings |= {**({} if gap is None else {"gap": gap}), **used(settings)}
    rows = [{source: prompt, "settings": settings, **row.to_dict()} for prompt, row in zip(prompts, found, strict=True)]
    if options.trace:
        save_trace(options.trace, found, model, settings, rows)
    if options.html:
        write_html(options.html, found, model, settings)
    if options.svg:
        write_svg(options.svg, found, model)
    return Sampled(rows, [whole(model, prompt, row, source) for prompt, row in zip(prompts, found, strict=True)])


def by_lines(options: SampleOptions, model: Model, given: dict[str, Any]) -> None:
    """`--prompts`: a line a prompt."""
    name = str(options.prompts)
    stdin = name == "-"
    batch = options.batch or ROWS_AT_ONCE
    shared = Defaults(given, options.seed, options.gap or DEFAULT_GAP, options.samples, batch, options.model)
    as_json = options.jsonl or name.endswith(".jsonl")
    out = ResultStream() if options.out in (None, "-") else ResultFile(str(options.out))
    source = nullcontext(sys.stdin.buffer) if stdin else open_lines(name)
    with source as stream, out:
        where = "stdin" if stdin else name
        lines, bad = sample_lines(model, read_lines(stream, where, as_json), shared, out, where)
    if bad:
        first = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
        raise UserError(f"{len(bad)} of {lines} lines have no result ({first}); mend them and run the command again")


def open_lines(name: str) -> BinaryIO:
    try:
        if Path(name).is_dir():
            raise UserError(f"{name} is a folder; give a file of prompts, or - for stdin")
        return open(name, "rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{name} cannot be read: {reason}; give a file of prompts, or - for stdin") from error


# ------------------------------------------------------------------ options


def check(options: SampleOptions) -> None:
    """Raises `UserError` for options that do not go together."""
    if options.fill and options.prompt:
        raise UserError("--fill and --prompt do not go together; put the prompt before the gap: 'We the ____'")
    sources = [name for name in ("prompt", "ids", "fill", "prompts") if getattr(options, name) is not None]
    if len(sources) > 1:
        raise UserError(f"--{sources[0]} and --{sources[1]} do not go together; leave out one")
    lines = options.prompts is not None
    if options.gap is not None and not options.fill and not lines:
        raise UserError("--gap says how long the gaps of --fill are; give --fill, or --length for a continuation")
    for name, use in {"out": "their results go", "jsonl": "they are JSON", "batch": "how many go at once"}.items():
        if getattr(options, name) and not lines:
            mend = "give --prompts FILE" + (", or --trace FILE for the trajectory" if name == "out" else "")
            raise UserError(f"--{name} says of --prompts {'where ' if name == 'out' else ''}{use}; {mend}")
    for name in ("watch", "trace", "html", "svg"):
        if getattr(options, name) and lines:
            raise UserError(f"--{name} does not go with --prompts; give the prompt with --prompt")
    if lines and options.out is not None and same_file(str(options.prompts), options.out):
        raise UserError(f"--out {options.out} is the file of the prompts; give another one")


def check_guided(given: dict[str, Any], model: Model, options: SampleOptions) -> None:
    """Raises `UserError` for what only steers guidance where there is none."""
    if options.prompts is not None or given.get("guidance", model.defaults.get("guidance")):
        return
    for name in GUIDED:
        if name in given:
            raise UserError(f"--{name.replace('_', '-')} steers guidance, and there is none; give --guidance W")


def same_file(first: str, second: str) -> bool:
    try:
        return os.path.samefile(first, second)
    except (OSError, ValueError):
        return False


def read_rules(rules: dict[str, Any]) -> dict[str, Any]:
    """Options of `generate` that were given, as it takes them."""
    return {**rules, "forced": read_places(rules["forced"])} if "forced" in rules else dict(rules)


def read_places(given: list[str]) -> dict[int, str]:
    """``["0:The"]`` as ``{0: "The"}``."""
    found = {}
    for entry in given:
        place, colon, token = entry.partition(":")
        if not colon or not place.isdecimal():
            raise UserError(f"--force {entry} is not understood; give PLACE:TOKEN, such as 0:The")
        found[int(place)] = token
    return found


def read_prompts(options: SampleOptions) -> tuple[str, list[Any]]:
    """What kind of prompts they are, and the prompts."""
    if options.fill:
        return "fill", list(options.fill)
    if options.ids is not None:
        return "ids", [read_ids(text) for text in options.ids]
    return "prompt", list(options.prompt or [""])


def read_ids(text: str) -> list[int]:
    """``"1 2 3"`` or ``"1, 2, 3"``."""
    words = [word for word in re.split(r"[\s,]+", text.strip().strip("[]")) if word]
    if not all(re.fullmatch(r"\d+", word, re.ASCII) for word in words):
        raise UserError(f"--ids {text!r} is not understood; give token ids, such as '1 2 3'")
    return [int(word) for word in words]


def whole(model: Model, prompt: Any, row: Generation, source: str) -> str:
    """A prompt and what was made of it, as text; as ids where there is no tokenizer."""
    if row.text is None:
        return " ".join(map(str, [*(prompt if source == "ids" else []), *row.tokens]))
    filled = source == "fill" or (source == "ids" and model.config.blank_id in prompt)
    if filled:
        return row.text
    return f"{prompt if source == 'prompt' else model.decode(prompt)}{row.text}"
