"""Fits written as files, whose laws are known."""

from __future__ import annotations

import math

import numpy as np

from unmask.scaling.cost import Cost

# Muennighoff et al. 2023, as published
MUENNIGHOFF = {"E": math.exp(0.6254804), "A": math.exp(6.255414), "B": math.exp(7.3049974)}


def values(**numbers):
    return {name: {"estimate": value, "low": None, "high": None} for name, value in numbers.items()}


def fit_file(draws=0, **more):
    """A fit of one objective, whose lines are the frontier of Muennighoff's law as far as lines can be."""
    lines = {"n_coefficient": 0.1, "n_exponent": 0.5, "d_coefficient": 1 / 0.6, "d_exponent": 0.5}
    lines |= {"m_coefficient": 0.6, "m_exponent": 0.5, "loss_coefficient": 30.0, "loss_exponent": -0.05}
    fit = {
        "flops_rule": "6nd",
        "approach2": {"arm": values(**lines)},
        "approach3": {"arm": values(**MUENNIGHOFF)},
        "gap": [],
        "ranges": {"arm": {"flops": [1e18, 1e20], "params": [1e7, 1e10], "tokens": [1e9, 1e12]}},
        "cost": {"arm": Cost().to_dict()},
        "constrained": {"arm": {"muennighoff": values(R_N=5.309743)}},
    }
    r_data = {"estimate": 15.387756, "low": 14.0, "high": 17.0}
    fit["constrained"]["arm"]["muennighoff"]["R_D"] = r_data
    if draws:
        rng = np.random.default_rng(0)

        def drawn(fields):
            return {name: (value * np.exp(rng.normal(0, 0.01, draws))).tolist() for name, value in fields.items()}

        fit["draws"] = {"approach2": {"arm": drawn(lines)}, "approach3": {"arm": drawn(MUENNIGHOFF)}}
    return fit | more
