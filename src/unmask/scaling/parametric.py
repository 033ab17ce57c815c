"""Approach 3: L(N, D) = E + A / N^α + B / D^β by Huber losses of log L, from a grid of starts; and its variants.

    fit = fit_laws({"mdm": runs}, form="own")          # each objective on its own
    fit = fit_laws({"arm": a, "mdm": m}, form="shared")   # together, with one E
    fit.laws["mdm"], fit.draws["mdm"]

Hoffmann et al. 2022 (arXiv 2203.15556), section 3.3: the sum of Huber losses with δ = 1e-3. Forms:
`own` has its own E; `no_e` has none (as the paper's line of L* in C); `shared` fits both objectives together, with one
E, since an ARM's loss and the bound of an MDM with exact conditionals have the same floor, the entropy of the text;
`excess` puts D − D0 for D, D0 being the tokens that a run spends on its plateau.

Starts: shares of E in the smallest loss, of N's term in what is left, and exponents; each start passes through the mean
of the losses. Every start is minimised (`huber.py`); the best one counts. Resamples of a bootstrap start from
there (a test compares that with the whole grid).

Shapes: S resamples or starts, R runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from unmask.scaling.huber import Problem
from unmask.scaling.law import FIELDS, Law

FORMS = ("own", "shared", "no_e", "excess")
SHARES_OF_E = (0.3, 0.5, 0.7, 0.9)
SHARES_OF_A = (0.2, 0.5, 0.8)
EXPONENTS = (0.15, 0.3, 0.5, 0.8)
LEAST_LOSS = 1e-6  # of a resample, nats


@dataclass(frozen=True)
class Points:
    """What a fit needs of one objective's runs: sizes, tokens (after D0 is taken off) and losses, [R]."""

    params_R: np.ndarray
    tokens_R: np.ndarray
    loss_R: np.ndarray
    D0: float = 0.0


@dataclass(frozen=True)
class LawFit:
    """laws: by objective. draws: the same, each field [S]; empty without resamples. value: the sum at the minimum."""

    laws: dict[str, Law]
    draws: dict[str, Law]
    value: float
    problem: Problem
    theta_P: np.ndarray
    starts_SP: np.ndarray


def fit_laws(
    points: Mapping[str, Points],
    form: str = "own",
    noise_SR: Mapping[str, np.ndarray] | None = None,
    weights_SR: Mapping[str, np.ndarray] | None = None,
) -> LawFit:
    """A fit of `form`, `own` and `no_e` and `excess` to one objective, `shared` to several.

    noise_SR: resamples as nats to add to the fitted losses. weights_SR: as how often each run counts.
    """
    names = list(points)
    design = _Design(points, with_e=form != "no_e")
    problem, starts_SP = design.problem, design.starts()
    log_loss_R = np.log(np.concatenate([points[name].loss_R for name in names]))
    theta_SP, value_S = problem.minimise(starts_SP, log_loss_R)
    best = int(np.nanargmin(value_S))
    draws: dict[str, Law] = {}
    resampled = weights_SR if noise_SR is None else noise_SR
    if resampled is not None:
        drawn_SR = np.concatenate([resampled[name] for name in names], axis=1)
        begin = np.repeat(theta_SP[best : best + 1], len(drawn_SR), axis=0)
        if noise_SR is None:
            drawn_SP, _ = problem.minimise(begin, log_loss_R, drawn_SR)
        else:
            losses = np.exp(problem.predict(theta_SP[best : best + 1])) + drawn_SR
            drawn_SP, _ = problem.minimise(begin, np.log(np.maximum(losses, LEAST_LOSS)))
        draws = {name: design.law(name, drawn_SP) for name in names}
    laws = {name: design.law(name, theta_SP[best]) for name in names}
    return LawFit(laws, draws, float(value_S[best]), problem, theta_SP[best], starts_SP)


class _Design:
    """The matrices of a problem: terms A, B (a constant and a slope an objective, centred) and E (one for all)."""

    def __init__(self, points: Mapping[str, Points], with_e: bool) -> None:
        self.points, self.with_e = points, with_e
        self.names = list(points)
        rows = [np.full(len(p.loss_R), i) for i, p in enumerate(points.values())]
        which_R = np.concatenate(rows)
        self.log_n = {name: float(np.log(p.params_R).mean()) for name, p in points.items()}
        self.log_d = {name: float(np.log(p.tokens_R).mean()) for name, p in points.items()}
        x_R = np.concatenate([np.log(p.params_R) - self.log_n[name] for name, p in points.items()])
        y_R = np.concatenate([np.log(p.tokens_R) - self.log_d[name] for name, p in points.items()])
        own = [which_R == i for i in range(len(self.names))]
        terms = [
            np.stack([part for mine in own for part in (mine * 1.0, mine * -value_R)], axis=1) for value_R in (x_R, y_R)
        ]
        self.problem = Problem(terms + ([np.ones((len(which_R), 1))] if with_e else []))

    def starts(self) -> np.ndarray:
        """[S, P]."""
        if len(self.names) == 1:
            return self._own_starts(self.points[self.names[0]])
        best = []
        for name in self.names:
            alone = _Design({name: self.points[name]}, self.with_e)
            solutions, value_S = alone.problem.minimise(alone.starts(), np.log(self.points[name].loss_R))
            best.append(solutions[np.argsort(value_S)])
        pairs = []
        floors = [min(float(p.loss_R.min()) for p in self.points.values()) * share for share in SHARES_OF_E]
        for floor in [*floors, *(float(np.exp(b[0, 4])) for b in best if self.with_e)]:
            starts = [self._own_starts(p, [min(floor / float(p.loss_R.min()), 0.98)]) for p in self.points.values()]
            for several in zip(*starts, strict=True):
                a = np.concatenate([s[:2] for s in several])
                b = np.concatenate([s[2:4] for s in several])
                pairs.append(np.concatenate([a, b, [np.log(floor)] if self.with_e else []]))
        return np.array(pairs)

    def _own_starts(self, points: Points, shares: tuple[float, ...] | list[float] = SHARES_OF_E) -> np.ndarray:
        starts = []
        for share, of_a, alpha, beta in itertools.product(
            shares if self.with_e else (0.0,), SHARES_OF_A, EXPONENTS, EXPONENTS
        ):
            floor = share * float(points.loss_R.min())
            rest = float(points.loss_R.mean()) - floor
            start = [np.log(rest * of_a), alpha, np.log(rest * (1 - of_a)), beta]
            starts.append([*start, np.log(floor)] if self.with_e else start)
        return np.array(starts)

    def law(self, name: str, theta: np.ndarray) -> Law:
        """Parameters [..., P] as a law of one objective."""
        i, n = self.names.index(name), 2 * len(self.names)
        alpha, beta = theta[..., 2 * i + 1], theta[..., n + 2 * i + 1]
        with np.errstate(over="ignore"):
            A = np.exp(theta[..., 2 * i] + alpha * self.log_n[name])
            B = np.exp(theta[..., n + 2 * i] + beta * self.log_d[name])
            E = np.exp(theta[..., 2 * n]) if self.with_e else np.zeros_like(alpha)
        values = dict(zip(FIELDS, (E, A, B, alpha, beta), strict=True))
        if np.ndim(theta) == 1:
            values = {field: float(value) for field, value in values.items()}
        return Law(**values, D0=self.points[name].D0)
