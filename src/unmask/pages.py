"""The shell of every page that is made here: one self-contained HTML file, light and dark, readable on a telephone.

    page("Title", [section("Part", table(["name", "value"], [["a", "1"]], numbers=[1]) + inline_svg(text, "a line"))])

Style and pictures are inline, so a file can be mailed; colours are those of `style`. What a caller gives is HTML, so it
escapes what users or models wrote.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from unmask.style import AT_NIGHT, COLOURS, INK, LINE, SOFT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = """
:root { color-scheme: light dark; --ink: #23262c; --soft: #646a73; --line: #e3e6ea; --paper: #fff; --tint: #f6f7f9;
  --mask: #d5d9df; --frame: #23262c; PALETTE }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7ec; --soft: #a0a7b2; --line: #363c46; --paper: #1d2026;
  --tint: #14161a; --mask: #4a515d; --frame: #6ea8fe; DARK } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--tint); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0 .3rem; }
h2 { font-size: 1.2rem; margin: 0 0 .5rem; }
h3 { font-size: 1rem; margin: 1.3rem 0 .3rem; }
p { margin: .4rem 0 .8rem; } .soft { color: var(--soft); font-size: .9rem; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: .6rem; padding: 1.1rem 1.2rem;
  margin-top: 1rem; overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .7rem; margin: 1rem 0; }
.card { background: var(--paper); border: 1px solid var(--line); border-top: .3rem solid var(--colour);
  border-radius: .5rem; padding: .7rem .9rem; }
.card b { display: block; font-size: 1.75rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: .8rem; }
.pair svg { width: 100%; height: auto; display: block; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .94rem; }
th, td { text-align: left; overflow-wrap: normal; padding: .35rem .8rem .35rem 0;
  border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; } .number { text-align: right; } td.number { white-space: nowrap; }
sup { line-height: 0; }
.sample { border-left: .25rem solid var(--colour); padding: .1rem 0 .1rem .8rem; margin: .6rem 0; }
.text { white-space: pre-wrap; font-family: Georgia, "Times New Roman", serif; }
.prompt { font-weight: 700; } .tag { color: var(--soft); font-size: .85rem; }
.steps { border-collapse: collapse; margin-bottom: .9rem; } .steps td { border: 0; padding: .16rem .5rem .16rem 0; }
.steps .step { color: var(--soft); font-size: .8rem; width: 2.6rem; text-align: right; padding-top: .3rem;
  white-space: nowrap; } .steps .canvas { overflow-wrap: anywhere; } .words { min-width: 9rem; }
.canvas { font: .88rem/1.75 ui-monospace, Menlo, Consolas, monospace; }
.t { white-space: pre-wrap; border-radius: .2rem; padding: .08rem .05rem; }
.t[style] { color: #23262c; }
.mask { background: var(--mask); color: transparent; border-radius: .2rem; margin: 0 1px; padding: .08rem .55rem; }
.new { outline: 2px solid var(--frame); outline-offset: -1px; }
.bar { display: inline-block; height: .8rem; width: 9rem; border-radius: .2rem; vertical-align: middle;
  background: linear-gradient(90deg, COLOURS); }
@media (max-width: 40rem) { main { padding: .8rem .6rem 3rem; } section { padding: .8rem .8rem; }
  body { font-size: 15px; } .canvas { font-size: .78rem; }
  th, td { overflow-wrap: anywhere; } .words { min-width: 0; } td.number { white-space: normal; }
  .stack tr, .stack td { display: block; } .stack tr:first-child { display: none; }
  .stack tr { border-bottom: 1px solid var(--line); padding: .4rem 0; }
  .stack td { border: 0; padding: .1rem 0; text-align: right; }
  .stack td[data-name]:not([data-name=""])::before { content: attr(data-name); color: var(--soft); float: left;
    padding-right: 1rem; }
  .stack td:first-child { text-align: left; font-weight: 600; } .stack td::after { content: ""; display: block;
    clear: both; } }
"""
# Confidence from 0 to 1: red, amber, green, light enough for dark text.
STOPS = ((248, 180, 170), (252, 226, 160), (158, 217, 165))
NO_METADATA = {"Date": None, "Creator": None, "Type": None, "Format": None}


def page(title: str, sections: Iterable[str]) -> str:
    """A self-contained page of these parts, in the colours of the plots by day and by night."""
    style = STYLE.replace("COLOURS", ", ".join(confidence_colour(x / 4) for x in range(5)))
    for word, colours in (("PALETTE", COLOURS), ("DARK", AT_NIGHT)):
        style = style.replace(word, " ".join(f"--{name}: {colour};" for name, colour in colours.items()))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>\n<body><main>\n"
        + "\n".join(sections)
        + "\n</main></body></html>\n"
    )


def section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """`rows` hold HTML; columns in `numbers` are set to the right. Wide ones become lists on a narrow screen."""
    stack = len(head) > 3

    def cell(kind: str, column: int, content: str) -> str:
        name = "number" if column in numbers else "words"
        name_of_column = f' data-name="{escape(head[column])}"' if stack and kind == "td" else ""
        return f"<{kind} class={name}{name_of_column}>{content}</{kind}>"

    top = "".join(cell("th", i, escape(name)) for i, name in enumerate(head))
    body = "".join("<tr>" + "".join(cell("td", i, x) for i, x in enumerate(row)) + "</tr>" for row in rows)
    return f'<div class="scroll"><table{" class=stack" if stack else ""}><tr>{top}</tr>{body}</table></div>'


def confidence_colour(probability: float) -> str:
    place = min(max(probability, 0.0), 1.0) * (len(STOPS) - 1)
    left = min(int(place), len(STOPS) - 2)
    mixed = (round(a + (b - a) * (place - left)) for a, b in zip(STOPS[left], STOPS[left + 1], strict=True))
    return f"rgb({', '.join(map(str, mixed))})"


def svg_of(figure: Figure) -> str:
    """A whole SVG file, without a background."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata=NO_METADATA)
    return file.getvalue()


def inline_svg(text: str, label: str) -> str:
    """An SVG file as an element that scales with the page, without the file's header, its colours the page's."""
    named = f'role="img" aria-label="{escape(label)}"'
    text = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', lambda _: named, text, count=1)
    for name, colour in {**COLOURS, "ink": INK, "soft": SOFT, "line": LINE}.items():
        text = text.replace(colour, f"var(--{name}, {colour})")
    return text[text.index("<svg") :]
