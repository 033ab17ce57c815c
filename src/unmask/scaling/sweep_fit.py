"""All fits of a sweep's runs, with their resamples: what `scale fit` prints, `report` draws and `predict` asks.

    fit = fit_runs(runs, pair=("arm", "mdm"), resamples=1000, seed=0)      # SweepFit
    one = fit.objectives["mdm"]                                            # ObjectiveFit
    one.lines, one.headline.lines                # approach 2: the lines, and the same of every resample
    one.laws["own"], one.headline.laws["own"]    # approach 3: Law, and Law of arrays [S]; forms of `parametric.FORMS`
    one.why["approach2"]                         # why something is missing

The headline resamples residuals about the parabolas (approach 3: about its own surface, the same residuals), and runs
where there are no parabolas; `run_level` always resamples runs.

Shapes: S resamples, R runs, K budgets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from unmask.scaling.bootstrap import residual_noise, run_weights
from unmask.scaling.cost import Cost
from unmask.scaling.gap import Side
from unmask.scaling.isoflop import Lines, Minima, budgets_of, fit_lines, fit_parabolas
from unmask.scaling.law import Law
from unmask.scaling.parametric import Points, fit_laws
from unmask.scaling.scatter import Scatter, scatter_of
from unmask.scaling.selection import median_d0
from unmask.scaling.table import Runs

RESIDUALS, RUNS = "residual bootstrap about the parabolas", "run-level bootstrap"
FEWEST_SHARED = 0.5  # of the runs that lie in a budget of three sizes or more
FEWEST_RUNS, FEWEST_SIZES = 6, 3  # that five parameters are fitted to
Show = Callable[[str], None]


@dataclass
class Drawn:
    """Fits of every resample. method: `RESIDUALS`, `RUNS`, or empty where nothing was resampled."""

    method: str = ""
    minima: Minima | None = None
    lines: Lines | None = None
    laws: dict[str, Law] = field(default_factory=dict)


@dataclass
class ObjectiveFit:
    """One objective: its runs, its fits, and in `why` what could not be had (`approach2`, forms, `residuals`)."""

    name: str
    runs: Runs
    cost: Cost
    flops_K: np.ndarray
    minima: Minima | None = None
    lines: Lines | None = None
    scatter: Scatter | None = None
    laws: dict[str, Law] = field(default_factory=dict)
    headline: Drawn = field(default_factory=Drawn)
    run_level: Drawn = field(default_factory=Drawn)
    why: dict[str, str] = field(default_factory=dict)

    def side(self, run_level: bool = False) -> Side:
        """For the gap."""
        drawn = self.run_level if run_level else self.headline
        forms = {"own": "approach3", "shared": "approach3_shared"}
        laws = {forms[f]: (law, drawn.laws.get(f)) for f, law in self.laws.items() if f in forms}
        return Side(self.name, self.flops_K, self.cost, self.minima, drawn.minima, self.lines, drawn.lines, laws)


@dataclass
class SweepFit:
    """objectives: by name, in the file's order. pair: the reference and the other, or None."""

    runs: Runs
    objectives: dict[str, ObjectiveFit]
    pair: tuple[str, str] | None


def fit_runs(
    runs: Runs,
    pair: tuple[str, str] | None,
    resamples: int,
    seed: int = 0,
    show: Show | None = None,
    approach3: bool = True,
) -> SweepFit:
    """Fits all that can be; `resamples` of 0 gives no intervals. `show` is called with what is being done."""
    show = show or (lambda _: None)
    objectives = {}
    noise_SR: dict[str, np.ndarray] = {}
    weights_SR: dict[str, np.ndarray] = {}
    for place, name in enumerate(runs.names):
        show(f"{name}: approach 2")
        fit = _approach2(name, runs.of(name))
        if resamples:
            rng = np.random.default_rng([seed, place])
            noise, why = residual_noise(fit.runs, fit.minima, resamples, rng)
            if noise is None:
                fit.why["residuals"] = str(why)
            else:
                noise_SR[name] = noise
            weights_SR[name] = run_weights(fit.runs, resamples, rng)
        _draw_lines(fit, noise_SR.get(name), weights_SR.get(name))
        objectives[name] = fit
    for name, fit in objectives.items() if approach3 else ():
        for form in ("own", "no_e", "excess"):
            show(f"{name}: approach 3, {form}")
            _approach3({name: fit}, form, noise_SR, weights_SR)
    if pair is not None and approach3:
        show("approach 3, shared E")
        _approach3({name: objectives[name] for name in pair}, "shared", noise_SR, weights_SR)
    return SweepFit(runs, objectives, pair)


def _approach2(name: str, runs: Runs) -> ObjectiveFit:
    cost = Cost.of_runs(runs.flops, runs.params, runs.tokens)
    fit = ObjectiveFit(name, runs, cost, budgets_of(runs.flops)[0])
    fit.minima = fit_parabolas(runs.flops, runs.params, runs.loss, cost)
    if fit.minima is not None and np.mean(fit.minima.budget_R >= 0) < FEWEST_SHARED:
        fit.minima = None  # budgets that are near to each other by chance
    if fit.minima is None:
        fit.why["approach2"] = (
            f"budgets are not repeated ({len(runs)} runs at {len(fit.flops_K)}); it takes three sizes at each"
        )
        return fit
    fit.scatter = scatter_of(runs, fit.minima)
    fit.lines = fit_lines(fit.minima)
    if fit.lines is None:
        fit.why["approach2"] = (
            f"a line needs two budgets whose parabola opens upward inside the sizes run, and there are "
            f"{int(fit.minima.counts.sum())}"
        )
    return fit


def _draw_lines(fit: ObjectiveFit, noise_SR: np.ndarray | None, weights_SR: np.ndarray | None) -> None:
    """Approach 2 on every resample, both ways."""
    if fit.minima is None or weights_SR is None:
        return
    runs = fit.runs
    ways = {RUNS: (np.broadcast_to(runs.loss, weights_SR.shape), weights_SR)}
    if noise_SR is not None:
        middle_R = np.where(fit.minima.budget_R >= 0, fit.minima.fitted_R, runs.loss)
        ways[RESIDUALS] = (np.maximum(middle_R + noise_SR, 1e-6), np.ones_like(noise_SR))
    for method, (losses_SR, weights) in ways.items():
        minima = fit_parabolas(runs.flops, runs.params, runs.loss, fit.cost, losses_SR, weights)
        assert minima is not None
        # A budget whose own minimum does not count is left out of every resample too.
        kept = replace(minima, opens=minima.opens & fit.minima.counts)
        lines = fit_lines(kept, all_that_open=method == RESIDUALS) if fit.lines is not None else None
        drawn = Drawn(method, minima, lines)
        if method == RUNS:
            fit.run_level = drawn
        if method == RESIDUALS or noise_SR is None:
            fit.headline = Drawn(method, drawn.minima, drawn.lines)


def _approach3(
    several: dict[str, ObjectiveFit],
    form: str,
    noise_SR: Mapping[str, np.ndarray],
    weights_SR: Mapping[str, np.ndarray],
) -> None:
    """One fit of one form, its draws both ways, put into each objective it is of."""
    points: dict[str, Points] = {}
    for name, fit in several.items():
        own = points_of(fit.runs, form)
        if isinstance(own, str):
            for other in several.values():
                other.why[form] = own if len(several) == 1 else f"{name}: {own}"
            return
        points[name] = own
    resampled = all(name in weights_SR for name in several)
    by_noise = all(name in noise_SR for name in several)
    by_runs = fit_laws(points, form, weights_SR=weights_SR if resampled else None)
    headline = fit_laws(points, form, noise_SR=noise_SR) if by_noise else by_runs
    for name, fit in several.items():
        fit.laws[form] = by_runs.laws[name]
        if resampled:
            fit.run_level.method, fit.run_level.laws[form] = RUNS, by_runs.draws[name]
            fit.headline.laws[form] = headline.draws[name]
            fit.headline.method = fit.headline.method or (RESIDUALS if by_noise else RUNS)


def points_of(runs: Runs, form: str) -> Points | str:
    """What a form of approach 3 is fitted to, or why it cannot be."""
    budgets = len(budgets_of(runs.flops)[0])
    if len(runs) < FEWEST_RUNS or len(np.unique(runs.params)) < FEWEST_SIZES or budgets < 2:
        return (
            f"it takes {FEWEST_RUNS} runs of {FEWEST_SIZES} sizes at 2 budgets or more, and there are {len(runs)} of "
            f"{len(np.unique(runs.params))} at {budgets}"
        )
    if form != "excess":
        return Points(runs.params, runs.tokens, runs.loss)
    d0 = median_d0(runs)
    if d0 is None:
        return "no run says where its plateau ended (column plateau)"
    own_R = np.where(np.isfinite(runs.plateau) & (runs.plateau > 0), runs.plateau, d0)
    if np.any(runs.tokens <= own_R):
        return f"{int(np.sum(runs.tokens <= own_R))} runs ended on their plateau"
    return Points(runs.params, runs.tokens - own_R, runs.loss, d0)
