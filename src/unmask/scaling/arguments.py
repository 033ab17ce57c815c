"""The words of `unmask scale`: the arguments of its verbs, with their defaults and what they mean.

add_scale(parser, verbs, Help)          # `unmask.arguments` calls it, with its `Help`
"""

from __future__ import annotations

import argparse
from typing import TypeVar

Parser = TypeVar("Parser", bound=argparse.ArgumentParser)


def add_scale(parser: Parser, verbs: dict[str, Parser], formatter: type[argparse.HelpFormatter]) -> None:
    """The verbs of `unmask scale`, into `verbs` too; their help as `formatter` writes it."""
    subjects = parser.add_subparsers(dest="subject", metavar="VERB", required=True, parser_class=type(parser))

    def subject(name: str, help: str) -> Parser:
        made = subjects.add_parser(name, help=help, formatter_class=formatter)
        made.add_argument("--json", action="store_true", help="print the result as JSON")
        verbs[f"scale {name}"] = made
        return made

    add_plan(subject("plan", "which runs, how long each, what they cost"))

    p = subject("run", "run a plan: skips the finished, resumes the cut, sets the failed aside")
    add_sweep(p)
    p.add_argument("--jobs", type=int, default=None, help="runs at a time; by default the plan's")
    p.add_argument("--threads", type=int, default=None, help="of each; by default the plan's")
    p.add_argument("--only", action="append", default=None, metavar="PATTERN", help="runs or parts: 'arm-*'")
    p.add_argument("--retry", action="store_true", help="failed runs again")
    p.add_argument("--shard", default=None, metavar="I/N", help="every N-th run from the I-th, for job arrays")
    p.add_argument("--precision", default=None, help="another type than the plan's; its rows are marked")
    p.add_argument("--ray", action="store_true", help="over a Ray cluster (RAY_ADDRESS), or a new one on this machine")

    add_sweep(subject("status", "where a sweep stands"))

    p = subject("fit", "laws of a sweep's losses with intervals, and the compute gap of two objectives")
    p.add_argument("runs", metavar="RUNS", help="a CSV (objective, flops, params, loss), a sweep, or TensorBoard logs")
    add_fit(p)
    p.add_argument("--out", default=None, metavar="FILE", help="the result as JSON, with draws, for scale predict")

    p = subject("report", "the fit as a page with pictures, the published gaps beside it")
    p.add_argument("runs", metavar="RUNS", help="as for scale fit")
    p.add_argument("--out", required=True, metavar="FOLDER", help="report.html, fit.json, and pictures as PNG and SVG")
    add_fit(p)
    words = "other runs, or a fit.json, whose gap stands beside; repeatable"
    p.add_argument("--beside", action="append", default=None, metavar="FILE", help=words)
    words = "a run trained since, laid over what the fit predicts for it; repeatable"
    p.add_argument("--over", action="append", default=None, metavar="RUN", help=words)

    p = subject("predict", "optimal size, tokens and loss of a budget, or of what else is given")
    p.add_argument("--flops", type=float, default=None, help="a budget, such as 1e21")
    p.add_argument("--loss", type=float, default=None, help="nats a token: the compute it takes")
    p.add_argument("--params", type=float, default=None, help="non-embedding parameters, with --tokens: the loss")
    p.add_argument("--tokens", type=float, default=None, help="that they are trained on")
    p.add_argument("--unique", type=float, default=None, help="of them, the others repeat these")
    words = "paper, ours, or a fit.json; by default ours where it is shipped, else paper"
    p.add_argument("--from", dest="source", default=None, metavar="FIT", help=words)


def add_plan(p: argparse.ArgumentParser) -> None:
    """Defaults are those of `plan.PlanOptions`."""
    p.add_argument("plan", nargs="?", metavar="PLAN", help="a plan, or its settings, to read and extend")
    p.add_argument("--data", default=None, metavar="FOLDER", help="prepared data")
    p.add_argument("--vocab", type=int, default=None, help="to plan without data")
    p.add_argument("--context", type=int, default=None, help="tokens a sequence; 128")
    p.add_argument("--objective", action="append", default=None, help="of a part to add: mdm or arm; repeatable")
    p.add_argument("--flops", action="append", default=None, help="its budgets: 1e12,2e12; repeatable")
    p.add_argument("--size", action="append", default=None, help="its sizes: 96x3, 6M, family:32-192; repeatable")
    p.add_argument("--seeds", type=int, default=None, help="its seeds, from 0; 1")
    p.add_argument("--part", default=None, metavar="NAME", help="its name; by default the objective")
    p.add_argument("--flops-rule", default=None, help="of budgets: exact (default) or 6nd")
    p.add_argument("--precision", default=None, help="of the whole sweep: fp32 (default), bf16, auto")
    p.add_argument("--compile", action=argparse.BooleanOptionalAction, default=None, help="compiled steps")
    p.add_argument("--jobs", type=int, default=None, help="runs at a time; 2")
    p.add_argument("--threads", type=int, default=None, help="of each; 1")
    p.add_argument("--seconds", type=float, default=None, help="measure each shape for so long; by default not")
    p.add_argument("--out", default=None, metavar="PLAN", help="the file to write")


def add_sweep(p: argparse.ArgumentParser) -> None:
    """Of what works on a sweep's folder."""
    p.add_argument("plan", metavar="PLAN", help="what unmask scale plan --out wrote")
    p.add_argument("--out", required=True, metavar="SWEEP", help="the sweep's folder")
    p.add_argument("--data", default=None, metavar="FOLDER", help="where the data lies now")


def add_fit(p: argparse.ArgumentParser) -> None:
    """What decides a fit."""
    p.add_argument("--pair", nargs=2, default=None, metavar=("A", "B"), help="compare B with A; arm and mdm")
    words = "leave runs out: 'objective=mdm,flops<1e19'; repeatable"
    p.add_argument("--exclude", action="append", default=None, metavar="CONDITION", help=words)
    p.add_argument("--resamples", type=int, default=1000, help="of the bootstrap; 0: no intervals")
    p.add_argument("--seed", type=int, default=0, help="of the resamples")
    p.add_argument("--tag", default=None, help="of TensorBoard logs: the scalar that is the loss")
