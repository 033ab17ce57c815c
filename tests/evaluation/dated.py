"""Dated documents, and models to score them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unmask.evaluation.benchmarks import evaluate


def speech(year: int) -> str:
    return f"In {year} the number was {year * 7919 % 104729}, and {year * 31 % 977} more. " * 4


def asked(place: Path, kind: str = "mdm", **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"data": str(place / "later.jsonl"), "windows": 2}
    return evaluate(place / kind, ["temporal"], **{**given, **more})
