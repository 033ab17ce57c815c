"""Tables of runs and their fits, which every part of a fit is tested on; and the published C4 runs.

found = fitted(table(tmp_path, arm, mdm))
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from scaling.synthetic import csv_of
from unmask.scaling.fit import in_words, scale_fit
from unmask.scaling.options import FitOptions

SHARED = Path(os.environ.get("UNMASK_SHARED", Path(__file__).resolve().parents[3] / "shared"))
C4 = SHARED / "data" / "scaling" / "c4_isoflop.csv"
needs_c4 = pytest.mark.skipif(not C4.is_file(), reason="the published C4 runs are not there")


def fitted(path: Path, **fields: Any) -> dict[str, Any]:
    found = scale_fit(FitOptions(str(path), **{"resamples": 100} | fields))
    json.dumps(found, allow_nan=False)
    assert in_words(found)
    return found


def gaps(found: dict[str, Any], form: str, axis: str) -> dict[float, dict[str, Any]]:
    return {row["flops"]: row for row in found["gap"] if row["form"] == form and row["axis"] == axis}


def table(
    folder: Path, *runs: Any, columns: str = "objective,flops,params,tokens,loss,seed", name: str = "r.csv"
) -> Path:
    path = folder / name
    path.write_text(csv_of(*runs, columns=columns), encoding="utf-8")
    return path
