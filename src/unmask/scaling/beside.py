"""Gaps that others measured, by the estimators of this fit, to lay beside it.

    paper_gap()                                      # the paper's optima: {"name", "gap": rows, "notes"}
    gap_of_file("c4_isoflop.csv", ("arm", "mdm"))    # runs that others published, or a fit.json

The paper's table gives optima and no runs: its lines have intervals by Student's t, its interpolated minima none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from unmask.errors import UserError
from unmask.scaling.cost import Cost
from unmask.scaling.gap import Side, gap_rows
from unmask.scaling.isoflop import Lines, Minima, fit_lines
from unmask.scaling.published import C4_NOTE, paper_line, paper_minima

DRAWS = 4000
SEED = 0
WITHDRAWN = "c4_isoflop"  # as the file of those runs is called
DRAWN = ("overlap", "approach2")  # forms that are laid beside: those that rest on minima


def paper_gap() -> dict[str, Any]:
    """Rows of `gap_rows` from the paper's five optima an objective."""
    rng = np.random.default_rng(SEED)
    arm, mdm = (_side(name, rng) for name in ("arm", "mdm"))
    rows = [row for row in gap_rows(arm, mdm) if row["form"] in DRAWN and row["flops"] is not None]
    return {"name": "SMDM, the paper", "gap": rows, "notes": []}


def _side(name: str, rng: np.random.Generator) -> Side:
    minima = paper_minima(name)
    flops, params, tokens, loss = (
        np.array([getattr(minimum, which) for minimum in minima]) for which in ("flops", "params", "tokens", "loss")
    )
    yes, none = np.ones(len(flops), dtype=bool), np.array([])
    found = Minima(
        np.log(flops), np.log(params), np.log(tokens), np.log(6 * params), loss, yes, yes, none, none, none
    )
    drawn: dict[str, np.ndarray] = {}
    for letter, which in (("n", "params"), ("d", "tokens"), ("loss", "loss")):
        drawn[f"{letter}_coefficient"], drawn[f"{letter}_exponent"] = paper_line(name, which).draws(DRAWS, rng)
    drawn |= {"m_coefficient": 6 * drawn["n_coefficient"], "m_exponent": drawn["n_exponent"]}
    return Side(name, flops, Cost(), minima=found, lines=fit_lines(found), drawn_lines=Lines(**drawn))
