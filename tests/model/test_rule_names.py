"""What help calls the decoding rules is what is registered; the file is written by `python -m unmask.tables docs`."""

from __future__ import annotations

from pathlib import Path

from unmask.model import rule_names
from unmask.tables import in_pieces, names_for_help


def test_help_names_the_registered_rules() -> None:
    source = Path(rule_names.__file__).read_text(encoding="utf-8")
    assert source == names_for_help(), "run python -m unmask.tables docs"
    many = ", ".join(f"rule-{number}" for number in range(30))
    long = in_pieces("order", many)
    space: dict[str, str] = {}
    exec(long, space)
    assert space["ORDER"] == many and max(map(len, long.splitlines())) <= 120
