"""Approach 2: exponents in N and in FLOPs a token."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scaling.fitting import fitted, table
from scaling.synthetic import law_of, runs_of


def test_exact_flops_give_both_exponents(tmp_path: Path) -> None:
    law, rows = law_of("mdm"), []
    for flops in (1e13, 4e13, 1.6e14):
        for params in np.geomspace(2e4, 4e6, 9):
            each = 6 * params + 1e6
            rows.append((flops, params, float(law.loss(params, flops / each)), flops / each))
    flops_R, params_R, loss_R, tokens_R = zip(*rows, strict=True)
    found = fitted(table(tmp_path, runs_of("mdm", flops_R, params_R, loss_R, tokens_R)), resamples=0)
    assert found["flops_rule"] == "exact" and found["interval"] == "none"
    lines = found["approach2"]["mdm"]
    assert lines["m_exponent"]["estimate"] < lines["n_exponent"]["estimate"] - 0.02
    assert lines["m_exponent"]["estimate"] + lines["d_exponent"]["estimate"] == pytest.approx(1, abs=1e-6)
    assert found["approach3"]["mdm"]["alpha"]["estimate"] == pytest.approx(law.alpha, abs=1e-3)
