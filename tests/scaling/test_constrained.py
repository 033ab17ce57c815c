"""Laws of repeated data: Muennighoff's printed value, and coefficients found again."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.scaling.constrained import Muennighoff, Quokka, best_size, fit_muennighoff, fit_quokka
from unmask.scaling.law import Law

PUBLISHED = Law(float(np.exp(0.6254804)), float(np.exp(6.255414)), float(np.exp(7.3049974)), 0.3526596, 0.3526596)
QUOKKA = Law(2.413, 798.6, 4604.9, 0.379, 0.378)


def test_muennighoffs_printed_value() -> None:
    law = Muennighoff(PUBLISHED, 15.387756, 5.309743)
    assert float(law.loss(6.34e9, 242e9, 25e9)) == pytest.approx(2.225644, abs=5e-7)
    G = (PUBLISHED.alpha * PUBLISHED.A / (PUBLISHED.beta * PUBLISHED.B)) ** (1 / (PUBLISHED.alpha + PUBLISHED.beta))
    assert best_size(PUBLISHED, 25e9) == pytest.approx((25e9 * G) ** 1 * G)


def test_without_repeats_both_are_the_law_itself() -> None:
    for law in (Muennighoff(QUOKKA, 15.0), Quokka(QUOKKA, 0.9, 1.2, 5.0)):
        assert law.loss(1e9, 1e10, 1e10) == pytest.approx(QUOKKA.loss(1e9, 1e10))
        assert law.loss(1e9, 1e10, 5e10) == pytest.approx(QUOKKA.loss(1e9, 1e10))
        assert law.loss(1e9, 4e10, 1e10) > QUOKKA.loss(1e9, 4e10)


@pytest.mark.parametrize("r_data", [3.0, 15.4, 400.0])
def test_r_d_is_found_again(r_data: float) -> None:
    rng = np.random.default_rng(0)
    base = Law(2.0, 60.0, 300.0, 0.3, 0.3)
    epochs = np.array([1, 2, 4, 8, 16, 32, 64, 128, 256.0])
    params, unique = np.full(9, 4.4e5), np.full(9, 5e5)
    loss = Muennighoff(base, r_data).loss(params, epochs * unique, unique) + rng.normal(0, 1e-4, 9)
    weights_SR = rng.multinomial(9, np.full(9, 1 / 9), 100).astype(float)
    law, draws_S, why = fit_muennighoff(base, params, epochs * unique, unique, loss, weights_SR)
    assert law is not None and why is None and law.r_data == pytest.approx(r_data, rel=0.05)
    assert draws_S.shape == (100,) and np.median(draws_S) == pytest.approx(r_data, rel=0.1)


def test_too_few_epochs_or_no_limit_are_said() -> None:
    base, ones = Law(2.0, 60.0, 300.0, 0.3, 0.3), np.ones((2, 4))
    params, unique, tokens = np.full(4, 4e5), np.full(4, 5e5), np.array([1, 1, 2, 2]) * 5e5
    loss = base.loss(params, tokens)
    assert "counts of epochs" in str(fit_muennighoff(base, params, tokens, unique, loss, ones)[2])
    tokens = np.array([2, 8, 32, 128]) * 5e5
    assert "no limit" in str(fit_muennighoff(base, params, tokens, unique, base.loss(params, tokens), ones)[2])


def test_quokkas_ten_coefficients_are_found_again() -> None:
    truth = Quokka(QUOKKA, p_e=0.9, gamma=1.2, c_p=1.0, m_p=0.39, k_p=0.25)
    rows = []
    for params in (1e8, 3e8, 1e9, 3e9):
        for tokens in (1e9, 4e9, 1.6e10, 6.4e10):
            rows.append((params, tokens, tokens))
            rows += [(params, tokens / 8 * epochs, tokens / 8) for epochs in (2, 4, 8, 16, 32, 64)]
    params_R, tokens_R, unique_R = (np.array(column) for column in zip(*rows, strict=True))
    loss_R = truth.loss(params_R, tokens_R, unique_R)
    assert np.isfinite(loss_R).all()
    far = Law(2.3, 700.0, 5000.0, 0.37, 0.38)
    law, held, why = fit_quokka(far, params_R, tokens_R, unique_R, loss_R)
    assert law is not None and held == [] and why is None
    for name in ("p_e", "gamma", "c_p", "m_p", "k_p"):
        assert getattr(law, name) == pytest.approx(getattr(truth, name), rel=0.01), name
    for name in ("E", "A", "B", "alpha", "beta"):
        assert getattr(law.base, name) == pytest.approx(getattr(QUOKKA, name), rel=0.01), name


def test_one_size_and_one_u_tell_three_coefficients_and_the_loss_turns() -> None:
    base = Law(2.0, 60.0, 300.0, 0.3, 0.3)
    truth = Quokka(base, p_e=0.8, gamma=1.0, c_p=40.0)
    epochs = np.array([1, 2, 4, 8, 16, 32, 64, 128, 256.0])
    params, unique = np.full(9, 4.4e5), np.full(9, 5e5)
    loss = truth.loss(params, epochs * unique, unique)
    law, held, _ = fit_quokka(base, params, epochs * unique, unique, loss)
    assert law is not None and "m_p" in held and "E" in held
    assert law.loss(params, epochs * unique, unique) == pytest.approx(loss, abs=2e-3)
    assert law.best_epochs(4.4e5, 5e5) == pytest.approx(truth.best_epochs(4.4e5, 5e5), rel=0.05)
