"""The words of `unmask experiment`; no heavy import, since every `--help` reads them.

    add_experiment(parser)
"""

from __future__ import annotations

import argparse


def add_experiment(p: argparse.ArgumentParser) -> None:
    """Defaults here are those of `command.ExperimentOptions`."""
    p.add_argument("name", nargs="?", metavar="NAME", help="which, or demo; by default lists them all")
    p.add_argument("--seeds", default="3", help="how many, or which: 0,1,2")
    p.add_argument("--quick", action="store_true", help="minutes on one thread, one seed: to try it, no result")
    p.add_argument("--full", action="store_true", help="the paper's size, for GPUs")
    p.add_argument("--resume", action="store_true", help="go on with what is in --out")
    p.add_argument("--until", default=None, metavar="STAGE", help="stop after it, such as reversal's choice")
    p.add_argument("--plot", action="store_true", help="draw its pictures")
    p.add_argument("--out", default=None, metavar="FOLDER", help="runs and result; by default runs/experiments/NAME")
    p.add_argument("--data", default=None, metavar="PATH", help="of an experiment that takes your data")
    p.add_argument("--base", action="append", default=None, metavar="RUN", help="a model to start from; repeatable")
    p.add_argument("--set", action="append", default=None, metavar="KEY=VALUE", help="of its settings; repeatable")
    p.add_argument("--jobs", type=int, default=1, help="training runs at a time")
    p.add_argument("--threads", type=int, default=1, help="of each")
    p.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:N")
