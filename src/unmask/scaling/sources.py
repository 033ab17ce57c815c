"""What a prediction rests on: the paper's optima, our own shipped fit, or a fit file; each answers the same questions.

    source = open_source("paper")                    # or "ours", or the path of a fit.json, or None for the default
    source.frontier("mdm", 1e21)                     # {"params": (estimate, low, high), "tokens": ..., "loss": ...}
    source.flops_at("mdm", 2.5)                      # least compute that reaches a loss
    source.loss("mdm", 1e9, 2e10, unique=None)       # of a size trained on so many tokens

Frontiers are the lines of approach 2; the loss of any size and tokens is approach 3's. Intervals (95%) are of the line,
not of one run that will scatter about it: of a fit file from its resamples, of the paper's five optima by Student's t.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from unmask.errors import UserError
from unmask.files import parse_json
from unmask.scaling.cost import Cost
from unmask.scaling.data_constrained import Repeats
from unmask.scaling.isoflop import Lines
from unmask.scaling.law import FIELDS, Law
from unmask.scaling.published import PAPER, Interval, paper_line, paper_minima

OURS = Path(__file__).with_name("ours.json")
NO_DRAWS = "the fit file holds no draws, so there are no intervals; make it by unmask scale report"
QUANTITIES = ("params", "tokens", "loss")


class Source(Protocol):
    """`name` in words, `rule` of its FLOPs, `objectives`, and `ranges`: what was run, by objective and quantity."""

    name: str
    rule: str
    objectives: list[str]
    ranges: dict[str, dict[str, tuple[float, float]]]
    notes: list[str]

    def frontier(self, objective: str, flops: float) -> dict[str, Interval]: ...

    def flops_at(self, objective: str, loss: float) -> Interval: ...

    def loss(self, objective: str, params: float, tokens: float, unique: float | None) -> Interval: ...

    def flops_of(self, params: float, tokens: float) -> float: ...

    def constrained(self, objective: str, flops: float, unique: float) -> dict[str, Interval]: ...


def open_source(name: str | None) -> Source:
    """`paper`, `ours`, a fit file; None: ours where it is shipped, else the paper. Raises `UserError` for others."""
    if name is None:
        name = "ours" if OURS.is_file() else "paper"
    if name == "paper":
        return PaperSource()
    if name == "ours":
        if not OURS.is_file():
            raise UserError("no fit of our own is shipped yet; give --from paper, or --from FILE of unmask scale report")
        return FitSource(read_fit(OURS), "the fit of our own sweep")
    return FitSource(read_fit(Path(name)), name)


def read_fit(path: Path) -> dict[str, Any]:
    """A fit file, or a report's folder that holds one. Raises `UserError` for what is none."""
    if path.is_dir():
        path = path / "fit.json"
    mend = "give paper, ours, or the fit.json that unmask scale report writes"
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--from {path} cannot be read: {error.strerror}; {mend}") from error
    except ValueError as error:
        raise UserError(f"--from {path} cannot be read as JSON: {str(error).splitlines()[0]}; {mend}") from error
    if not isinstance(found, dict) or not isinstance(found.get("approach2"), dict) or "gap" not in found:
        raise UserError(f"--from {path} is no fit: it has no approach2 and gap; {mend}")
    return found


class PaperSource:
    """The paper's optima, by power laws through them; no law of L(N, D) can be had from optima alone."""

    name = PAPER
    rule = "6nd"
    objectives = ["arm", "mdm"]
    notes: list[str] = []

    def __init__(self) -> None:
        self.ranges = {}
        for name in self.objectives:
            minima = paper_minima(name)
            self.ranges[name] = {
                which: (min(found), max(found))
                for which in ("flops", *QUANTITIES)
                for found in [[getattr(minimum, which) for minimum in minima]]
            }

    def frontier(self, objective: str, flops: float) -> dict[str, Interval]:
        return {which: paper_line(objective, which).at(flops) for which in QUANTITIES}

    def flops_at(self, objective: str, loss: float) -> Interval:
        return paper_line(objective, "loss").inverse(loss)

    def loss(self, objective: str, params: float, tokens: float, unique: float | None) -> Interval:
        raise UserError("the paper's table holds optima alone, so no loss of another size or of repeated data; "
                        "give --flops or --loss, or --from FILE of unmask scale report")

    def flops_of(self, params: float, tokens: float) -> float:
        return 6 * params * tokens

    def constrained(self, objective: str, flops: float, unique: float) -> dict[str, Interval]:
        self.loss(objective, 1, 1, unique)
        raise AssertionError


