"""What the measurements of decoding share: names of settings, and which of them are wanted."""

from __future__ import annotations

from unmask.bench.decode.options import DecodeBenchOptions
from unmask.bench.decode.shared import chosen, in_type


def test_settings_by_name() -> None:
    assert chosen("a b", []) and chosen("a b", ["x", "a*"]) and not chosen("a b", ["b*"])
    options = DecodeBenchOptions("mdm", "data", dtype=["fp32", "bf16"])
    assert in_type("ARM", "fp32", options) == "ARM" and in_type("ARM", "bf16", options) == "ARM, bf16"
