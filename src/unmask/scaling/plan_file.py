"""The plan file: what was asked for and, beside it, every run it comes to.

    write_plan("plan.yaml", Plan(spec, facts, runs))
    plan = read_plan("plan.yaml")                        # for `scale run`, `scale status`

YAML (or JSON, which is YAML); the runs one a line. `scale plan` takes such a file again, with more parts.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from unmask.errors import UserError
from unmask.files import write_whole
from unmask.scaling.parts import SCHEMA_VERSION, Part, Spec, spec_of
from unmask.scaling.runs import Facts, PlannedRun
from unmask.settings import read_yaml


@dataclass(frozen=True)
class Plan:
    """A sweep: its settings, its data, its runs in their order."""

    spec: Spec
    facts: Facts
    runs: list[PlannedRun]

    def base(self) -> dict[str, Any]:
        """What all runs of a sweep share: their losses are comparable by that alone."""
        spec = self.spec
        return {"data_sum": self.facts.data_sum, "context": spec.context, "scoring": vars(spec.scoring)}

    def digests(self) -> dict[str, str]:
        return {run.name: run.digest(self.facts.data_sum) for run in self.runs}


def write_plan(path: str | Path, plan: Plan) -> None:
    """Raises `UserError` where it cannot be written."""
    spec = dataclasses.asdict(plan.spec)
    parts = spec.pop("parts")
    usual = {**dataclasses.asdict(Part("", "", [])), "part": None}
    lean = [{name: value for name, value in part.items() if value != usual[name]} for part in parts]
    text = yaml.safe_dump({"schema_version": SCHEMA_VERSION, **spec}, sort_keys=False)
    text += "parts:\n" + "".join(f"  - {_line(part)}\n" for part in lean)
    text += "# Made by `unmask scale plan`; what is below follows from what is above.\n"
    text += f"data_sum: {json.dumps(plan.facts.data_sum)}\n"
    text += "runs:\n" + "".join(f"  - {_line(run.to_dict())}\n" for run in plan.runs)
    write_whole(path, text)


def _line(fields: dict[str, Any]) -> str:
    """One line of flow style."""
    dumped: str = yaml.safe_dump(fields, default_flow_style=True, sort_keys=False, width=10**6)
    return dumped.strip()


def read_spec(path: str | Path) -> Spec:
    """What was asked for, of a plan or of a file that a person wrote."""
    if not Path(path).is_file():
        raise UserError(f"{path} does not exist; give a plan (unmask scale plan --help)")
    return spec_of(read_yaml(path), str(path))


def read_plan(path: str | Path, data: str | None = None) -> Plan:
    """A plan with its runs. `data`: where the data lies now. Raises `UserError` where that is other data."""
    spec, runs = read_spec(path), listed(path)
    if not runs:
        raise UserError(f"{path} lists no runs yet; make them with `unmask scale plan {path} --out PLAN`")
    if data is not None:
        spec = dataclasses.replace(spec, data=data)
    if not spec.data:
        raise UserError(f"{path} was planned without data; give --data FOLDER to `unmask scale plan {path} --out PLAN`")
    facts = Facts.of(spec)
    if read_yaml(path).get("data_sum") != facts.data_sum:
        raise UserError(f"{spec.data} is not the data that {path} was planned with; put it back, or plan again")
    return Plan(spec, facts, runs)


def listed(path: str | Path) -> list[PlannedRun]:
    """The runs that a plan lists; none in a file that is not planned yet."""
    rows = read_yaml(path).get("runs") or []
    if not isinstance(rows, list):
        raise UserError(f"{path}: runs is no list; make the plan again with `unmask scale plan`")
    return [_run_of(row, f"{path}: runs.{i}") for i, row in enumerate(rows)]


def _run_of(row: Any, where: str) -> PlannedRun:
    try:
        run = PlannedRun(**row)
        run.recipe_for("-", "-")
        return run
    except TypeError as error:
        reason = str(error).replace("PlannedRun.__init__() ", "")
        raise UserError(f"{where} is damaged ({reason}); make the plan again with `unmask scale plan`") from error
