"""One self-contained HTML page on which decoding can be watched, step by step.

    write_html("out.html", generations, model)
    write_html("out.html", load_trace("out.json"))

    unmask sample RUN --prompt "My fellow" --length 64 --html out.html

The text with its masks under a slider, the order in which positions were committed (position x step), and what each
step left and wrote. The page is page.html with page.css and two scripts in it, and the trace as JSON, which the script
puts into the page as text, never as markup. It asks for nothing from outside, which its policy also forbids.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from unmask.decoding.generation import Generation
from unmask.decoding.show.trace import Trace, visible
from unmask.errors import UserError
from unmask.files import write_whole
from unmask.model.folder import Model

MASK = -1  # in the page's data
REASONS = {
    "length": "everything asked for was written",
    "eos": "an end of sequence was written",
    "stop": "a stop string was written",
    "filled": "the gaps are filled",
}


def write_html(
    path: str | Path,
    generations: Sequence[Generation] | Trace,
    model: Model | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Writes the page and returns its path; an old file is replaced.

    generations: of one call, with the model that wrote them; or a loaded `Trace`, which needs no model.
    settings: what the page says about the call, besides what the generations know.

    Raises `UserError` for a generation without a trace and a file that cannot be written.
    """
    if isinstance(generations, Trace):
        return write_whole(path, render(generations))
    if model is None:
        raise UserError("write_html needs the model for the tokens' texts; give it, or a trace that load_trace read")
    return write_whole(path, render(Trace.of(generations, model, settings)))


def render(trace: Trace) -> str:
    """The whole page."""
    home = resources.files(__package__)
    parts = {name: (home / f"page.{name}").read_text(encoding="utf-8") for name in ("html", "css", "js", "pictures.js")}
    texts = [visible(text_of(trace, generation)) for generation in trace.generations]
    page = parts.pop("html")
    parts["data"] = in_script(page_data(trace))
    parts["texts"] = "\n".join(f"<pre>{escape(text)}</pre>" for text in texts)
    head, *pieces = page.split("{{")  # what goes in is not searched for places again
    filled = [parts[name] + rest for name, _, rest in (piece.partition("}}") for piece in pieces)]
    return head + "".join(filled)


def in_script(data: Any) -> str:
    """JSON that no token can end or turn into markup."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def page_data(trace: Trace) -> dict[str, Any]:
    """What page.js reads: the vocabulary that appears, and the rows; tokens are indices into `tokens`."""
    index = {token: at for at, token in enumerate(trace.texts)}
    index[trace.mask_id] = MASK
    return {
        "kind": trace.kind,
        "tokens": [[token, visible(text)] for token, text in trace.texts.items()],
        "eos": index.get(trace.eos_id, MASK) if trace.eos_id is not None else MASK,
        "settings": [[name, spoken(value)] for name, value in trace.settings.items() if value is not None],
        "rows": [row_data(trace, generation, index) for generation in trace.generations],
    }


def row_data(trace: Trace, generation: Generation, index: Mapping[int, int]) -> dict[str, Any]:
    """One row: the canvas before the first step, then the events as columns."""
    events = generation.trace or []
    touched = {event["position"] for event in events}
    # Rows that ended early lost what was committed behind their end; it is shown all the same.
    width = max([len(generation.canvas), *(position + 1 for position in touched)])
    start = [index[token] for token in generation.canvas] + [MASK] * (width - len(generation.canvas))
    for position in touched:
        start[position] = MASK
    new = set(generation.positions)
    ends = [p for p in generation.positions if generation.canvas[p] in trace.eos_ids and generation.stopped == "eos"]
    words = text_of(trace, generation).split()
    return {
        "name": " ".join(words)[:60] or "(no text)",
        "start": start,
        "end": min([len(generation.canvas), *(position + 1 for position in ends)]),  # what follows is not in the text
        "forced": sorted(new - touched),
        "step": [event["step"] for event in events],
        "position": [event["position"] for event in events],
        "token": [index[event["token"]] for event in events],
        "probability": [round(event["probability"], 4) for event in events],
        "facts": facts(generation),
    }


def facts(generation: Generation) -> list[list[str]]:
    """What there is to say about a row, in words."""
    said = [
        ["new tokens", f"{len(generation.tokens)}"],
        ["passes of the network", f"{generation.nfe}"],
        ["tokens a pass", f"{generation.tokens_per_pass:.2f}"],
        ["ended because", REASONS.get(generation.stopped, generation.stopped)],
    ]
    if generation.seconds is not None:
        said.append(["time", f"{generation.seconds:.2f} s"])
    if generation.seconds_to_first is not None:
        said.append(["to the first token", f"{generation.seconds_to_first:.2f} s"])
    if generation.computed:
        said.append(["positions computed", f"{generation.computed:,}"])
    return [*said, ["seed", "{}, row {}".format(*generation.seed)]]


def spoken(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def text_of(trace: Trace, generation: Generation) -> str:
    """The whole canvas as text, token by token."""
    return "".join(trace.texts.get(token, "") for token in generation.canvas)
