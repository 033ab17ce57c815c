"""What `unmask experiment` takes; no heavy import, since its help is shown from here.

    unmask experiment
    unmask experiment reversal --seeds 3 --resume --plot
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask.errors import UserError
from unmask.options import Options, argument, option

if TYPE_CHECKING:
    from unmask.experiments.frame import Settings

PLACES = ("packages",)  # settings that say where something lies
KEPT = Path("results/scaling/runs")  # of a checkout: the sweep's runs that are kept


@dataclass(frozen=True)
class ExperimentOptions(Options):
    """Runs one of the paper's findings at our size; without a name lists them, with their times and what was found."""

    does = "unmask.experiments.command:run_experiment"

    name: str | None = argument("NAME", "which, or demo; by default lists them all", None)
    seeds: str = option("3", "how many, or which: 0,1,2")
    quick: bool = option(False, "minutes on one thread, one seed: to try it, no result")
    full: bool = option(False, "the paper's size, for GPUs")
    resume: bool = option(False, "go on with what is in --out")
    until: str | None = option(None, "stop after it, such as reversal's choice", metavar="STAGE")
    plot: bool = option(False, "draw its pictures")
    out: str | None = option(None, "runs and result; by default runs/experiments/NAME", metavar="FOLDER")
    data: str | None = option(None, "of an experiment that takes your data", metavar="PATH")
    base: list[str] = option([], "a model to start from, where it takes one; repeatable", metavar="RUN")
    set: list[str] = option([], "of its settings; repeatable", metavar="KEY=VALUE")
    jobs: int = option(1, "training runs, and processes that score, at a time", least=1)
    threads: int = option(1, "of each", least=1)
    device: str = option("cpu", "auto, cpu, cuda or cuda:N")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.quick and self.full:
            raise UserError("--quick and --full are both given; leave out one", field="quick")

    def settings(self) -> Settings:
        """Raises `UserError` for seeds that are none, and for --quick into a folder of results."""
        from unmask.experiments.frame import Settings, seeds_of

        out = Path(self.out or f"runs/experiments/{self.name}")
        if self.quick and "results" in (out.resolve().name, out.resolve().parent.name):
            raise UserError(f"--quick is no result, and --out {out} is a folder of results; give another --out")
        seeds = seeds_of(self.seeds)
        return Settings(
            out, seeds[:1] if self.quick else seeds, self.quick, self.full, self.resume, self.plot, self.until,
            self.data, tuple(map(kept, self.base)), tuple(self.set), self.jobs, self.threads, self.device, self.words(),
        )  # fmt: skip

    def words(self) -> tuple[str, ...]:
        """The command that does the same again; paths by their last part, since others have them elsewhere, and without
        where packages lie, which decides nothing."""
        words = ["unmask", "experiment", str(self.name)]
        words += ["--seeds", self.seeds] if self.seeds != "3" else []
        words += [f"--{name}" for name in ("quick", "full") if getattr(self, name)]
        words += ["--data", Path(self.data).name] if self.data and not self.of_packages() else []
        for base in self.base:
            role, equals, path = base.rpartition("=")
            words += ["--base", f"{role}{equals}{Path(path).name}"]
        for change in self.set:
            key, equals, value = change.partition("=")
            if key not in PLACES:
                words += ["--set", f"{key}{equals}{portable(value)}"]
        return (*words, "--plot") if self.plot else tuple(words)


    def of_packages(self) -> bool:
        """Whether --data is but the folder that packages lie in."""
        from unmask.experiments.frame import experiments

        known = experiments().get(str(self.name))
        return known is not None and known.fields.get("data") == "packages"


def kept(base: str) -> str:
    """A --base by the name of a run that a checkout keeps, where no path is called so."""
    role, equals, path = base.rpartition("=")
    return f"{role}{equals}{KEPT / path}" if not Path(path).exists() and (KEPT / path).exists() else base


def portable(value: Any) -> Any:
    """A setting, or a group or list of them, as it is recorded: of an absolute path the last part."""
    if isinstance(value, dict):
        return {key: portable(one) for key, one in value.items()}
    if isinstance(value, list):
        return [portable(one) for one in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
