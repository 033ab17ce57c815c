"""`unmask experiment`: lists the experiments, or runs one and writes its result, reading and pictures.

    unmask experiment
    unmask experiment reversal --quick --out runs/try
    unmask experiment reversal --seeds 3 --resume --plot
    unmask experiment demo                              # has options of its own, see demo/run.py

`result.json` holds `headline` (nested figures of estimate, low, high, n, clusters), seeds, command, commit and
versions; it is written whole, when all of it is known. `README.md` beside it has claim, command, figures and reading.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unmask.experiments.demo import ABOUT, TIME
from unmask.experiments.frame import Experiment, Settings, experiment, experiments, figures
from unmask.experiments.options import ExperimentOptions, portable
from unmask.files import write_whole
from unmask.settings import read_json

RESULT, README, KIND, SCHEMA_VERSION = "result.json", "README.md", "unmask-experiment", 1
MANY = 30  # figures, beyond which a page folds their table away
QUICK = "A try in minutes (--quick): that it runs and what it gives are seen here, not whether the claim holds."
FOUND = Path(__file__).parent / "found.json"  # what the shipped results say, for the list


def run_experiment(options: ExperimentOptions) -> dict[str, Any]:
    """The list of experiments, or the result of one; a `signal` in it says what ended it early.

    Raises `UserError` for an unknown name, an option that the experiment does not take, a folder in the way, and what
    the experiment refuses.
    """
    if options.name is None:
        return {"experiments": listed(), "demo": {"about": ABOUT, "time": TIME}}
    chosen = experiment(options.name)
    settings = options.settings()
    chosen.refuse_untaken(settings)
    from unmask.evaluation.stages import Stopped

    try:
        outcome = chosen.module.run(settings)
    except Stopped as stopped:
        return {"experiment": chosen.name, "out": str(settings.out), "signal": stopped.number}
    if "headline" not in outcome:  # told to stop on the way
        return {"experiment": chosen.name, "out": str(settings.out), "until": settings.until, **outcome}
    result = {**described(chosen, settings), **outcome}
    pictures = write(chosen, result, settings.out, settings.plot)
    return {**result, "out": str(settings.out), "pictures": pictures}


def write(chosen: Experiment, result: dict[str, Any], folder: Path, draw: bool) -> list[str]:
    """`result` gets what its experiment says of it, and is written with its page; names of the pictures drawn."""
    check_headline(result)
    result |= {part: getattr(chosen.module, part)(result) for part in ("figure", "holds", "reading")}
    write_whole(folder / RESULT, json.dumps(result, indent=1, ensure_ascii=False) + "\n")  # before what may fail
    pictures = [path.name for path in chosen.module.plot(result, folder)] if draw else []
    write_whole(folder / README, page(result, pictures))
    return pictures


def described(chosen: Experiment, settings: Settings) -> dict[str, Any]:
    """What a result must carry to be had again."""
    from unmask.provenance import code, versions
    from unmask.scaling.machine import machine

    return {
        "schema_version": SCHEMA_VERSION,
        "kind": KIND,
        "experiment": chosen.name,
        "claim": chosen.claim,
        "size": settings.size,
        "seeds": list(settings.seeds),
        "command": shlex.join(settings.command),
        "commit": code()["commit"],
        "versions": versions(),
        "machine": machine(),
        "settings": portable(chosen.settings_of(settings)),
    }


def check_headline(result: Mapping[str, Any]) -> None:
    """Raises ValueError where an experiment's headline is not made of figures."""
    by_name = figures(result["headline"])
    wrong = [name for name, figure in by_name.items() if not {"low", "high", "n", "clusters"} <= set(figure)]
    if not by_name or wrong:
        raise ValueError(f"headline of {result['experiment']}: {', '.join(wrong) or 'no figure'}")


def page(result: Mapping[str, Any], pictures: Sequence[str]) -> str:
    """README.md of a result."""
    lines = [f"# {result['experiment']}", ""]
    lines += [f"*{QUICK}*", ""] if result["size"] == "quick" else []
    lines += [f"**The paper's claim.** {result['claim']}", ""]
    lines += [f"**Here.** {result['figure']}. Holds at this size: {result['holds']}.", ""]
    lines += ["```sh", result["command"], "```", ""]
    lines += [f"![{Path(name).stem}]({name})\n" for name in pictures]
    by_name = figures(result["headline"])
    table = ["| Figure | Estimate | 95% | n | Clusters |", "|---|---|---|---|---|"]
    for name, figure in by_name.items():
        bounds = f"{figure['low']:.4f} to {figure['high']:.4f}"
        table.append(f"| `{name}` | {figure['estimate']:.4f} | {bounds} | {figure['n']:,} | {figure['clusters']:,} |")
    if len(by_name) > MANY:
        table = ["<details>", f"<summary>All {len(by_name)} figures</summary>", "", *table, "", "</details>"]
    lines += [result["reading"].strip(), "", *table]
    lines += ["", f"Seeds {', '.join(map(str, result['seeds']))}; {'; '.join(origins(result))}."]
    return "\n".join(lines) + "\n"


def origins(result: Mapping[str, Any]) -> list[str]:
    """Commit, machine and versions; of a result from parts each one that differs, behind the names of its parts."""
    by_origin: dict[str, list[str]] = {}
    for name, part in (result.get("parts") or {"": result}).items():
        versions = ", ".join(f"{package} {version}" for package, version in part["versions"].items())
        words = f"commit {part['commit'] or 'unknown'}, on {part['machine']}, {versions}"
        by_origin.setdefault(words, []).append(name)
    return [words if names == [""] else f"{', '.join(names)}: {words}" for words, names in by_origin.items()]


def listed() -> list[dict[str, str]]:
    """Every experiment: name, claim, time, and what was found in the shipped result."""
    known = read_json(FOUND) if FOUND.is_file() else {}
    return [
        {"name": entry.name, "claim": entry.claim, **{f"time_{size}": words for size, words in entry.time.items()},
         "found": known.get(entry.name, "no result is shipped yet")}
        for entry in experiments().values()
    ]  # fmt: skip


def in_words(result: Mapping[str, Any]) -> str:
    if "experiments" in result:
        lines = []
        for entry in result["experiments"]:
            lines += [f"{entry['name']}: {entry['claim']}"]
            lines += [f"  time: {entry['time_usual']}; --quick {entry['time_quick']}; --full {entry['time_full']}"]
            lines += [f"  found: {entry['found']}"]
        lines += [f"demo: {result['demo']['about']}", f"  time: {result['demo']['time']}"]
        return "\n".join(lines)
    if "headline" not in result and result.get("until"):
        return f"{result['out']}: stopped after {result['until']}; go on with --resume"
    if result.get("signal"):
        return f"{result['out']}: stopped, and saved; go on with --resume"
    lines = [f"{result['out']}: {result['figure']}", f"holds at this size: {result['holds']}"]
    lines += [result["reading"].strip()]
    lines += [QUICK] if result["size"] == "quick" else []
    pictures = ", ".join(result["pictures"]) or "no picture (--plot draws them)"
    return "\n".join([*lines, f"written to {result['out']}: {README}, {RESULT}, {pictures}"])
