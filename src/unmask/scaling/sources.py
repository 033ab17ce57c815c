"""What a prediction rests on: the paper's optima, our own shipped fit, or a fit file; each answers the same questions.

    source = open_source("paper")                    # or "ours", or the path of a fit.json, or None for the default
    source.frontier("mdm", 1e21)                     # {"params": (estimate, low, high), "tokens": ..., "loss": ...}
    source.reach("mdm", 2.5)                         # {"flops": ..., "params": ..., "tokens": ...} of a loss
    source.loss("mdm", 1e9, 2e10)                    # of a size trained on so many tokens

Frontiers are the lines of approach 2; the loss of any size and tokens is approach 3's. Intervals (95%) are of the line,
not of one run that scatters about it: of a fit file from its draws, of the paper's five optima by Student's t.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import methodcaller
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple, Protocol

import numpy as np

from unmask.errors import UserError
from unmask.files import parse_json
from unmask.scaling.constrained import QUOKKA_FIELDS, Muennighoff, Quokka
from unmask.scaling.cost import Cost
from unmask.scaling.isoflop import Lines
from unmask.scaling.law import FIELDS, Law, Point
from unmask.scaling.published import PAPER, Interval, paper_line, paper_minima
from unmask.statistics import middle

OURS = Path(__file__).with_name("ours.json")
QUANTITIES = ("params", "tokens", "loss")
FORMS = ("muennighoff", "quokka")  # of repeated data
WIDE = NormalDist().inv_cdf(0.975)
SEARCH, STEPS = 14.0, 120  # of log N around the middle, each way
NO_DRAWS = "the fit file holds no draws, so there are no intervals; unmask scale report, or fit --out, writes them"
OPTIMA_ALONE = (
    "the paper's table holds optima alone, which say nothing of other sizes or of repeated data; "
    "give --flops or --loss without --unique, or --from a fit.json"
)
Repeated = Muennighoff | Quokka


class NotFitted(UserError):
    """What a fit does not have, with its reason; it may have it of another objective."""


class Repeats(NamedTuple):
    """Where only so many tokens are new, and others repeat them: their number, and the law by which that is told."""

    unique: float
    form: str


class Source(Protocol):
    """`name` in words, `rule` of its FLOPs, `objectives`, `ranges`: what was run, by objective and quantity."""

    name: str
    rule: str
    objectives: list[str]
    ranges: dict[str, dict[str, tuple[float, float]]]
    notes: list[str]

    def frontier(self, objective: str, flops: float, repeats: Repeats | None = None) -> dict[str, Interval]:
        """Optimal params, tokens and loss of a budget."""

    def reach(self, objective: str, loss: float) -> dict[str, Interval]:
        """The least flops that reach a loss, and their params and tokens."""

    def loss(self, objective: str, params: float, tokens: float, repeats: Repeats | None = None) -> Interval:
        """Of a size trained on so many tokens."""

    def flops_of(self, objective: str, params: float, tokens: float) -> float:
        """By the rule of the fit."""


def open_source(name: str | None, flops: float | None = None) -> Source:
    """`paper`, `ours`, a fit file; None: ours where it is shipped, else the paper, but of a budget the one whose runs
    are nearer to it. Raises `UserError` for others."""
    if name is None and flops is not None and OURS.is_file():
        return min(open_source("ours"), open_source("paper"), key=lambda source: _decades_off(source, flops))
    if name is None:
        name = "ours" if OURS.is_file() else "paper"
    if name == "paper":
        return PaperSource()
    if name == "ours":
        if not OURS.is_file():
            raise UserError("no fit of our own is shipped yet; give --from paper, or --from a fit.json of your own")
        return FitSource(read_fit(OURS), "the fit of our own sweep")
    return FitSource(read_fit(Path(name)), name)


def _decades_off(source: Source, flops: float) -> float:
    """How far a compute lies from what was run, of the objective that came nearest; 0: within."""
    spans = [spans["flops"] for spans in source.ranges.values()]
    return min(max(0.0, math.log10(low / flops), math.log10(flops / high)) for low, high in spans)


def read_fit(path: Path, option: str = "--from") -> dict[str, Any]:
    """A fit file, or that of a report's folder. Raises `UserError`, naming the option, for what is none."""
    if path.is_dir():
        path = path / "fit.json"
    mend = "give the fit.json that unmask scale report writes" + (", paper or ours" if option == "--from" else "")
    try:
        fit = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{option} {path} cannot be read: {error.strerror}; {mend}") from error
    except ValueError as error:
        raise UserError(f"{option} {path} cannot be read as JSON: {str(error).splitlines()[0]}; {mend}") from error
    if (
        not isinstance(fit, dict)
        or not isinstance(fit.get("approach2"), dict)
        or not isinstance(fit.get("gap"), list)
    ):
        raise UserError(f"{option} {path} is no fit: it has no approach2 and gap; {mend}")
    return fit


class PaperSource:
    """The paper's optima, by power laws through them; no law of L(N, D) can be had from optima alone."""

    name = PAPER
    rule = "6nd"

    def __init__(self) -> None:
        self.objectives = ["arm", "mdm"]
        self.notes: list[str] = []
        self.ranges = {}
        for name in self.objectives:
            minima = paper_minima(name)
            self.ranges[name] = {which: (min(own), max(own)) for which, own in minima.items() if which != "loss"}

    def frontier(self, objective: str, flops: float, repeats: Repeats | None = None) -> dict[str, Interval]:
        if repeats is not None:
            raise UserError(OPTIMA_ALONE)
        return {which: paper_line(objective, which).at(flops) for which in QUANTITIES}

    def reach(self, objective: str, loss: float) -> dict[str, Interval]:
        flops = paper_line(objective, "loss").inverse(loss)
        reached = {"flops": flops}
        for which in ("params", "tokens"):
            line = paper_line(objective, which)
            reached[which] = _wider(line.at(flops[0]), flops, line.exponent)
        return reached

    def loss(self, objective: str, params: float, tokens: float, repeats: Repeats | None = None) -> Interval:
        raise UserError(OPTIMA_ALONE)

    def flops_of(self, objective: str, params: float, tokens: float) -> float:
        return 6 * params * tokens


def _wider(at: Interval, flops: Interval, exponent: float) -> Interval:
    """A line's value where its x is uncertain too: half-widths of both in logs, added as independent."""
    estimate = at[0]
    if None in at or None in flops:
        return estimate, None, None
    ends = []
    for of_line, of_x in zip(at[1:], (flops[1:] if exponent > 0 else flops[:0:-1]), strict=True):
        assert of_line is not None and of_x is not None
        half = math.hypot(math.log(of_line / estimate), exponent * math.log(of_x / flops[0]))
        ends.append(estimate * math.exp(half if of_line > estimate else -half))
    return estimate, ends[0], ends[1]


class FitSource:
    """A fit file: lines and laws with the draws that their intervals come from."""

    def __init__(self, fit: dict[str, Any], name: str) -> None:
        self.fit, self.name = fit, name
        try:
            self.rule = str(fit["flops_rule"])
            self.objectives = list(fit["ranges"])
            self.ranges = {
                name: {which: (float(low), float(high)) for which, (low, high) in entry.items()}
                for name, entry in fit["ranges"].items()
            }
            self.costs = {name: Cost.from_dict(entry) for name, entry in fit["cost"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                f"--from {name} is no whole fit ({error!r}); make it anew by unmask scale report"
            ) from error
        self.notes = [] if fit.get("draws") else [NO_DRAWS]

    def frontier(self, objective: str, flops: float, repeats: Repeats | None = None) -> dict[str, Interval]:
        if repeats is not None:
            cost = self.costs[objective]
            points = [optimum(law, flops, repeats.unique, cost) for law in self._repeated(objective, repeats.form)]
            return {which: _middle([getattr(p, which) for p in points]) for which in QUANTITIES}
        lines, draws = self._lines(objective)
        return {which: _interval(methodcaller(which, flops), lines, draws) for which in QUANTITIES}

    def reach(self, objective: str, loss: float) -> dict[str, Interval]:
        lines, draws = self._lines(objective)

        def flops(line: Lines) -> np.ndarray:
            return np.ravel(line.flops_at(loss))

        def params(line: Lines) -> np.ndarray:
            return np.ravel(line.n_coefficient) * flops(line) ** np.ravel(line.n_exponent)

        def tokens(line: Lines) -> np.ndarray:
            return np.ravel(line.d_coefficient) * flops(line) ** np.ravel(line.d_exponent)

        return {of.__name__: _interval(of, lines, draws) for of in (flops, params, tokens)}

    def loss(self, objective: str, params: float, tokens: float, repeats: Repeats | None = None) -> Interval:
        if repeats is not None:
            laws = self._repeated(objective, repeats.form)
            return _middle([float(law.loss(params, tokens, repeats.unique)) for law in laws])
        law, draws = self._law(objective)
        return _interval(methodcaller("loss", params, tokens), law, draws)

    def flops_of(self, objective: str, params: float, tokens: float) -> float:
        return float(self.costs[objective](params)) * tokens

    def _lines(self, objective: str) -> tuple[Lines, Lines | None]:
        entry = self.fit["approach2"][objective]
        return self._read(Lines, list(Lines.__dataclass_fields__), entry, "approach2", objective)

    def _law(self, objective: str) -> tuple[Law, Law | None]:
        entry = (self.fit.get("approach3") or {}).get(objective)
        return self._read(Law, list(FIELDS), entry, "approach3", objective)

    def _repeated(self, objective: str, form: str) -> list[Repeated]:
        """The law, and its draws."""
        return self._quokka(objective) if form == "quokka" else self._muennighoff(objective)

    def _quokka(self, objective: str) -> list[Repeated]:
        """Quokka's law and its draws; what was held of it is approach 3's, and draws of that come with them."""
        base, bases = self._law(objective)
        entry = ((self.fit.get("constrained") or {}).get(objective) or {}).get("quokka") or {}
        held = entry.get("held") or []
        values = {n: 0.0 if n in held else (entry.get(n) or {}).get("estimate") for n in QUOKKA_FIELDS}
        if None in values.values():
            why = entry.get("why") or (entry.get("p_e") or {}).get("why") or "the fit file holds none"
            raise NotFitted(f"{self.name} has no Quokka's law of {objective}: {why}")
        fresh = base if "E" in held else Law(**{field: float(entry[field]["estimate"]) for field in FIELDS})
        rows = ((self.fit.get("draws") or {}).get("quokka") or {}).get(objective) or {}
        laws: list[Repeated] = [Quokka(fresh, **{name: float(value or 0.0) for name, value in values.items()})]
        order = np.random.default_rng(0).permutation(len(bases.E) if bases is not None else 1)
        for i in range(len(rows.get("p_e") or [])):
            row = {name: float(v) for name, column in rows.items() if (v := column[i]) is not None}
            if "E" in held and bases is not None:
                row |= {field: float(getattr(bases, field)[order[i % len(order)]]) for field in FIELDS}
            if len(row) == len(rows):
                own = Law(**{field: row[field] for field in FIELDS})
                laws.append(Quokka(own, **{name: row[name] for name in QUOKKA_FIELDS}))
        return laws

    def _muennighoff(self, objective: str) -> list[Repeated]:
        """Muennighoff's law on approach 3's, and its draws: R_D as its interval says, each on a draw of the law."""
        base, bases = self._law(objective)
        entry = ((self.fit.get("constrained") or {}).get(objective) or {}).get("muennighoff") or {}
        r_data = entry.get("R_D") or {}
        if r_data.get("estimate") is None:
            why = r_data.get("why") or "the sweep has no repeated data"
            raise NotFitted(f"{self.name} has no law of repeated data of {objective}: {why}; leave out --unique")
        r_params = (entry.get("R_N") or {}).get("estimate") or math.inf
        laws: list[Repeated] = [Muennighoff(base, float(r_data["estimate"]), r_params)]
        if bases is not None and r_data.get("low") is not None:
            order = np.random.default_rng(0).permutation(len(bases.E))
            for i, r in zip(order, _spread(r_data, len(order)), strict=True):
                law = Law(**{field: float(getattr(bases, field)[i]) for field in FIELDS})
                laws.append(Muennighoff(law, r, r_params))
        return laws

    def _read(self, made: Any, fields: list[str], entry: Any, key: str, objective: str) -> Any:
        """(the law, its draws or None). Raises `UserError` where the fit has no number there, with its reason."""
        values = {field: (entry or {}).get(field) for field in fields}
        numbers = {field: v["estimate"] for field, v in values.items() if isinstance(v, dict) and "estimate" in v}
        if len(numbers) < len(fields) or None in numbers.values():
            why = (entry or {}).get("why") or "it could not be fitted"
            raise NotFitted(f"{self.name} has no {key} of {objective}: {why}; give --from another fit")
        law = made(**{field: float(value) for field, value in numbers.items()})
        drawn = ((self.fit.get("draws") or {}).get(key) or {}).get(objective)
        if not drawn:
            return law, None
        return law, made(**{field: np.array(drawn[field], dtype=float) for field in fields})  # null is nan


def optimum(law: Repeated, flops: float, unique: float, cost: Cost) -> Point:
    """The best size and tokens of a budget where only `unique` tokens are new, found along N."""
    center, width = math.log(float(cost.params(math.sqrt(flops)))), SEARCH
    for _ in range(3):
        params_G = np.exp(np.linspace(center - width, center + width, STEPS))
        tokens_G = flops / cost(params_G)
        loss_G = law.loss(params_G, tokens_G, unique)
        best = int(np.nanargmin(loss_G))
        center, width = math.log(params_G[best]), 2 * width / (STEPS - 1)
    return Point(params_G[best], tokens_G[best], loss_G[best])


def _spread(value: dict[str, float], n: int) -> list[float]:
    """Values whose middle 95% is the interval of an estimate: two half normals of log R about it."""
    down, up = (abs(math.log(value[end] / value["estimate"])) / WIDE for end in ("low", "high"))
    z = [NormalDist().inv_cdf((i + 0.5) / n) for i in range(n)]
    return [value["estimate"] * math.exp(x * (up if x > 0 else down)) for x in z]


def _middle(values: list[Any]) -> Interval:
    """The first one, and the middle 95% of the others."""
    return float(values[0]), *middle(values[1:])


def _interval(of: Callable[[Any], np.ndarray], law: Any, draws: Any) -> Interval:
    """The value of a law, and the middle 95% of those of its draws."""
    return float(np.ravel(of(law))[0]), *middle([] if draws is None else of(draws))
