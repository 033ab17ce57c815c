"""A sweep's folder: which runs are done, in hand, cut, failed; one results file that several writers share.

    sweep = Sweep.open("sweep", plan)
    with sweep.claim(run) as claim: ...               # None where another process has it
    sweep.append(row)                                 # a whole line, under a lock

    sweep.json          what all runs share, and nothing of when
    results.jsonl       a line a finished run
    claims/NAME         locked while a process works on it; holds the run's digest from its beginning on
    failed/NAME.json    why, until --retry
    runs/NAME/          a run folder of `unmask train`, with the final weights as its model; a trunk's has none
    logs/NAME.log       what the run said

Locks are flock's: they end with the last process that holds them, so nothing is left to clean up after a kill.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from unmask.errors import UserError
from unmask.files import parse_json, write_whole
from unmask.likelihood.methods import of_windows
from unmask.model.checkpoints import CHECKPOINTS, flaw, newest_checkpoint
from unmask.scaling.plan_file import Plan
from unmask.scaling.runs import PlannedRun
from unmask.settings import read_json

SCHEMA_VERSION = 1
SWEEP, RESULTS, PROGRESS = "sweep.json", "results.jsonl", "progress.json"
FOLDERS = ("claims", "failed", "runs", "logs", "recipes")
STATES = ("done", "running", "failed", "cut", "waiting")


class Sweep:
    """The folder of one sweep."""

    def __init__(self, path: Path, plan: Plan) -> None:
        self.path, self.plan, self._digests = path, plan, plan.digests()
        self._runs = {run.name: run for run in plan.runs}
        self._branches: dict[str, list[PlannedRun]] = {}
        for run in plan.runs:
            if run.trunk is not None:
                self._branches.setdefault(run.trunk, []).append(run)

    @classmethod
    def open(cls, path: str | Path, plan: Plan, make: bool = True) -> Sweep:
        """Makes it, or goes on with it. Raises `UserError` where it is another plan's; `make=False` writes nothing."""
        folder = Path(path)
        sweep = cls(folder, plan)
        there = (folder / SWEEP).is_file()
        if not there and folder.exists():
            foreign = not folder.is_dir() or any(not path.name.startswith(".") for path in folder.iterdir())
            there = (folder / SWEEP).is_file()  # by now: another shard may be making it
            if foreign and not there:
                raise UserError(f"{folder} exists and is no sweep (it has no {SWEEP}); give another --out")
        if not there and not make:
            raise UserError(f"{folder} is no sweep yet; start it with `unmask scale run PLAN --out {folder}`")
        if there:
            sweep._refuse_another_plan()
        elif make:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"{folder} cannot be made: {error.strerror}; give another --out") from error
            text = json.dumps({"schema_version": SCHEMA_VERSION, **plan.base()}, indent=1)
            write_whole(folder / SWEEP, text + "\n")
        for name in FOLDERS if make else ():
            (folder / name).mkdir(exist_ok=True)
        return sweep

    def _refuse_another_plan(self) -> None:
        """What all runs share must be the same, and each run that was begun must be in the plan as it was."""
        plan = read_json(self.path / SWEEP)
        if not isinstance(plan, dict) or plan.get("schema_version") != SCHEMA_VERSION:
            raise UserError(f"{self.path / SWEEP} is not of this version's schema {SCHEMA_VERSION}; give another --out")
        words = {"data_sum": "data", "context": "context", "scoring": "scoring protocol"}
        for key, value in self.plan.base().items():
            if plan.get(key) != value:
                raise UserError(
                    f"{self.path} is the sweep of another plan: its {words[key]} differs; give another --out"
                )
        for name, digest in self.begun().items():
            if name not in self._digests:
                raise UserError(
                    f"{self.path} is the sweep of another plan: it has {name}, which this one does not; give another "
                    "--out, or a plan that has it too"
                )
            if digest not in ("", self._digests[name]):
                raise UserError(
                    f"{self.path} began {name} with other settings than this plan's (sums {digest} and "
                    f"{self._digests[name]}); give the runs of this plan a tag, or another --out"
                )

    def begun(self) -> dict[str, str]:
        """The digest of each run that any process ever took up."""
        claims = sorted((self.path / "claims").glob("*"))
        return {path.name: path.read_text(encoding="utf-8").strip() for path in claims}

    def folder(self, name: str) -> Path:
        return self.path / "runs" / name

    def log(self, name: str) -> Path:
        return self.path / "logs" / f"{name}.log"

    def claim(self, run: PlannedRun) -> IO[str] | None:
        """The run's lock, held while the file is open (also by a child that inherits it); None: another has it."""
        file = (self.path / "claims" / run.name).open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        file.seek(0)
        if not file.read():
            file.write(self._digests[run.name] + "\n")
            file.flush()
        return file

    def held(self, name: str) -> bool:
        """Whether some process works on a run."""
        try:
            with (self.path / "claims" / name).open("r", encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def rows(self) -> dict[str, dict[str, Any]]:
        """Results by run. A last line that is not whole is nobody's. Raises `UserError` for a damaged file."""
        return read_results(self.path / RESULTS)

    def append(self, row: Mapping[str, Any]) -> None:
        """Adds a run's line unless it is there; on disk when this returns."""
        line = (json.dumps(row, ensure_ascii=False) + "\n").encode()
        with (self.path / RESULTS).open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            text = file.read()
            whole = text.rfind(b"\n") + 1
            if whole < len(text):  # of a writer that was killed in the middle
                file.truncate(whole)
            if row["name"] in (old.get("name") for old in _lines(text[:whole], self.path / RESULTS)):
                return
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def failure(self, name: str) -> str | None:
        """Why a run failed; None where it did not."""
        path = self.path / "failed" / f"{name}.json"
        return str(read_json(path).get("reason", "unknown")) if path.is_file() else None

    def fail(self, name: str, reason: str) -> None:
        write_whole(self.path / "failed" / f"{name}.json", json.dumps({"name": name, "reason": reason}) + "\n")

    def forgive(self, name: str) -> None:
        (self.path / "failed" / f"{name}.json").unlink(missing_ok=True)

    def ready(self, run: PlannedRun) -> bool:
        """Whether a run may begin, or go on: a branch once its trunk has come to where it forks off."""
        if run.trunk is None or newest_checkpoint(self.folder(run.name)) is not None:
            return True
        fork = self.folder(run.trunk) / CHECKPOINTS / f"step-{run.forked_at:08d}"
        return fork.is_dir() and flaw(fork, full=False) is None

    def wanted(self, trunk: PlannedRun, rows: Mapping[str, Any] | None = None) -> list[int]:
        """Steps at which branches that are not done wait for a trunk; it is done where there are none."""
        rows = self.rows() if rows is None else rows
        branches = self._branches.get(trunk.name, [])
        return [run.forked_at for run in branches if run.name not in rows and not self.ready(run)]

    def clear(self, name: str) -> None:
        """Takes away what only a run that goes on needs, of a trunk once all of its branches are done."""
        rows = self.rows()
        if all(run.name in rows for run in self._branches.get(name, [])):
            shutil.rmtree(self.folder(name) / CHECKPOINTS, ignore_errors=True)
        if (trunk := self._runs[name].trunk) is not None:
            self.clear(trunk)

    def states(self) -> dict[str, str]:
        """Of each run of the plan: done, running, failed, cut (begun, to be resumed) or waiting."""
        rows = self.rows()
        states = {}
        for run in self.plan.runs:
            held = run.is_trunk and self.held(run.name)
            if run.name in rows or (run.is_trunk and not held and not self.wanted(run, rows)):
                states[run.name] = "done"
            elif self.held(run.name):
                states[run.name] = "running"
            elif self.failure(run.name) is not None:
                states[run.name] = "failed"
            else:
                states[run.name] = "cut" if self.folder(run.name).exists() else "waiting"
        return states


def read_results(path: Path) -> dict[str, dict[str, Any]]:
    """The rows of a results file by their names; none where there is no file. The estimator has today's name."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return {}
    rows: dict[str, dict[str, Any]] = {}
    for row in _lines(text[: text.rfind(b"\n") + 1], path):
        if (name := str(row["name"])) in rows:
            raise UserError(f"{path} has {name} twice; take one line away")
        if "method" in row:
            row["method"] = of_windows(row["method"])
        rows[name] = row
    return rows


def _lines(text: bytes, path: Path) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            row = parse_json(line)
        except ValueError:
            row = None
        if not isinstance(row, dict) or "name" not in row:
            raise UserError(f"{path}: line {number} is no result of a run; take it away, the run is done again")
        rows.append(row)
    return rows
