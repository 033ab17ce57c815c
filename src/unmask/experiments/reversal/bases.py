"""What models to start from must have in common, and what they took before.

    refuse_unequal({"mdm": "runs/sweep/mdm", "arm": "runs/sweep/arm"})
    spent("runs/sweep/mdm")        # FLOPs, None where its run does not tell
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from unmask.errors import UserError
from unmask.model.folder import load

SHAPE = ("n_layer", "n_head", "n_embd")


def refuse_unequal(bases: Mapping[str, str]) -> None:
    """Raises `UserError` where the models of the kinds have different shapes."""
    shapes = {path: tuple(getattr(load(path).config, name) for name in SHAPE) for path in bases.values()}
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"{path} has {'/'.join(map(str, shape))}" for path, shape in shapes.items())
        raise UserError(f"the models of --base differ in {', '.join(SHAPE)}: {told}; give two of equal shape")


def spent(path: str | Path) -> float | None:
    """FLOPs of a base's training, by the metrics of its run."""
    from unmask.training.metrics import read_records

    folders = (Path(path), *Path(path).resolve().parents[:2])
    run = next((folder for folder in folders if (folder / "metrics.jsonl").is_file()), None)
    steps = [record for record in read_records(run) if record["kind"] == "train"] if run is not None else []
    flops = steps[-1].get("flops") if steps else None
    return None if flops is None else float(flops)
