"""Gaps that others measured, by the estimators of this fit, to lay beside it.

    beside_of(["c4_isoflop.csv"], ("arm", "mdm"), resamples=1000)     # the paper's, and that of each file
    paper_gap()                                                      # {"name", "gap": rows, "until", "notes"}
    file_gap("c4_isoflop.csv", resamples=1000)                       # runs that others published, or a fit.json

The paper's table gives optima and no runs: its lines have intervals by Student's t, its interpolated minima none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unmask.errors import UserError
from unmask.scaling.cost import Cost
from unmask.scaling.fit import fit_sweep, result_of
from unmask.scaling.gap import Side, gap_rows
from unmask.scaling.isoflop import Lines, Minima, fit_lines
from unmask.scaling.options import FitOptions
from unmask.scaling.published import C4_NOTE, paper_line, paper_minima
from unmask.scaling.sources import read_fit

AUTOREGRESSIVE = ("arm", "ar")  # references that the published gaps have as well
DRAWS = 4000
SEED = 0
WITHDRAWN = "c4_isoflop"  # as the file of those runs is called
DRAWN = ("overlap", "approach2")  # forms that are laid beside: those that rest on minima


def beside_of(
    files: Sequence[str], pair: tuple[str, str] | None, resamples: int, seed: int = 0
) -> list[dict[str, Any]]:
    """The paper's where it is of the same kind, and each file's; their axes are called as the pair's are."""
    if pair is None:
        if files:
            raise UserError(
                "--beside compares gaps, and there is none here; leave it out, or name objectives by --pair"
            )
        return []
    gaps = [paper_gap()] if pair[0] in AUTOREGRESSIVE else []
    gaps += [file_gap(name, resamples, seed) for name in files]
    for other in gaps:
        names = dict(zip(other.pop("pair"), pair, strict=True))
        other["gap"] = [{**row, "axis": names[row["axis"]]} for row in other["gap"]]
    return gaps


def file_gap(name: str, resamples: int, seed: int = 0) -> dict[str, Any]:
    """Of runs in any form that `scale fit` reads, or of a fit file. Raises `UserError` where it holds no gap."""
    path = Path(name)
    if path.suffix == ".json" or (path / "fit.json").is_file():
        fit = read_fit(path, "--beside")
    else:
        fit = result_of(fit_sweep(FitOptions(name, resamples=resamples, seed=seed)))
    rows = drawn_rows(fit["gap"])
    if not rows or not fit.get("pair"):
        why = next((row.get("why") for row in fit["gap"] if row.get("why")), "it has one objective")
        raise UserError(f"--beside {name} has no gap: {why}; leave it out")
    source = fit["runs"]["source"]
    until = max(entry["flops"][1] for entry in fit["ranges"].values())
    return {"name": Path(source).stem, "pair": fit["pair"], "gap": rows, "until": until, "notes": notes_of(source)}


def drawn_rows(gap: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of a gap that are laid beside."""
    return [row for row in gap if row["form"] in DRAWN and row["flops"] is not None]


def notes_of(source: str) -> list[str]:
    """What must be said wherever these runs are named."""
    return [C4_NOTE] if WITHDRAWN in source else []


def paper_gap() -> dict[str, Any]:
    """Rows of `gap_rows` from the paper's five optima an objective."""
    rng = np.random.default_rng(SEED)
    arm, mdm = (_side(name, rng) for name in ("arm", "mdm"))
    rows, until = drawn_rows(gap_rows(arm, mdm)), float(arm.flops_K.max())
    return {"name": "SMDM, the paper", "pair": ["arm", "mdm"], "gap": rows, "until": until, "notes": []}


def _side(name: str, rng: np.random.Generator) -> Side:
    flops, params, tokens, loss = map(np.array, paper_minima(name).values())
    yes, none = np.ones(len(flops), dtype=bool), np.array([])
    logs = (np.log(flops), np.log(params), np.log(tokens), np.log(6 * params))
    parabolas = Minima(*logs, loss, yes, yes, none, none, none)
    drawn: dict[str, np.ndarray] = {}
    for letter, which in (("n", "params"), ("d", "tokens"), ("loss", "loss")):
        drawn[f"{letter}_coefficient"], drawn[f"{letter}_exponent"] = paper_line(name, which).draws(DRAWS, rng)
    drawn |= {"m_coefficient": 6 * drawn["n_coefficient"], "m_exponent": drawn["n_exponent"]}
    return Side(name, flops, Cost(), minima=parabolas, lines=fit_lines(parabolas), drawn_lines=Lines(**drawn))
