"""The number of a measurement that was taken in rounds: its median with quartiles.

spread(tokens / seconds)["median"]
"""

from __future__ import annotations

from typing import Any

import numpy as np


def spread(values: np.ndarray) -> dict[str, Any]:
    """Median and quartiles over rounds, and the rounds."""
    q1, median, q3 = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": float(median), "q1": float(q1), "q3": float(q3), "rounds": [float(value) for value in values]}
