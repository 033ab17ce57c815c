"""Files of rules for tests: `write(folder, LAST)`; the fixture `no_plugins` makes none outlive its test."""

from __future__ import annotations

import hashlib
from pathlib import Path

HEAD = """\
from dataclasses import dataclass
import torch
from unmask.decoding.rules import *
"""
LAST = """
@ORDERS.register("last")
class Last(Order):
    "The last position first."

    def priority(self, turn, answers):
        return torch.arange(turn.open_RL.shape[1]).double().expand(turn.open_RL.shape)
"""


def write(folder: Path, source: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(HEAD + source)
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def forget() -> None:
    """As in a new process."""
    from unmask.decoding.rules import REGISTRIES, plugins

    for one in plugins.FILES.values():
        for kind, name in one.rules:
            del REGISTRIES[kind][name]
    plugins.FILES.clear()
