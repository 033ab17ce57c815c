"""What stands for an experiment's module."""

from __future__ import annotations

from pathlib import Path

from unmask.experiments.estimates import in_words
from unmask.experiments.frame import Settings

FIGURE = {"estimate": 0.5, "low": 0.25, "high": 0.75, "n": 8, "clusters": 4}


class Pretend:
    """Stands for an experiment's module."""

    def run(self, settings: Settings) -> dict:
        settings.out.mkdir(parents=True)
        return {"headline": {"mdm": FIGURE}}

    def plot(self, result: dict, folder: Path) -> list[Path]:
        (folder / "one.png").write_bytes(b"png")
        return [folder / "one.png"]

    def reading(self, result: dict) -> str:
        return "It is so."

    def holds(self, result: dict) -> str:
        return "yes"

    def figure(self, result: dict) -> str:
        return in_words(result["headline"]["mdm"])
