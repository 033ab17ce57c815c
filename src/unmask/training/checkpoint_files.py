"""Which checkpoint a run goes on from, and which it keeps.

    folder, damaged = choose(run, ranks, full=True)      # the newest whole one, and what is wrong with newer ones
    set_aside(damaged_folder)                            # renamed, so that it counts no more; nothing is deleted
    prune(run, written, keep=2)                          # all but the newest whole ones that are the run's own

Every checkpoint carries the id of its run (``run.json``); those of before carry none and are taken as the run's own.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Collection
from pathlib import Path

from unmask.errors import UserError
from unmask.files import remove
from unmask.model.checkpoints import CHECKPOINTS, Damaged, checkpoints, file_flaw, flaw, read_list, step_of
from unmask.training.distribution import Ranks

STATE = "train_state/state.json"
DAMAGED = "damaged-"  # before the name of one that was set aside
# What a writer that was killed may have left of the run's own files; the last two are an earlier version's.
OWN = r"recipe\.yaml|(versions|run|data|sft|lora|fork|trace)\.json|metrics\.jsonl|wandb-id"
LEFT = re.compile(rf"\.({OWN})\.partial-\d+|recipe\.partial|metrics\.partial")
LEFT_OF_STEPS = re.compile(r"\.step-\d+\.(partial|removed|partial-\d+)")
SET_ASIDE = re.compile(r"\.(step-\d+)\.old-\d+")


def choose(run: Path, ranks: Ranks, full: bool) -> tuple[Path | None, dict[Path, str]]:
    """The newest whole checkpoint, and the flaws of newer ones; (None, {}) where there is none at all.

    Every rank calls it and gets the same, whatever a shared disk shows to each; they share the reading. Raises
    `UserError` where there are some and none is whole.
    """
    folders = ranks.same(ranks.together(lambda: checkpoints(run)))
    damaged: dict[Path, str] = {}
    for folder in reversed(folders):
        if (bad := shared_flaw(folder, ranks, full)) is None:
            return folder, damaged
        damaged[folder] = bad
    if folders:
        newest = folders[-1]
        mend = f"delete {run / CHECKPOINTS} to start again, or put back whole copies"
        raise UserError(f"checkpoint {newest} is damaged: {damaged[newest]}, and no other is whole; {mend}")
    return None, {}


def shared_flaw(folder: Path, ranks: Ranks, full: bool) -> str | None:
    """What is wrong with a checkpoint, each rank having read some of its files."""

    def look() -> str | None:
        try:
            files = read_list(folder).files
        except Damaged as damage:
            return str(damage)
        largest_first = sorted(files, key=lambda name: (-files[name].size, name))
        for name in largest_first[ranks.rank :: ranks.size]:
            if (bad := file_flaw(folder, name, files[name], full)) is not None:
                return bad
        return wrong_step(folder)

    flaws = ranks.all(ranks.together(look))
    return next((bad for bad in flaws if bad is not None), None)


def wrong_step(folder: Path) -> str | None:
    """A checkpoint that says it is of another step than its name: what sizes alone would miss."""
    try:
        step = json.loads((folder / STATE).read_text(encoding="utf-8"))["step"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return f"{STATE} cannot be read"
    return None if step == step_of(folder.name) else f"{STATE} is of step {step}"


def set_aside(folder: Path) -> Path:
    """Renames a checkpoint that is damaged, or what stands in the way of one; returns where it now lies."""
    aside, number = folder.with_name(f"{DAMAGED}{folder.name}"), 1
    while os.path.lexists(aside):
        number += 1
        aside = folder.with_name(f"{DAMAGED}{folder.name}-{number}")
    try:
        folder.rename(aside)
    except OSError as error:
        raise UserError(f"{folder} is damaged and cannot be renamed: {error.strerror}; move it away") from error
    return aside


def run_of(folder: Path) -> tuple[bool, str | None]:
    """Whether a checkpoint's list can be read, and the id of the run it is of."""
    try:
        return True, read_list(folder).run
    except (Damaged, UserError):
        return False, None


def id_record(run_id: str) -> str:
    """What run.json holds."""
    return json.dumps({"schema_version": 1, "id": run_id})


def prune(
    run: Path,
    written: Path,
    keep: int,
    run_id: str | None,
    whole: set[Path],
    full: bool = True,
    named: Collection[int] = (),
) -> None:
    """Takes away what is older than the newest `keep` whole checkpoints; `written`, just written, is the first of them.

    Damaged ones do not count and stay until they are older than those; links, later steps and what carries another
    run's id are never taken. `whole`: those known to be so, which are not read again; what is found is added. `named`:
    steps whose checkpoints stay.
    """
    whole.add(written)
    kept = 0
    for folder in reversed([c for c in checkpoints(run) if step_of(c.name) <= step_of(written.name)]):
        if kept < keep:
            if folder not in whole and _whole(folder, full):
                whole.add(folder)
            kept += folder in whole
        elif step_of(folder.name) in named or folder.is_symlink():
            continue
        elif run_of(folder) in ((True, run_id), (True, None)):
            removed = folder.with_name(f".{folder.name}.removed")  # never half a checkpoint under its name
            remove(removed)
            with contextlib.suppress(OSError):  # the new one is written, whatever becomes of the old
                folder.rename(removed)
                remove(removed)


def _whole(folder: Path, full: bool) -> bool:
    try:
        return flaw(folder, full) is None
    except UserError:  # it may not be read
        return False


def clear_partials(run: Path) -> None:
    """Takes away what writers that were killed have left in a run folder; only the holder of its lock may call it."""
    for path in [*_leftovers(run, LEFT), *_leftovers(run / CHECKPOINTS, LEFT_OF_STEPS)]:
        remove(path)
    for path in _leftovers(run / CHECKPOINTS, SET_ASIDE):
        name = path.with_name(SET_ASIDE.sub(r"\1", path.name))
        if os.path.lexists(name):
            remove(path)
        else:  # killed between the two renames that replace one
            path.rename(name)


def _leftovers(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    try:
        return [folder / name for name in os.listdir(folder) if pattern.fullmatch(name)]
    except OSError:
        return []


def refuse_foreign(run: Path, run_id: str | None, new: bool) -> None:
    """Raises `UserError` where checkpoints of another run lie in a run folder; nothing is deleted.

    `new`: the run is only beginning, so that all there are is another's.
    """
    try:
        left = sorted(name for name in os.listdir(run / CHECKPOINTS) if not name.startswith("."))
    except OSError:
        left = []
    if new and left:
        raise UserError(
            f"{run / CHECKPOINTS} holds {left[0]}, but {run} has no recipe.yaml: it is another run's; move it away, "
            "put back that run's recipe.yaml, or give another --out"
        )
    for folder in checkpoints(run):
        readable, owner = run_of(folder)
        if readable and owner not in (None, run_id):
            lost = "" if run_id else f", or put back the run.json that says it is not: {id_record(str(owner))}"
            raise UserError(f"{folder} is of another run than {run}; move it away{lost}, or give another --out")
