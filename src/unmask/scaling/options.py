"""What the verbs of `unmask scale` take; no heavy import, since their help is shown from here.

    unmask scale plan sweep.yaml --out plan.yaml
    unmask scale run plan.yaml --out sweep
    unmask scale fit sweep
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unmask.errors import UserError
from unmask.files import check_writable
from unmask.options import NEEDED, Options, argument, option

MOST_RESAMPLES = 100_000


@dataclass(frozen=True)
class PlanOptions(Options):
    """Which runs, how long each, what they cost; what is not given is as the plan says, or the default."""

    does = "unmask.scaling.plan:plan"

    plan: str | None = argument("PLAN", "a plan, or its settings, to read and extend", None)
    data: str | None = option(None, "prepared data", metavar="FOLDER")
    vocab: int | None = option(None, "to plan without data")
    context: int | None = option(None, "tokens a sequence; 128")
    objective: list[str] = option([], "of a part to add: mdm or arm; repeatable")
    flops: list[str] = option([], "its budgets: 1e12,2e12; repeatable")
    size: list[str] = option([], "its sizes: 96x3, 6M, family:32-192; repeatable")
    seeds: int = option(1, "its seeds, from 0", least=1)
    part: str | None = option(None, "its name; by default the objective", metavar="NAME")
    flops_rule: str | None = option(None, "of budgets: exact (default) or 6nd")
    precision: str | None = option(None, "of the whole sweep: fp32 (default), bf16, auto")
    compile: bool | None = option(None, "compiled steps")
    jobs: int | None = option(None, "runs at a time; 2")
    threads: int | None = option(None, "of each; 1")
    seconds: float = option(0.0, "measure each shape for so long; 0: do not", least=0)
    out: str | None = option(None, "the file to write", metavar="PLAN")

    def __post_init__(self) -> None:
        super().__post_init__()
        given = {"--objective": self.objective, "--flops": self.flops, "--size": self.size}
        if any(given.values()) and (missing := [name for name, value in given.items() if not value]):
            raise UserError(f"{missing[0]} is missing: a part needs {', '.join(given)}", field=missing[0][2:])


@dataclass(frozen=True)
class OfSweep(Options):
    """Of what works on a sweep's folder."""

    plan: str = argument("PLAN", "what unmask scale plan --out wrote")
    out: str = option(NEEDED, "the sweep's folder", metavar="SWEEP")
    data: str | None = option(None, "where the data lies now", metavar="FOLDER")


@dataclass(frozen=True)
class StatusOptions(OfSweep):
    """Where a sweep stands."""

    does = "unmask.scaling.status:status"


@dataclass(frozen=True)
class RunOptions(OfSweep):
    """Runs a plan: skips the finished, resumes the cut, sets the failed aside."""

    does = "unmask.scaling.run:run"

    jobs: int | None = option(None, "runs at a time; by default the plan's", least=1)
    threads: int | None = option(None, "of each; by default the plan's", least=1)
    only: list[str] = option([], "runs or parts: 'arm-*'; repeatable", metavar="PATTERN")
    retry: bool = option(False, "failed runs again")
    shard: str | None = option(None, "every N-th run from the I-th, for job arrays", metavar="I/N")
    precision: Literal["fp32", "bf16"] | None = option(None, "another type than the plan's; its rows are marked")
    ray: bool = option(False, "over a Ray cluster (RAY_ADDRESS), or a new one on this machine")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shard is not None:
            shard_of(self.shard)
        if self.ray and importlib.util.find_spec("ray") is None:
            raise UserError("--ray needs the package ray; pip install 'unmask[scale]', or leave out --ray", field="ray")


def shard_of(text: str) -> tuple[int, int]:
    """(i, n) of `i/n`, i from 1."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f"--shard is {text!r}; give I/N with I from 1 to N, as 3/8", field="shard")
    return int(match[1]), int(match[2])


@dataclass(frozen=True, kw_only=True)
class OfFit(Options):
    """What decides a fit."""

    pair: tuple[str, str] | None = option(None, "compare B with A; arm and mdm", metavar=("A", "B"))
    exclude: list[str] = option([], "leave runs out: 'objective=mdm,flops<1e19'; repeatable", metavar="CONDITION")
    resamples: int = option(1000, "of the bootstrap; 0: no intervals", least=0, most=MOST_RESAMPLES)
    seed: int = option(0, "of the resamples", least=0)
    tag: str | None = option(None, "of TensorBoard logs: the scalar that is the loss")


@dataclass(frozen=True)
class FitOptions(OfFit):
    """Laws of a sweep's losses with intervals, and the compute gap of two objectives."""

    does = "unmask.scaling.fit:scale_fit"

    runs: str = argument("RUNS", "a CSV (objective, flops, params, loss), a sweep, or TensorBoard logs")
    out: str | None = option(None, "the result as JSON, with draws, for scale predict", metavar="FILE")


@dataclass(frozen=True)
class ReportOptions(OfFit):
    """The fit as a page with pictures, the published gaps beside it."""

    does = "unmask.scaling.report:scale_report"

    runs: str = argument("RUNS", "as for scale fit")
    out: str = option(NEEDED, "report.html, fit.json, and pictures as PNG and SVG", metavar="FOLDER")
    beside: list[str] = option([], "other runs, or a fit.json, whose gap stands beside; repeatable", metavar="FILE")
    over: list[str] = option([], "a run trained since, laid over what the fit predicts; repeatable", metavar="RUN")

    @property
    def fit(self) -> FitOptions:
        """Those of the fit."""
        shared = {name: getattr(self, name) for name in ("pair", "exclude", "resamples", "seed", "tag")}
        return FitOptions(self.runs, **shared)

    def check(self) -> None:
        """Raises `UserError` where the report could not be written."""
        out = Path(self.out)
        if out.exists() and not out.is_dir():
            raise UserError(f"--out {out} is a file; give a folder", field="out")
        check_writable([out / "report.html"] if out.is_dir() else [out])


@dataclass(frozen=True)
class PredictOptions(Options):
    """Optimal size, tokens and loss of a budget, or of what else is given."""

    does = "unmask.scaling.predict:scale_predict"

    flops: float | None = option(None, "a budget, such as 1e21", above=0)
    loss: float | None = option(None, "nats a token: the compute it takes", above=0)
    params: float | None = option(None, "non-embedding parameters, with --tokens: the loss", above=0)
    tokens: float | None = option(None, "that they are trained on", above=0)
    unique: float | None = option(None, "of them, the others repeat these", above=0)
    source: str | None = option(
        None,
        "paper, ours, or a fit.json; by default ours, but of --flops the one that ran nearer",
        flag="--from",
        metavar="FIT",
    )

    def check(self) -> None:
        """Raises `UserError` for what asks for nothing, or for several things."""
        if (self.params is None) != (self.tokens is None):
            missing = "tokens" if self.tokens is None else "params"
            raise UserError(f"--params and --tokens go together; give --{missing} as well", field=missing)
        asked = [self.flops is not None, self.loss is not None, self.params is not None]
        if sum(asked) != 1:
            raise UserError("give one of --flops, --loss, and --params with --tokens", field="flops")
        if self.unique is not None and self.loss is not None:
            mend = "give --flops, or --params and --tokens"
            raise UserError(f"--unique does not go with --loss; {mend}", field="unique")
