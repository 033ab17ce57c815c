"""One run of a sweep in hand: a child that trains and scores it (`child.py`), resumable at any moment.

    job = Job(sweep, run, claim, threads=1)
    while job.poll(): ...
    job.outcome                                # "done", "cut" or "failed", then with a `reason`

Children hold the run's claim too, so a run whose runner was killed stays claimed until its child has saved and gone;
that its runner is gone a child learns by the end of its stdin.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

import yaml

from unmask.errors import UserError
from unmask.files import write_whole
from unmask.model.checkpoints import newest_checkpoint, step_of
from unmask.provenance import code
from unmask.scaling.runs import PlannedRun
from unmask.scaling.sweep import Sweep
from unmask.settings import read_json
from unmask.training.fork import FORK
from unmask.training.record import Record, read_record

KILLS = 3  # deaths by a signal that nobody asked for, after which a run counts as failed
ASKED = (130, 143)  # statuses of a child that saved and stopped


class Job:
    """`outcome` is None while it runs."""

    def __init__(
        self, sweep: Sweep, run: PlannedRun, claim: IO[str], threads: int, precision: str | None = None
    ) -> None:
        """precision: the type to train in instead of the plan's."""
        self.sweep, self.run, self.precision = sweep, run, precision or run.precision
        self.folder = sweep.folder(run.name)
        self.outcome: str | None = None
        self.reason = ""
        self._claim, self._threads = claim, threads
        self._kills, self._stopping = 0, False
        self._process: subprocess.Popen[str] | None = None
        self._start()

    def _start(self) -> None:
        """The child: on the run's folder where there is one, else by a new recipe."""
        plan, threads = self.sweep.plan, self._threads
        record = read_record(self.folder) if self.folder.is_dir() else None
        if record is not None and not self._goes_on(record):
            shutil.rmtree(self.folder)
            record = None
        if self.run.trunk is not None:
            self._refuse_other_type(self.run.trunk)
        recipe, changes = self.folder, {} if record is None else self._changes(record)
        if record is None:
            fields = self.run.recipe_for(plan.spec.data, str(self.folder.resolve()), threads, self.precision).to_dict()
            recipe = self.sweep.path / "recipes" / f"{self.run.name}.yaml"
            write_whole(recipe, yaml.safe_dump(fields, sort_keys=False))
        self._spawn(
            {
                "recipe": str(recipe),
                "resume": record is not None,
                "data": plan.spec.data,
                "threads": threads,
                "repeats": bool(self.run.unique_tokens),
                "changes": changes,
                "scoring": None if self.run.is_trunk else vars(plan.spec.scoring),
                "entropy": str(self.sweep.path / "unigram.json"),
            }
        )

    def _goes_on(self, record: Record) -> bool:
        """Else it begins again: of a type that this machine does not have, or a trunk that lacks a checkpoint."""
        if record.settings.get("precision") != self.precision:
            return False
        newest = newest_checkpoint(self.folder) if self.run.is_trunk else None
        return newest is None or all(step > step_of(newest.name) for step in self.sweep.wanted(self.run))

    def _changes(self, record: Record) -> dict[str, str]:
        """What a run that goes on is told anew: a trunk may be longer and have more branches, the sweep have moved."""
        if self.run.is_trunk:
            steps = max(self.run.steps, int(record.settings.get("steps", 0)))
            return {"steps": str(steps), "checkpoint.at": str(self.run.forks)}
        return {} if self.run.trunk is None else {"fork": self.run.fork_beside(str(self.folder.resolve()))}

    def _refuse_other_type(self, trunk: str) -> None:
        """Raises `UserError` where a branch would be of another type than its trunk."""
        record = read_record(self.sweep.folder(trunk))
        recorded = self.precision if record is None else record.settings.get("precision")
        if recorded != self.precision:
            mend = f"delete {self.sweep.folder(trunk)} to train it again"
            raise UserError(f"its trunk {trunk} is in {recorded}, not {self.precision}; {mend}")

    def _spawn(self, asked: dict[str, Any]) -> None:
        self._stdout = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        threads = str(self._threads)
        with self.sweep.log(self.run.name).open("a", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "unmask.scaling.child"],
                stdin=subprocess.PIPE,  # open as long as this process lives
                stdout=self._stdout,
                stderr=log,
                text=True,
                start_new_session=True,  # a Ctrl-C reaches it once, through the runner
                pass_fds=(self._claim.fileno(),),
                env={**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
            )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended at once: its status says why
            print(json.dumps(asked), file=self._process.stdin, flush=True)

    def poll(self) -> bool:
        """Whether it still runs."""
        if self.outcome is None and self._process is not None and self._process.poll() is not None:
            assert self._process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
            try:
                self._ended(self._process.returncode)
            except (UserError, OSError, ValueError) as error:
                self._close("failed", str(error))
        return self.outcome is None

    def _ended(self, status: int) -> None:
        if status == 0:
            self._stdout.seek(0)
            answer = json.loads(self._stdout.read())
            if answer["score"] is not None:  # no trunk
                self.sweep.append(self._row(answer["trained"], answer["score"]))
            self.sweep.clear(self.run.name)
            self._close("done")
        elif self._stopping:
            self._close("cut")
        elif status < 0 or status in ASKED:
            self._kills += 1
            number = -status if status < 0 else status - 128
            if self._kills < KILLS:
                self._start()
            else:
                self._close("failed", f"killed by signal {number}, {KILLS} times (out of memory?)")
        else:
            self._close("failed", last_line(self.sweep.log(self.run.name)))

    def _row(self, trained: dict[str, Any], score: dict[str, Any]) -> dict[str, Any]:
        """A line of the results: what was run, what came out, and by what it was measured."""
        run = self.run
        before = 0.0 if run.trunk is None else float(read_json(self.folder / FORK)["seconds"])
        training = trained["seconds"] - before  # a branch's own
        seconds = training + score.pop("scoring_seconds")
        return {
            "name": run.name,
            "state": "finished" if run.fitted else "aside",  # laws are fitted to finished ones
            **{field: getattr(run, field) for field in ("part", "objective", "size", "seed")},
            "flops": run.budget or run.flops,  # what was asked for, so that all runs of a budget have the same
            "flops_exact": run.flops,
            "flops_6nd": run.flops_6nd,
            "flops_rule": self.sweep.plan.spec.flops_rule,
            "flops_per_token": run.flops_per_token,
            "params": run.params,
            "tokens": trained["tokens"],
            **{field: score.pop(field) for field in ("loss", "se", "plateau")},
            **{field: getattr(run, field) for field in ("steps", "epochs", "subset", "trunk")},
            "unique_tokens": run.unique_tokens or None,
            "forked_at": run.forked_at or None,
            **{field: getattr(run, field) for field in ("lr", "batch", "batch_tokens", "warmup", "recipe", "compile")},
            "type": self.precision,
            "planned_type": run.precision,
            "threads": self._threads,
            "skipped": trained["skipped"],
            "seconds": round(seconds, 1),
            "training_seconds": round(training, 1),
            "digest": run.digest(self.sweep.plan.facts.data_sum),
            **score,
            **code(),
        }

    def stop(self, number: int) -> None:
        """Passes a signal on: the child saves and ends."""
        self._stopping = True
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _close(self, outcome: str, reason: str = "") -> None:
        self.outcome, self.reason = outcome, reason
        if outcome == "failed":
            self.sweep.fail(self.run.name, reason)
        self._claim.close()


def last_line(log: Path) -> str:
    """What a child said at its end: its error, else its last words."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line.removeprefix("unmask: error: ") for line in lines if line.startswith("unmask: error: ")]
    return (errors or lines or ["ended without a word"])[-1]
