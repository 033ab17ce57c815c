"""A folder of TensorBoard logs named as the published Quokka runs are, {FLOPs}_{sizeM}_{tokens}, as rows of a table.

    read_logs(Path("quokka_logs"), tag="validation/loss")     # [("1e+19_100M_16.7B", {"flops": 1e19, ...}), ...]

Ni et al. 2025 (arXiv 2510.03280) publish their sweeps so. Each name stands for one run, a folder of event files or an
event file itself; the loss is the last value of the scalar `tag`. A number may end in K, M, B or T. All runs are of one
objective, `mdm`, unless they lie in folders called otherwise (`arm/1e19_...`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from unmask.errors import UserError

NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?[KMBTkmbt]?"
NAME = re.compile(rf"({NUMBER})_({NUMBER})_({NUMBER})(?![0-9A-Za-z])")
UNITS = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
OBJECTIVE = "mdm"
SHOWN_TAGS = 12


def read_logs(folder: Path, tag: str | None) -> list[tuple[str, dict[str, Any]]]:
    """Raises `UserError` where nothing is named so, and where `tag` is absent: the tags there are listed."""
    logs = sorted(_logs(folder))
    if not logs:
        raise UserError(
            f"{folder} holds no results.jsonl, and no event files named {{FLOPs}}_{{sizeM}}_{{tokens}}, such as "
            "1e19_100M_16.7B; give a CSV, a sweep or such a folder"
        )
    rows = []
    for name, path, objective in logs:
        scalars = _scalars(path)
        if tag is None or tag not in scalars:
            known = ", ".join(sorted(scalars)[:SHOWN_TAGS]) or "none"
            reason = "--tag names no scalar yet" if tag is None else f"there is no scalar '{tag}'"
            raise UserError(f"{path}: {reason}; give --tag with one of those there: {known}")
        flops, params, tokens = numbers_of(name)
        values = {"objective": objective, "flops": flops, "params": params, "tokens": tokens, "loss": scalars[tag]}
        rows.append((name, values))
    return rows


def numbers_of(name: str) -> tuple[float, float, float]:
    """FLOPs, parameters (millions where the name says no unit) and tokens."""
    flops, size, tokens = NAME.match(name).groups()  # type: ignore[union-attr]
    return quantity(flops), quantity(size) if quantity(size) > 1e5 else quantity(size) * 1e6, quantity(tokens)


def quantity(text: str) -> float:
    """``100M`` or ``1.5e9``."""
    unit = UNITS.get(text[-1].lower(), 1.0)
    return float(text[:-1] if text[-1].isalpha() else text) * unit


def _logs(folder: Path) -> list[tuple[str, Path, str]]:
    """(name, folder or file, objective) of every run below."""
    logs = {}
    for file in filter(Path.is_file, folder.rglob("*tfevents*")):
        for place in (file, *file.relative_to(folder).parents):
            name = Path(place).name
            if NAME.match(name):
                path = file if place is file else folder / place
                above = path.parent
                logs[path] = (name, path, OBJECTIVE if above == folder else above.name)
                break
    return list(logs.values())


def _scalars(path: Path) -> dict[str, float]:
    """The last value of every scalar of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(path), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    last = {tag: float(events.Scalars(tag)[-1].value) for tag in events.Tags()["scalars"]}
    for tag in events.Tags()["tensors"]:  # as newer writers keep scalars
        array = events.Tensors(tag)[-1].tensor_proto
        if len(array.float_val) == 1:
            last[tag] = float(array.float_val[0])
    return last
