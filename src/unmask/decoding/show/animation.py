"""Text appearing out of masks as one animated picture, for a README or a slide: an SVG of a few kilobytes, no script.

    write_svg("out.svg", generations, model)        # or write_svg("out.svg", load_trace("out.json"))

    unmask sample RUN --prompt "The people of the" --length 48 --order confidence --svg out.svg

Every token has its place from the beginning, as a grey bar of its width; it appears at its step, in the colour of the
probability it was written with, and darkens to plain ink. A position that becomes a mask again turns grey again. Where
motion is not wanted (`prefers-reduced-motion`) the finished text stands still.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from unmask.decoding.generation import Generation
from unmask.decoding.show.trace import Trace, visible
from unmask.errors import UserError
from unmask.files import write_whole
from unmask.model.folder import Model
from unmask.style import AT_NIGHT, COLOURS

COLUMNS = 72  # characters a line
WIDTH, HEIGHT, MARGIN = 8.4, 24.0, 14.0  # of a character and a line, in user units
SECONDS, REST = 0.35, 2.5  # a step, and how long the finished text stays
MOST_SECONDS = 12.0  # all steps together take no longer

STYLE = """text { font: 14px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre; }
text { fill: #23262c; }
.prompt { font-weight: 700; } .mask { fill: #d5d9df; } .paper { fill: #ffffff; }
.sure { fill: SURE; } .unsure { fill: UNSURE; }
@media (prefers-color-scheme: dark) { text { fill: #e4e7ec; } .mask { fill: #4a515d; } .paper { fill: #14161a; }
 .sure { fill: SURE_NIGHT; } .unsure { fill: UNSURE_NIGHT; } }
@media (prefers-reduced-motion: reduce) { .mask, .flash { display: none; } text { opacity: 1 !important; } }"""


@dataclass
class Place:
    """A token's piece of a line."""

    text: str
    column: int
    line: int
    prompt: bool
    position: int


def write_svg(path: str | Path, generations: Sequence[Generation] | Trace, model: Model | None = None) -> Path:
    """Writes the first generation as a picture and returns its path; an old file is replaced.

    Raises `UserError` for a generation without a trace and a file that cannot be written.
    """
    if not isinstance(generations, Trace):
        if model is None:
            raise UserError("write_svg needs the model for the tokens' texts; give it, or a trace that load_trace read")
        generations = Trace.of(generations, model)
    return write_whole(path, render(generations))


def render(trace: Trace) -> str:
    """The picture of the first row."""
    row = trace.generations[0]
    shown = appearances(row, trace.mask_id)
    steps = 1 + max((at for spans in shown.values() for at, _, _ in spans), default=0)
    pace = min(SECONDS, MOST_SECONDS / steps)
    whole = pace * (steps + 1) + REST
    places = list(layout(trace, row))
    width = COLUMNS * WIDTH + 2 * MARGIN
    height = (1 + max((place.line for place in places), default=0)) * HEIGHT + 2 * MARGIN
    style = STYLE
    for word, colour in (
        *(("UNSURE_NIGHT", AT_NIGHT["arm"]), ("SURE_NIGHT", AT_NIGHT["mdm"])),
        *(("UNSURE", COLOURS["arm"]), ("SURE", COLOURS["mdm"])),
    ):
        style = style.replace(word, colour)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{escape(label(trace, row, steps), quote=True)}">',
        f"<style>{style}</style>",
        f'<rect class="paper" width="{width:.0f}" height="{height:.0f}" rx="8"/>',
    ]
    for place in places:
        parts += drawn(place, [] if place.prompt else shown.get(place.position, []), pace, whole)
    return "\n".join([*parts, "</svg>", ""])


def appearances(row: Generation, mask_id: int) -> dict[int, list[tuple[int, float, int | None]]]:
    """By position: (step, probability, step at which it is a mask again or None) of every time a token was written.

    Steps that wrote nothing are left out, so that nothing stands still.
    """
    events = row.trace or []
    number = {step: index for index, step in enumerate(sorted({event["step"] for event in events}))}
    found: dict[int, list[tuple[int, float, int | None]]] = {}
    for event in events:
        spans, step = found.setdefault(event["position"], []), number[event["step"]]
        if spans and spans[-1][2] is None:
            spans[-1] = (spans[-1][0], spans[-1][1], step)
        if event["token"] != mask_id:
            spans.append((step, event["probability"], None))
    return found


def layout(trace: Trace, row: Generation) -> Iterator[Place]:
    """Tokens in lines of `COLUMNS` characters, broken between tokens; nothing behind an end of sequence."""
    column = line = 0
    new = set(row.positions)
    begins_behind_an_end = 1 if row.canvas[:1] and row.canvas[0] in trace.eos_ids and 0 not in new else 0
    for position, token in enumerate(row.canvas[begins_behind_an_end:], start=begins_behind_an_end):
        if token in trace.eos_ids and position in new:
            return
        text = visible(trace.texts.get(token, " ")).replace("\n", "\u21b5").replace("\t", " ")
        if column + len(text) > COLUMNS and column:
            column, line, text = 0, line + 1, text.lstrip(" ") or text
        yield Place(text, column, line, position not in new, position)
        column += len(text)


def drawn(place: Place, spans: list[tuple[int, float, int | None]], pace: float, whole: float) -> Iterator[str]:
    """A token that is there all the time, or one with its bar and the moments at which it comes and goes."""
    bare = place.text.strip(" ") or place.text
    before = len(place.text) - len(place.text.lstrip(" ")) if bare != place.text else 0
    x, y = MARGIN + (place.column + before) * WIDTH, MARGIN + place.line * HEIGHT
    wide = len(bare) * WIDTH
    at = f'x="{x:.1f}" y="{y + 16:.1f}" textLength="{wide:.1f}"'
    text = escape(bare, quote=False)
    if not spans:
        kind = ' class="prompt"' if place.prompt else ""
        yield f"<text {at}{kind}>{text}</text>"
        return
    last, probability, gone = spans[-1]
    if gone is not None:  # the row ended with a mask there
        yield f'<rect class="mask" x="{x + 1:.1f}" y="{y + 3:.1f}" width="{wide - 2:.1f}" height="17" rx="4"/>'
        return
    turns = [(0, "1")]  # (the step after which, opacity of the bar)
    for step, _, until in spans:
        turns += [(step + 1, "0"), *([] if until is None else [(until + 1, "1")])]
    times, values = [f"{pace * at / whole:.4f}" for at, _ in turns], [value for _, value in turns]
    keys = f'keyTimes="{";".join(times)}" dur="{whole:.2f}s" repeatCount="indefinite" calcMode="discrete"'
    hidden = ";".join("0" if value == "1" else "1" for value in values)
    begin = pace * (last + 1)
    comes = f"{begin / whole:.4f}"  # at once, and then it fades
    flash = f"0;{comes};{comes};{min(1.0, (begin + 2.5 * pace) / whole):.4f};1"
    kind = "sure" if probability >= 0.5 else "unsure"
    yield (
        f'<rect class="mask" x="{x + 1:.1f}" y="{y + 3:.1f}" width="{max(wide - 2, 2):.1f}" height="17" rx="4">'
        f'<animate attributeName="opacity" values="{";".join(values)}" {keys}/></rect>'
    )
    yield f'<text {at} opacity="0">{text}<animate attributeName="opacity" values="{hidden}" {keys}/></text>'
    yield (
        f'<rect class="flash {kind}" x="{x:.1f}" y="{y + 20:.1f}" width="{wide:.1f}" height="2.5" opacity="0">'
        f'<animate attributeName="opacity" values="0;0;1;0;0" keyTimes="{flash}" dur="{whole:.2f}s" '
        'repeatCount="indefinite"/></rect>'
    )


def label(trace: Trace, row: Generation, steps: int) -> str:
    """What the picture says to those who do not see it."""
    final = "".join(place.text for place in layout(trace, row))
    return f"{len(row.tokens)} tokens appear out of masks in {steps} steps: {final}"
