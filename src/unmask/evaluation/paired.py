"""Two results of `unmask eval` on the same questions: paired differences with their intervals.

    unmask compare a.json b.json [--across-dtypes]
    compare_results("a.json", "b.json")["tasks"]["hellaswag"]["acc"]["difference"]

Both models have answered the same questions, so the difference is taken question by question: its standard error is
that of the mean of these differences, mostly far below what the two errors together suggest. Results whose protocols
differ are refused, with the place. An autoregressive model is exact whatever was asked for, so that between the two
kinds of model the estimator may differ, and is told; between two of a kind it must be the same.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from unmask.errors import UserError
from unmask.evaluation.provenance import KIND, SCHEMA_VERSION
from unmask.evaluation.request_store import first_difference
from unmask.settings import read_json
from unmask.statistics import interval

ESTIMATION = ("estimator", "guidance", "seed", "until_se")


def compare_results(first: str | Path, second: str | Path, across_dtypes: bool = False) -> dict[str, Any]:
    """{"tasks": {task: {metric: {a, b, difference, se, interval, n}}}, ...}: `difference` is b - a.

    across_dtypes: also where one model computed in fp32 and the other in bf16. Raises `UserError` for files that are no
    results, that share no task, or whose protocols differ.
    """
    a, b = read_result(first), read_result(second)
    common = [name for name in a["tasks"] if name in b["tasks"]]
    if not common:
        raise UserError(
            f"{first} and {second} have no task in common: {', '.join(a['tasks'])} and {', '.join(b['tasks'])}"
        )
    kinds = (a["model"]["kind"], b["model"]["kind"])
    tasks: dict[str, Any] = {}
    across: list[str] = []  # the two types, where some task's differ
    for name in common:
        protocols: list[dict[str, Any]] = []
        dtypes: list[str] = []
        for path, result in ((first, a), (second, b)):
            check_task(path, name, result["tasks"][name])
            protocol = dict(result["tasks"][name]["protocol"])
            dtypes.append(str(protocol.pop("dtype", "fp32")))
            if kinds[0] != kinds[1]:
                for field in ESTIMATION:
                    protocol.pop(field)
            protocols.append(protocol)
        if dtypes[0] != dtypes[1]:
            across = dtypes
        if across and not across_dtypes:
            raise UserError(
                f"{first} is of {dtypes[0]} and {second} of {dtypes[1]}; evaluate both in one type, or give "
                "--across-dtypes"
            )
        if (where := first_difference(protocols[0], protocols[1])) is not None:
            raise UserError(
                f"{first} and {second} are of different protocols, tasks.{name}.protocol.{where}; "
                "evaluate both in the same way"
            )
        tasks[name] = compare_task(a["tasks"][name], b["tasks"][name])
    estimators = {name: [result["tasks"][name]["protocol"]["estimator"] for result in (a, b)] for name in common}
    return {
        "schema_version": 1,
        "a": {"file": str(first), **a["model"]},
        "b": {"file": str(second), **b["model"]},
        "only_in_one": sorted({*a["tasks"], *b["tasks"]} - set(common)),
        "estimators": estimators,
        **({"dtypes": across} if across else {}),
        "tasks": tasks,
    }


def compare_task(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """Each metric that both have for every question. Perplexity is compared as nats per question."""
    differences = {}
    if len(a["items"]) != len(b["items"]):
        raise UserError(f"one result has {len(a['items'])} questions, the other {len(b['items'])}; evaluate again")
    for metric in a["metrics"]:
        if not a["items"]:
            break
        pairs = [(x.get(metric), y.get(metric)) for x, y in zip(a["items"], b["items"], strict=True)]
        if any(not isinstance(value, int | float) for pair in pairs for value in pair):
            continue
        name = f"{metric} (log p)" if metric == "perplexity" else metric
        differences[name] = paired([float(x) for x, _ in pairs], [float(y) for _, y in pairs])
    return differences


def paired(a: list[float], b: list[float]) -> dict[str, Any]:
    """Means, the mean of b - a, its standard error and 95% interval by Student's t."""
    n = len(a)
    differences = [y - x for x, y in zip(a, b, strict=True)]
    mean = sum(differences) / n
    se = math.sqrt(sum((d - mean) ** 2 for d in differences) / (n - 1) / n) if n > 1 else None
    return {"a": sum(a) / n, "b": sum(b) / n, "difference": mean, "se": se, "interval": interval(mean, se, n), "n": n}


def read_result(path: str | Path) -> dict[str, Any]:
    result = read_json(Path(path))
    if not isinstance(result, dict) or result.get("kind") != KIND:
        raise UserError(f"{path} is not a result of unmask eval; give two files that its --out wrote")
    version = result.get("schema_version", 0)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise UserError(f"{path} is of schema {version}, newer than this version; upgrade unmask")
    model, tasks = result.get("model"), result.get("tasks")
    whole = isinstance(version, int) and isinstance(model, dict) and "kind" in model and isinstance(tasks, dict)
    if not whole:
        raise UserError(f"{path} is damaged: it lacks schema_version, model.kind or tasks; evaluate again")
    return result


def check_task(path: str | Path, name: str, task: Any) -> None:
    """Raises `UserError` naming the first entry that a comparison needs and that is not there, or not of its kind."""
    kinds = {"protocol": dict, "metrics": dict, "items": list}
    fields = task if isinstance(task, dict) else {}
    lacking = [part for part, kind in kinds.items() if not isinstance(fields.get(part), kind)]
    if not lacking:
        lacking = [f"protocol.{field}" for field in ESTIMATION if field not in task["protocol"]]
        lacking += ["items"] * (not all(isinstance(item, dict) for item in task["items"]))
        lacking += ["protocol.estimator.method"] * (not lacking and "method" not in task["protocol"]["estimator"])
    if lacking:
        raise UserError(f"{path} is damaged: it lacks tasks.{name}.{lacking[0]}; evaluate again")


def in_words(result: dict[str, Any]) -> str:
    lines = [f"a: {result['a']['file']} ({result['a']['kind']})", f"b: {result['b']['file']} ({result['b']['kind']})"]
    for name, metrics in result["tasks"].items():
        for metric, figure in metrics.items():
            interval = "" if figure["interval"] is None else "  95% [{:+.4f}, {:+.4f}]".format(*figure["interval"])
            lines.append(
                f"{name:<12} {metric:<18} a {figure['a']:.4f}  b {figure['b']:.4f}  b - a {figure['difference']:+.4f}"
                f"{interval}  n {figure['n']}"
            )
        first, second = result["estimators"][name]
        if first != second:
            lines.append(f"{'':<12} estimators: {first['method']} and {second['method']}")
    if "dtypes" in result:
        lines.append("types: a {}, b {}: differences hold rounding too".format(*result["dtypes"]))
    if result["only_in_one"]:
        lines.append(f"in one file only: {', '.join(result['only_in_one'])}")
    return "\n".join(lines)
