"""Tables of runs."""

from __future__ import annotations

from pathlib import Path

HEAD = "objective,flops,params,loss\n"


def written(folder: Path, text: str, name: str = "runs.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path
