"""Which runs take part in a fit: conditions that a person gives, the plateau's rule, and the pair that is compared.

    runs, out = exclude(runs, ["objective=mdm,flops<1e13", "params>1e9"])
    runs, out = exclude_plateau(runs, reference="arm")

A masked model first learns nothing but the unigram for D0 tokens, and runs that end soon after bend the fit. They are
left out by their tokens, D < 4 × the median D0 of their objective, and never by their final loss, which would select on
the result.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from unmask.errors import UserError, nearest
from unmask.scaling.table import LeftOut, Runs

FIELDS = ("objective", "flops", "params", "tokens", "loss", "seed", "trunk", "unique")
CONDITION = re.compile(r"\s*([a-z]+)\s*(<=|>=|!=|=|<|>)\s*(.+?)\s*")
TIMES_D0 = 4.0
USUAL_PAIR = ("arm", "mdm")
SAME = 1e-6  # relative


def exclude(runs: Runs, conditions: Sequence[str]) -> tuple[Runs, list[LeftOut]]:
    """Without the runs that meet any of these; one holds several, all to be met, with commas between.

    Raises `UserError` for what is no condition, for one that no run meets, and where no run is left.
    """
    left = np.ones(len(runs), dtype=bool)
    out: list[LeftOut] = []
    for words in conditions:
        met = np.ones(len(runs), dtype=bool)
        for part in words.split(","):
            met &= _met(runs, part, words)
        if not met.any():
            raise UserError(f"--exclude '{words}': no run meets it; leave it out")
        out += runs.left_out(met & left, f"--exclude {words}")
        left &= ~met
    if not left.any():
        raise UserError("--exclude leaves no run; leave one out")
    return runs.take(left), out


def _met(runs: Runs, part: str, words: str) -> np.ndarray:
    match = CONDITION.fullmatch(part)
    if match is None:
        raise UserError(f"--exclude '{words}': '{part}' is no condition; write such as objective=mdm,flops<1e19")
    name, sign, value = match.groups()
    if name not in FIELDS:
        raise UserError(
            f"--exclude '{words}': there is no field '{name}'{nearest(name, FIELDS)}; one of {', '.join(FIELDS)}"
        )
    values = getattr(runs, name)
    if values.dtype == object:
        if sign not in ("=", "!="):
            raise UserError(f"--exclude '{words}': {name} is a word; compare it by = or !=")
        return (values == value) if sign == "=" else (values != value)
    try:
        number = float(value)
    except ValueError as error:
        raise UserError(f"--exclude '{words}': {name} is compared with '{value}'; give a number") from error
    equal = np.abs(values - number) <= SAME * abs(number)
    below, above = (values < number) & ~equal, (values > number) & ~equal
    return {"=": equal, "!=": ~equal, "<": below, ">": above, "<=": below | equal, ">=": above | equal}[sign]


def exclude_plateau(runs: Runs, reference: str | None) -> tuple[Runs, list[LeftOut]]:
    """Without those of fewer than four times the median D0 tokens; the reference objective is kept whole."""
    short = np.zeros(len(runs), dtype=bool)
    for name in runs.names:
        d0 = median_d0(runs.of(name))
        if name != reference and d0 is not None:
            short |= (runs.objective == name) & (runs.tokens < TIMES_D0 * d0)

    def reason(i: int) -> str:
        d0 = median_d0(runs.of(runs.objective[i]))
        return f"{runs.tokens[i]:.3g} tokens are fewer than {TIMES_D0:g} x the plateau's {d0:.3g}"

    return runs.take(~short), runs.left_out(short, reason)


def median_d0(runs: Runs) -> float | None:
    """Of the runs of one objective that say it."""
    known = runs.plateau[np.isfinite(runs.plateau) & (runs.plateau > 0)]
    return float(np.median(known)) if len(known) else None


def chosen_pair(names: Sequence[str], pair: Sequence[str] | None) -> tuple[tuple[str, str] | None, str | None]:
    """(reference and the other, None), or (None, why there is no pair). Raises `UserError` for unknown names."""
    if pair is not None:
        for name in pair:
            if name not in names:
                there = ", ".join(names)
                raise UserError(f"--pair names '{name}'{nearest(name, names)}, and the objectives there are {there}")
        if pair[0] == pair[1]:
            raise UserError(f"--pair names '{pair[0]}' twice; give two objectives")
        return (pair[0], pair[1]), None
    if len(names) == 1:
        return None, f"there is one objective, {names[0]}; a gap needs two"
    if set(USUAL_PAIR) <= set(names):
        return USUAL_PAIR, None
    if len(names) == 2:
        first = sorted(names, key=lambda name: name not in ("arm", "ar"))
        return (first[0], first[1]), None
    return None, f"there are {len(names)} objectives ({', '.join(names)}); name two with --pair A B"
