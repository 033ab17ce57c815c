"""An experiment's folder: stages that are done once and kept, and training runs in child processes that go on.

    place = Workplace(settings, chosen)                    # the folder, checked against what it was begun with
    table = place.kept("mdm-0-trained", ask, model=sum)    # JSON; asked for again only where `model` is another
    place.train({"mdm-0": recipe, "arm-0": recipe})        # {"mdm-0": folder, ...}; finished runs are skipped

Whatever ends the process, starting it again with --resume goes on: runs from their newest checkpoint, stages from the
last one that was whole.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from unmask.data.manifest import FILE, Manifest
from unmask.errors import UserError
from unmask.evaluation.stages import Stages, run_together
from unmask.experiments.frame import Settings, experiments
from unmask.experiments.processes import by_processes
from unmask.files import file_sha256, write_whole
from unmask.model.checkpoints import checkpoints
from unmask.model.folder import WEIGHTS, resolve
from unmask.settings import read_json
from unmask.training.recipe import build
from unmask.training.recipe_fields import Recipe
from unmask.training.record import INIT, read_record
from unmask.training.run_folder import checksums, flat
from unmask.training.setup import data_record

BEGUN, RUNS, KEPT, RECIPES = "settings.json", "runs", "stages", "recipes"
# Keys of a recipe that decide nothing of what is learned.
PLACES = ("out", "data", "init", "device", "threads", "log_every", "sft.validation")


@dataclass(frozen=True)
class Ask:
    """What a stage is given, and the facts that what it gave is kept with."""

    given: Sequence[Any]
    facts: Mapping[str, Any]


class Workplace:
    """`out` of the settings; `chosen` are the experiment's own, which decide what its figures mean.

    free: those that decide no run and no stage but by what these are kept with; a begun folder may go on with others.
    """

    def __init__(self, settings: Settings, chosen: Mapping[str, Any], name: str, free: Sequence[str] = ()) -> None:
        """Raises `UserError` where the folder holds something else, or something begun and --resume is not given."""
        self.settings, self.out = settings, settings.out
        own = {key: value for key, value in chosen.items() if key not in free}
        begun = {"experiment": name, "size": settings.size, "settings": json.loads(json.dumps(own))}
        path = self.out / BEGUN
        if path.is_file():
            known = experiments().get(name)
            usual = known.settings_of(replace(settings, changes=())) if known else {}
            refuse_other(without(read_json(path), free), begun, {"settings": usual}, self.out)
            if not settings.resume:
                raise UserError(f"{self.out} holds a begun experiment; add --resume to go on, or give another --out")
        elif self.out.is_dir() and any(self.out.iterdir()):
            raise UserError(f"{self.out} holds something else than an experiment; give another --out")
        try:
            for folder in (self.out, self.out / RUNS, self.out / KEPT, self.out / RECIPES):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.out} cannot be made: {error.strerror}; give another --out") from error
        write_whole(path, json.dumps(begun, indent=1) + "\n")
        self._stages = Stages(self.out / "times.json")

    def kept(self, name: str, make: Callable[[], Any], **facts: Any) -> Any:
        """What `make` gives (JSON values), from a file where it was made before with the same facts."""
        if (before := self._before(name, facts)) is not None:
            return before[0]
        with self._stages.measure(name):
            value = make()
        return self._keep(name, facts, value)

    def kept_each(self, make: Callable[..., Any], asks: Mapping[str, Ask]) -> dict[str, Any]:
        """The same of many, in any order and by `jobs` processes: `make(*ask.given)` of each name, each kept when done.

        With more than one job `make` is a function of a module (`processes.py`).
        """
        found = {name: before[0] for name, ask in asks.items() if (before := self._before(name, ask.facts)) is not None}
        missing = {name: ask.given for name, ask in asks.items() if name not in found}
        if self.settings.jobs > 1 and len(missing) > 1:
            for name, value, seconds in by_processes(make, missing, self.settings.jobs):
                self._stages.add(name, seconds, 0, fresh=True)
                found[name] = self._keep(name, asks[name].facts, value)
        else:
            for name, given in missing.items():
                found[name] = self.kept(name, partial(make, *given), **asks[name].facts)
        return {name: found[name] for name in asks}

    def _before(self, name: str, facts: Mapping[str, Any]) -> tuple[Any] | None:
        path = self._kept_at(name)
        if not path.is_file() or (before := read_json(path))["facts"] != plain(facts):
            return None
        return (before["value"],)

    def _keep(self, name: str, facts: Mapping[str, Any], value: Any) -> Any:
        text = json.dumps({"facts": plain(facts), "value": value}, ensure_ascii=False) + "\n"
        write_whole(self._kept_at(name), text)
        return read_json(self._kept_at(name))["value"]

    def _kept_at(self, name: str) -> Path:
        return self.out / KEPT / f"{name}.json"

    def train(self, recipes: Mapping[str, Mapping[str, Any]]) -> dict[str, Path]:
        """Trains each recipe (a mapping without `out`) in a child process; their folders by name.

        `jobs` at a time in the order given, the next when one ends: longest first wastes least. Raises `UserError`
        where one fails, or where a folder of that name was begun by another recipe; `Stopped` by a signal, once the
        children have saved.
        """
        folders = {name: self.out / RUNS / name for name in recipes}
        waiting = [name for name in recipes if not self.finished(name, recipes[name])]
        commands = {name: self._command(name, recipes[name], folders[name]) for name in waiting}

        def ended(name: str, done: Mapping[str, Any]) -> None:
            if done["step"] == done["steps"]:
                write_whole(self._marker(name), json.dumps({**done, "rows_sha256": rows_sum(recipes[name])}) + "\n")

        found = run_together(commands, self._stages, at_once=self.settings.jobs, ended=ended) if commands else {}
        for name, done in found.items():
            if done["step"] < done["steps"]:
                raise UserError(f"{folders[name]} ended at step {done['step']} of {done['steps']}; add --resume")
        return folders

    def finished(self, name: str, recipe: Mapping[str, Any]) -> bool:
        """Raises `UserError` where the run of that name is another one."""
        folder = self.out / RUNS / name
        if (record := read_record(folder) if folder.is_dir() else None) is None:
            return False
        # By the recipe that the record makes now: a later version may know settings that it did not have.
        begun = flat(build(Recipe, record.settings, "").to_dict())
        for key, value in flat(self._whole(recipe, folder).to_dict()).items():
            if not {key, key.partition(".")[0]} & set(PLACES) and (before := begun.get(key)) != value:
                raise UserError(f"{folder} was begun with {key} {before!r}, not {value!r}; give another --out")
        done = self._marker(name).is_file() and bool(checkpoints(folder))
        refuse_other_start(folder, recipe, self.trained(name).get("rows_sha256") if done else None)
        return done

    def trained(self, name: str) -> dict[str, Any]:
        """What `unmask train --json` said of a finished run: steps, tokens, flops, seconds."""
        marker: dict[str, Any] = read_json(self._marker(name))
        return marker

    def _marker(self, name: str) -> Path:
        return self.out / RUNS / f"{name}.json"

    def _whole(self, recipe: Mapping[str, Any], folder: Path) -> Recipe:
        own = {"out": str(folder), "threads": self.settings.threads, "device": self.settings.device}
        return build(Recipe, {**recipe, **own}, "")

    def _command(self, name: str, recipe: Mapping[str, Any], folder: Path) -> list[str]:
        words = [sys.executable, "-m", "unmask", "train"]
        if (folder / "recipe.yaml").is_file():
            words += [str(folder), "--resume", "--threads", str(self.settings.threads)]
        else:
            path = self.out / RECIPES / f"{name}.yaml"
            write_whole(path, yaml.safe_dump(self._whole(recipe, folder).to_dict(), sort_keys=False))
            words.append(str(path))
        return [*words, "--json"]

    def times(self) -> dict[str, Any]:
        """Seconds and peak memory of every stage and run so far."""
        return dict(self._stages.records)


def plain(facts: Mapping[str, Any]) -> Any:
    """As they are read again."""
    return json.loads(json.dumps(facts, sort_keys=True, default=str))


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows as JSON lines; a file that holds just these stays as it is."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_whole(path, text)


def rows_sum(recipe: Mapping[str, Any]) -> str | None:
    """Of a file of rows, which has no manifest to tell it by."""
    return file_sha256(Path(recipe["data"])) if Path(recipe["data"]).is_file() else None


def refuse_other_start(run: Path, recipe: Mapping[str, Any], rows: str | None) -> None:
    """Raises `UserError` where a run began with other data, or another base, than lies at the recipe's paths now.

    Paths may move, so what they hold is compared: by the sums that a run records. rows: the sum of a file of rows.
    """
    mend = "give another --out, or what it began with"
    data, prepared = Path(recipe["data"]), run / "data.json"
    if prepared.is_file() and (data / FILE).is_file():
        if checksums(read_json(prepared)) != checksums(data_record(Manifest.load(data))):
            raise UserError(f"{run} was trained on other data than {data} holds; {mend}")
    elif rows is not None and data.is_file() and rows != file_sha256(data):
        raise UserError(f"{run} was trained on other rows than {data} holds; {mend}")
    if recipe.get("init") and (run / INIT).is_file():
        if read_json(run / INIT)["weights"] != file_sha256(resolve(recipe["init"]) / WEIGHTS):
            raise UserError(f"{run} began with another model than {recipe['init']}; {mend}")


def without(begun: Any, free: Sequence[str]) -> Any:
    """What a folder was begun with, less what is free now: an earlier version may have kept it."""
    return {**begun, "settings": {key: value for key, value in begun.get("settings", {}).items() if key not in free}}


def refuse_other(before: Any, now: Mapping[str, Any], usual: Mapping[str, Any], out: Path) -> None:
    """Raises `UserError` naming the first setting that differs; what an earlier version did not know was as `usual`."""
    other = flat(dict(now))
    begun = {**{key: value for key, value in flat(dict(usual)).items() if key in other}, **flat(dict(before))}
    for key in dict.fromkeys([*other, *begun]):
        if begun.get(key) != other.get(key):
            was, this = begun.get(key, "not set"), other.get(key, "not set")
            name = key.removeprefix("settings.")
            raise UserError(f"{out} was begun with {name} {was!r}, not {this!r}; give another --out")

