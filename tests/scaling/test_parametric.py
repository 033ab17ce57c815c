"""Approach 3: known laws are found again, alone and with one E; a thousand resamples take seconds."""

from __future__ import annotations

import time

import numpy as np
import pytest

from scaling.synthetic import law_of, sweep
from unmask.scaling.law import FIELDS, Law
from unmask.scaling.parametric import LawFit, Points, fit_laws


def check_starts(fit: LawFit, log_loss_SR: np.ndarray, weights_SR: np.ndarray, tolerance: float = 1e-4) -> float:
    """Share of these resamples in which the best of the whole grid is no better than the start that all share."""
    same = 0
    for log_loss_R, weights_R in zip(log_loss_SR, weights_SR, strict=True):
        warm = fit.problem.minimise(fit.theta_P[None], log_loss_R, weights_R)[1][0]
        grid = fit.problem.minimise(fit.starts_SP, log_loss_R, weights_R)[1].min()
        same += bool(warm <= grid * (1 + tolerance))
    return same / len(log_loss_SR)


def grid_of(law: Law, rng: np.random.Generator, noise: float, runs: int = 240) -> Points:
    """Many sizes and tokens, as the 240 runs of Hoffmann et al."""
    params = np.exp(rng.uniform(np.log(4e7), np.log(1e10), runs))
    tokens = np.exp(rng.uniform(np.log(1e9), np.log(3e11), runs))
    return Points(params, tokens, law.loss(params, tokens) * np.exp(rng.normal(0, noise, runs)))


CHINCHILLA = Law(1.69, 406.4, 410.7, 0.34, 0.28)


def test_a_law_without_noise_is_found_again() -> None:
    found = fit_laws({"arm": grid_of(CHINCHILLA, np.random.default_rng(0), 0.0)}).laws["arm"]
    for name in FIELDS:
        assert getattr(found, name) == pytest.approx(getattr(CHINCHILLA, name), rel=1e-3)


def test_two_objectives_with_one_e_are_found_again() -> None:
    rng = np.random.default_rng(1)
    laws = {kind: law_of(kind, *shape) for kind, shape in (("arm", (0.34, 0.36)), ("mdm", (0.3, 0.32)))}
    points = {}
    for kind, law in laws.items():
        runs, _ = sweep(kind, rng, noise=0.0, law=law)
        points[kind] = Points(runs.params, runs.tokens, runs.loss)
    shared = fit_laws(points, "shared").laws
    assert shared["arm"].E == shared["mdm"].E == pytest.approx(2.0, abs=2e-3)
    for kind, law in laws.items():
        assert shared[kind].alpha == pytest.approx(law.alpha, abs=2e-3)
        assert shared[kind].beta == pytest.approx(law.beta, abs=2e-3)


def test_without_e_there_is_none_and_the_fit_is_worse() -> None:
    points = {"arm": grid_of(CHINCHILLA, np.random.default_rng(2), 0.003)}
    none, own = fit_laws(points, "no_e"), fit_laws(points)
    assert none.laws["arm"].E == 0 and none.value > own.value


def test_resamples_from_one_start_are_those_of_the_whole_grid() -> None:
    rng = np.random.default_rng(3)
    points = grid_of(CHINCHILLA, rng, 0.005, runs=120)
    fit = fit_laws({"arm": points})
    weights_SR = rng.multinomial(120, np.full(120, 1 / 120), 20).astype(float)
    assert check_starts(fit, np.broadcast_to(np.log(points.loss_R), (20, 120)), weights_SR) == 1.0


@pytest.mark.slow
def test_4000_resamples_of_240_runs_take_under_a_minute_and_agree_with_the_grid() -> None:
    rng = np.random.default_rng(4)
    points = grid_of(CHINCHILLA, rng, 0.005)
    weights_SR = rng.multinomial(240, np.full(240, 1 / 240), 4000).astype(float)
    begin = time.perf_counter()
    fit = fit_laws({"arm": points}, weights_SR={"arm": weights_SR})
    assert time.perf_counter() - begin < 60
    losses_SR = np.broadcast_to(np.log(points.loss_R), (100, 240))
    assert check_starts(fit, losses_SR, weights_SR[:100]) >= 0.99
    low, high = np.percentile(fit.draws["arm"].alpha, [2.5, 97.5])
    assert low < 0.34 < high
