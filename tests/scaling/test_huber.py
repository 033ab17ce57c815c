"""Many fits at once: derivatives, and the same minima as L-BFGS finds one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from unmask.scaling.huber import Problem


def problem_of(rng: np.random.Generator, runs: int = 40) -> tuple[Problem, np.ndarray]:
    """Approach 3's terms, with losses of a law plus noise of heavy tails."""
    x_R, y_R, one_R = rng.normal(0, 1, runs), rng.normal(0, 1, runs), np.ones(runs)
    problem = Problem([np.stack([one_R, -x_R], 1), np.stack([one_R, -y_R], 1), one_R[:, None]])
    truth = np.array([[-0.5, 0.3, -0.6, 0.35, 0.7]])
    return problem, problem.predict(truth)[0] + 0.004 * rng.standard_t(3, runs)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_gradient_and_hessian_are_those_of_the_sum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    problem, log_loss_R = problem_of(rng)
    problem.delta = 0.5  # so that no kink is near
    theta_SP = rng.normal(0, 0.3, (3, 5))
    losses, weights = np.broadcast_to(log_loss_R, (3, 40)), rng.integers(0, 3, (3, 40)).astype(float)
    gradient_SP, hessian_SPP = problem._derivatives(theta_SP, losses, weights)
    step = 1e-6
    for p in range(5):
        moved = np.zeros(5)
        moved[p] = step
        high, low = (problem.value(theta_SP + s * moved, losses, weights) for s in (1, -1))
        assert (high - low) / (2 * step) == pytest.approx(gradient_SP[:, p], rel=1e-4, abs=1e-5)
        up, down = (problem._derivatives(theta_SP + s * moved, losses, weights)[0] for s in (1, -1))
        near = np.abs(np.abs(problem.predict(theta_SP) - losses) - problem.delta).min(1) > 1e-4
        assert ((up - down) / (2 * step))[near] == pytest.approx(hessian_SPP[near, :, p], rel=1e-3, abs=1e-3)


def test_minima_are_those_of_l_bfgs() -> None:
    rng = np.random.default_rng(0)
    problem, log_loss_R = problem_of(rng)
    weights_SR = rng.multinomial(40, np.full(40, 1 / 40), 12).astype(float)
    start = np.array([-0.4, 0.4, -0.4, 0.4, 0.5])
    _, value_S = problem.minimise(np.repeat(start[None], 12, 0), log_loss_R, weights_SR)
    for weights_R, value in zip(weights_SR, value_S, strict=True):

        def of(theta: np.ndarray, weights_R: np.ndarray = weights_R) -> tuple[float, np.ndarray]:
            one = theta[None], log_loss_R[None], weights_R[None]
            return problem.value(*one)[0] * 1e4, problem._derivatives(*one)[0][0] * 1e4

        theirs = [
            minimize(of, start + shift, jac=True, method="L-BFGS-B", options={"maxiter": 3000, "ftol": 1e-14}).fun / 1e4
            for shift in (0.0, 0.2, -0.2)
        ]
        assert value <= min(theirs) * (1 + 1e-5)


def test_a_perfect_fit_ends_and_one_row_of_losses_serves_all_starts() -> None:
    rng = np.random.default_rng(3)
    problem, _ = problem_of(rng)
    truth = np.array([[-0.5, 0.3, -0.6, 0.35, 0.7]])
    theta_SP, value_S = problem.minimise(truth + rng.normal(0, 0.1, (5, 5)), problem.predict(truth)[0])
    assert value_S.max() < 1e-12
    assert theta_SP == pytest.approx(np.repeat(truth, 5, 0), abs=1e-3)
