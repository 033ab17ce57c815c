"""Intervals that cover: known laws with noise on our own grid, with and without effects of size, and on trunks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from scaling.synthetic import SIZES, law_of, runs_of, sweep
from unmask.scaling.bootstrap import residual_noise, run_weights
from unmask.scaling.cost import Cost
from unmask.scaling.isoflop import fit_lines, fit_parabolas
from unmask.scaling.law import Law
from unmask.scaling.parametric import Points, fit_laws
from unmask.scaling.table import Runs

NOISE = {"arm": 0.010, "mdm": 0.015}
RESAMPLES = 300


def covered(make: Callable[[np.random.Generator], tuple[Runs, Law]], sweeps: int, approach3: bool) -> dict[str, float]:
    """How often the headline's 95% intervals hold the truth."""
    hits: dict[str, list[bool]] = {}
    for seed in range(sweeps):
        rng = np.random.default_rng(seed)
        runs, law = make(rng)
        minima = fit_parabolas(runs.flops, runs.params, runs.loss, Cost())
        assert minima is not None
        truth = fit_lines(fit_parabolas(runs.flops, runs.params, law.loss(runs.params, runs.tokens), Cost()))  # type: ignore[arg-type]
        noise_SR, _ = residual_noise(runs, minima, RESAMPLES, rng)
        assert noise_SR is not None and truth is not None
        drawn_SR = minima.fitted_R + noise_SR
        drawn = fit_parabolas(runs.flops, runs.params, runs.loss, Cost(), drawn_SR, np.ones_like(drawn_SR))
        lines = fit_lines(drawn, all_that_open=True)  # type: ignore[arg-type]
        assert lines is not None
        values = {
            "n_exponent": (lines.n_exponent, law.n_exponent),
            "loss_exponent": (lines.loss_exponent, truth.loss_exponent),
        }
        if approach3:
            points = {"x": Points(runs.params, runs.tokens, runs.loss)}
            found = fit_laws(points, noise_SR={"x": noise_SR}).draws["x"]
            values |= {name: (getattr(found, name), getattr(law, name)) for name in ("E", "alpha", "beta")}
        for name, (draws, true) in values.items():
            low, high = np.nanpercentile(draws, [2.5, 97.5])
            hits.setdefault(name, []).append(bool(low <= true <= high))
    return {name: float(np.mean(values)) for name, values in hits.items()}


@pytest.mark.parametrize("kind", ["arm", "mdm"])
def test_intervals_cover_on_our_grid(kind: str) -> None:
    found = covered(lambda rng: sweep(kind, rng, NOISE[kind], shape=0.005), 60, approach3=False)
    assert all(share >= 0.87 for share in found.values()), found


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("shape", [0.0, 0.010])
@pytest.mark.parametrize("kind", ["arm", "mdm"])
def test_intervals_cover_in_90_to_98_percent_of_200_sweeps(kind: str, shape: float) -> None:
    """Two standard errors of 200 sweeps are allowed on either side."""
    found = covered(lambda rng: sweep(kind, rng, NOISE[kind], shape), 200, approach3=True)
    assert all(0.90 - 0.03 <= share <= 0.98 + 0.015 for share in found.values()), found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_intervals_cover_where_every_budget_has_many_sizes() -> None:
    law = Law(2.0, 200.0, 1000.0, 0.31, 0.33)

    def make(rng: np.random.Generator) -> tuple[Runs, Law]:
        rows = []
        for flops in (3e18, 1e19, 3e19, 1e20, 3e20):
            best = float(law.optimum(flops, Cost()).params[0])
            rows += [(flops, best * scale) for scale in np.geomspace(1 / 4, 4, 10)]
        flops_R, params_R = (np.array(column) for column in zip(*rows, strict=True))
        losses = law.loss(params_R, flops_R / 6 / params_R) + rng.normal(0, 0.01, len(rows))
        return runs_of("mdm", flops_R, params_R, losses), law

    found = covered(make, 200, approach3=True)
    assert all(0.88 <= share <= 0.995 for share in found.values()), found


def trunk_sweep(rng: np.random.Generator, noise: float) -> tuple[Runs, Law]:
    """A trunk a size, a branch at every budget, and noise that the branches of a trunk share."""
    law = law_of("mdm")
    rows = []
    for i, params in enumerate(SIZES[1:8]):
        shared = rng.normal(0, noise)
        for flops in (3.2e13, 6.4e13, 1.28e14):
            rows.append((flops, params, float(law.loss(params, flops / 6 / params)) + shared, f"trunk {i}"))
    flops_R, params_R, loss_R, trunk_R = zip(*rows, strict=True)
    return runs_of("mdm", flops_R, params_R, loss_R, trunk=trunk_R), law


def test_trunks_are_resampled_whole() -> None:
    runs, _ = trunk_sweep(np.random.default_rng(0), 0.01)
    rng = np.random.default_rng(1)
    weights_SR = run_weights(runs, 50, rng)
    minima = fit_parabolas(runs.flops, runs.params, runs.loss, Cost())
    noise_SR, _ = residual_noise(runs, minima, 50, rng)
    assert noise_SR is not None
    for trunk in set(runs.trunk):
        here = runs.trunk == trunk
        assert np.all(weights_SR[:, here] == weights_SR[:, here][:, :1])
        signs = np.sign(noise_SR[:, here])
        assert np.all(np.abs(signs.prod(1)) == 1) and len(np.unique(signs[:, 0] * signs[:, 1])) == 1
    assert weights_SR.sum(1) == pytest.approx(weights_SR[:, ::1].sum(1))


def test_without_residuals_the_reason_is_said() -> None:
    law = law_of("arm")
    flops, params = np.repeat([1e12, 4e12], 3), np.tile(SIZES[2:5], 2)
    runs = runs_of("arm", flops, params, law.loss(params, flops / 6 / params))
    noise, why = residual_noise(runs, fit_parabolas(flops, params, runs.loss, Cost()), 10, np.random.default_rng(0))
    assert noise is None and "add sizes" in str(why)
    assert residual_noise(runs, None, 10, np.random.default_rng(0))[0] is None
