"""docs/results.md: the paper's claims beside our figures, generated from the results that are kept.

    python -m unmask.experiments.table                          # results/*/result.json -> docs/results.md
    python -m unmask.experiments.table runs/experiments/reversal    # first puts that result into results/

Run in a checkout. The same command writes what `unmask experiment` lists as found. A --quick result is refused.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unmask.errors import UserError
from unmask.experiments.command import FOUND, KIND, README, RESULT
from unmask.experiments.frame import experiments
from unmask.files import write_whole
from unmask.settings import read_json
from unmask.terminal import say

HEAD = """\
# The paper's findings at our size

Each row is an experiment of [its own](experiments.md), run by its command; the interval is 95%, over items in clusters
and over seeds. This page is generated from `results/*/result.json` by `python -m unmask.experiments.table`.

| The paper's claim | Our command | Our figure, 95% | Holds at our size? |
|---|---|---|---|
"""


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """The kept results by experiment. Raises `UserError` for a file that is none, and for one of --quick."""
    found = {}
    for path in sorted(folder.glob(f"*/{RESULT}")):
        result = read_json(path)
        if not isinstance(result, dict) or result.get("kind") != KIND or result.get("experiment") != path.parent.name:
            raise UserError(f"{path} is not a result of the experiment {path.parent.name}; take it away")
        if result["size"] == "quick":
            raise UserError(f"{path} is of --quick, which is no result; run {path.parent.name} without it")
        found[path.parent.name] = result
    return found


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The page; an experiment without a result has a row that says so."""
    rows = []
    for name, one in experiments().items():
        result = found.get(name)
        command = result["command"] if result else f"unmask experiment {name}"
        figure, holds = (result["figure"], result["holds"]) if result else ("not run yet", "")
        link = f"[{name}](../results/{name}/README.md): " if result else f"{name}: "
        cells = [link + one.claim, f"`{command}`", figure, holds]
        rows.append("| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |")
    return HEAD + "\n".join(rows) + "\n"


def keep(run: Path, folder: Path) -> Path:
    """Copies what a finished experiment found (result, page, pictures) to where results are kept."""
    result = read_json(run / RESULT) if (run / RESULT).is_file() else {}
    if result.get("kind") != KIND:
        raise UserError(f"{run} has no {RESULT} of an experiment; finish it with unmask experiment --resume")
    if result["size"] == "quick":
        raise UserError(f"{run} is of --quick, which is no result; run {result['experiment']} without it")
    place = folder / result["experiment"]
    place.mkdir(parents=True, exist_ok=True)
    for path in [run / RESULT, run / README, *sorted(run.glob("*.png"))]:
        shutil.copyfile(path, place / path.name)
    return place


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="finished experiments to keep first")
    parser.add_argument("--results", type=Path, default=Path("results"), help="where results are kept")
    parser.add_argument("--page", type=Path, default=Path("docs/results.md"), help="the page to write")
    args = parser.parse_args()
    try:
        for run in args.runs:
            say(f"kept in {keep(run, args.results)}")
        found = results(args.results)
        write_whole(args.page, table(found))
        said = {name: f"{result['figure']}; holds: {result['holds']}" for name, result in found.items()}
        if FOUND.is_relative_to(Path.cwd()):  # of this checkout
            write_whole(FOUND, json.dumps(said, indent=1, ensure_ascii=False) + "\n")
    except UserError as error:
        say(f"unmask: error: {error}")
        return 2
    print(args.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
