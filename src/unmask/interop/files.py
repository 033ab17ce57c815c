"""Small files that stand beside published weights.

    read_object(Path("config.json"))["hidden_size"]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unmask.errors import UserError
from unmask.settings import read_json


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises `UserError` where there is none."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise UserError(f"{path} is not a JSON object")
    return value
