"""Small parts of the scaling report's page: numbers with their intervals, powers of ten, cards, pictures, as HTML.

power(3e18)                             # 3 × 10<sup>18</sup>
bounds(fit["approach2"]["arm"]["n_exponent"], ".3f")
"""

from __future__ import annotations

from html import escape
from typing import Any

RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def picture(svg: str | None, caption: str) -> str:
    """An inline picture over the whole width, with what to see in it."""
    if svg is None:
        return ""
    return f'<div class="scroll"><div style="min-width: 42rem">{svg}</div></div><p class="soft">{caption}</p>'


def power(number: float) -> str:
    """3 × 10 to the 18, as HTML."""
    digits, exponent = f"{number:.2e}".split("e")
    return f"{float(digits):g} × 10<sup>{int(exponent)}</sup>"


def plain_power(number: float) -> str:
    """3 × 10¹⁸ where no HTML goes, as in the head of a table; it does not break."""
    digits, exponent = f"{number:.2e}".split("e")
    return f"{float(digits):g}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}10{str(int(exponent)).translate(RAISED)}"


def card(name: str, value: str, tag: str, colour: str) -> str:
    """A figure of the headline."""
    colour = colour if colour in ("arm", "mdm", "xz") else "unigram"
    return (
        f'<div class="card" style="--colour: var(--{colour})">{escape(name)}<b>{escape(value)}</b>'
        f'<span class="tag">{escape(tag)}</span></div>'
    )


def known(entry: Any, key: str) -> bool:
    """Whether a fit has a number there, and not null with its reason."""
    return isinstance(entry, dict) and isinstance(entry.get(key), dict) and entry[key].get("estimate") is not None


def within(value: dict[str, Any], form: str) -> str:
    """0.535 ± 0.046, the half being that of the interval."""
    if value["low"] is None or value["high"] is None:
        return format(value["estimate"], form)
    return f"{value['estimate']:{form}} ± {(value['high'] - value['low']) / 2:{form}}"


def bounds(value: dict[str, Any], form: str) -> str:
    """[low, high], or a dash."""
    if value.get("low") is None and value.get("high") is None:
        return "–"
    low, high = ("…" if value.get(end) is None else format(value[end], form) for end in ("low", "high"))
    return f"[{low}, {high}]"


def cell(value: Any) -> str:
    """An estimate with its interval below."""
    if not isinstance(value, dict) or value.get("estimate") is None:
        return "–"
    form = ",.0f" if abs(value["estimate"]) >= 100 else ".1f" if abs(value["estimate"]) >= 10 else ".3f"
    ends = bounds(value, form)
    return format(value["estimate"], form) + (f'<br><span class="soft">{ends}</span>' if ends != "–" else "")
