"""docs/results.md: the paper's claims beside our figures, generated from the results that are kept.

    python -m unmask.experiments.table                          # results/*/result.json -> docs/results.md
    python -m unmask.experiments.table runs/experiments/reversal    # first puts that result into results/
    python -m unmask.experiments.table results/reversal runs/own    # one from parts (reversal: sets, ablations)

Run in a checkout. The same command writes what `unmask experiment` lists as found. A --quick result is refused.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask.errors import UserError
from unmask.experiments.command import FOUND, KIND, README, RESULT, write
from unmask.experiments.frame import experiment, experiments
from unmask.files import write_whole
from unmask.options import Options, Result, argument, option
from unmask.settings import read_json
from unmask.terminal import say

HEAD = """\
# The paper's findings at our size

Each row is an experiment of [its own](experiments.md), run by its command; the interval is 95%, over items in clusters
and over seeds (three, the default). Paths have their last part alone. In a checkout bases are found by their names in
`results/scaling/runs`, but for `arm-96x3-2e12-s0` ([how](experiments.md#speed-speed-against-quality)); `people` is made
as [the page](experiments.md#guidance-unsupervised-guidance) says. This page is generated from `results/*/result.json`
by `python -m unmask.experiments.table`.

| The paper's claim | Our command | Our figure, 95% | Holds at our size? |
|---|---|---|---|
"""


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """The kept results by experiment. Raises `UserError` for a file that is none, and for one of --quick."""
    by_name = {}
    for path in sorted(folder.glob(f"*/{RESULT}")):
        result = read_json(path)
        if not isinstance(result, dict) or result.get("kind") != KIND or result.get("experiment") != path.parent.name:
            raise UserError(f"{path} is not a result of the experiment {path.parent.name}; take it away")
        if result["size"] == "quick":
            raise UserError(f"{path} is of --quick, which is no result; run {path.parent.name} without it")
        by_name[path.parent.name] = result
    return by_name


def table(by_name: Mapping[str, Mapping[str, Any]]) -> str:
    """The page; an experiment without a result has a row that says so."""
    rows = []
    for name, entry in experiments().items():
        result = by_name.get(name)
        command = result["command"] if result else f"unmask experiment {name}"
        figure, holds = (result["figure"], result["holds"]) if result else ("not run yet", "")
        link = f"[{name}](../results/{name}/README.md): " if result else f"{name}: "
        cells = [link + entry.claim, f"`{command}`", figure, holds]
        rows.append("| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |")
    return HEAD + "\n".join(rows) + "\n"


def keep_all(runs: Sequence[Path], folder: Path) -> list[Path]:
    """Puts what finished experiments found to where results are kept; several of one experiment are its parts."""
    by_name: dict[str, list[Path]] = {}
    for run in runs:
        by_name.setdefault(finished(run)["experiment"], []).append(run)
    return [
        keep(parts[0], folder) if len(parts) == 1 and not finished(parts[0]).get("ablation")
        else keep_together(name, parts, folder)
        for name, parts in by_name.items()
    ]  # fmt: skip


def finished(run: Path) -> dict[str, Any]:
    """The result of an experiment. Raises `UserError` where it has none, or one of --quick."""
    result: dict[str, Any] = read_json(run / RESULT) if (run / RESULT).is_file() else {}
    if result.get("kind") != KIND:
        raise UserError(f"{run} has no {RESULT} of an experiment; finish it with unmask experiment --resume")
    if result["size"] == "quick":
        raise UserError(f"{run} is of --quick, which is no result; run {result['experiment']} without it")
    return result


def keep(run: Path, folder: Path) -> Path:
    """Copies what a finished experiment found (result, page, pictures) to where results are kept."""
    place = folder / finished(run)["experiment"]
    place.mkdir(parents=True, exist_ok=True)
    for path in [run / RESULT, run / README, *sorted(run.glob("*.png"))]:
        if path.resolve() != (place / path.name).resolve():  # it may be kept already
            shutil.copyfile(path, place / path.name)
    return place


def keep_together(name: str, parts: Sequence[Path], folder: Path) -> Path:
    """One result of several, with its page and pictures. Raises `UserError` where they do not go together."""
    chosen, place = experiment(name), folder / name
    if (together := getattr(chosen.module, "together", None)) is None:
        raise UserError(f"{', '.join(map(str, parts))} are all of {name}, which is not run in parts; give one of them")
    result = together([finished(part) for part in parts])
    place.mkdir(parents=True, exist_ok=True)
    write(chosen, result, place, draw=True)
    return place


@dataclass(frozen=True)
class TableOptions(Options):
    """Keeps finished experiments under results/, and writes the page of all of them."""

    runs: list[Path] = argument("RUN", "finished experiments to keep first", [])
    results: Path = option(Path("results"), "where results are kept")
    page: Path = option(Path("docs/results.md"), "the page to write")

    def run(self) -> Result:
        for place in keep_all(self.runs, self.results):
            say(f"kept in {place}")
        kept = results(self.results)
        write_whole(self.page, table(kept))
        figures = {name: f"{result['figure']}; holds: {result['holds']}" for name, result in kept.items()}
        if FOUND.is_relative_to(Path.cwd()):  # of this checkout
            write_whole(FOUND, json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
        return Result(figures, str(self.page))


def main() -> int:
    try:
        print(TableOptions.from_words(sys.argv[1:], "unmask.experiments.table")[0].run().in_words())
    except UserError as error:
        say(f"unmask: error: {error}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
