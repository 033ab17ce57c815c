"""A fit as tables of plain text."""

from __future__ import annotations

from typing import Any

from scaling.fitting import needs_c4
from unmask.scaling.fit import in_words


@needs_c4
def test_c4_keys_and_words(c4: dict[str, Any]) -> None:
    for name in ("arm", "mdm"):
        assert {"n_exponent", "n_coefficient", "d_exponent", "loss_exponent"} <= set(c4["approach2"][name])
        assert {"E", "A", "B", "alpha", "beta"} <= set(c4["approach3"][name])
        assert set(c4["approach2"][name]["n_exponent"]) == {"estimate", "low", "high"}
    for row in c4["gap"]:
        assert {"flops", "axis", "form", "estimate", "low", "high", "inside"} <= set(row)
    assert (c4["n_resamples"], c4["flops_rule"], c4["excluded"]) == (1000, "6nd", [])
    assert c4["interval"].startswith("95%, residual bootstrap")
    text = in_words(c4)
    assert "0.535 [" in text and "upper bound" in text and "325x*" in text and "18.9x [" in text
    assert c4["held_out"]["mdm"]["flops"] == 3e20 and abs(c4["held_out"]["mdm"]["approach2"]["error"]) < 0.05
