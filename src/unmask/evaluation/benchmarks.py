"""The paper's zero-shot benchmarks by one command, through lm-evaluation-harness, each number with its protocol.

    unmask eval runs/mdm --tasks hellaswag,lambada --limit 200 --out mdm.json
    evaluate("runs/mdm", ["hellaswag", "lambada"], limit=200, out="mdm.json")

Method and guidance of each task are the paper's (arXiv 2410.18514): a Monte Carlo bound or the chain rule; where the
paper draws Bernoulli masks, fixed counts are drawn, which estimate the same with less variance. `--method mc-bernoulli
--draws 1024` is the paper's way to the letter. A name such as `hellaswag` means the hub's data where the hub can be
reached, and else the local task `unmask_hellaswag`; the result says which, with variant and split.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask.errors import UserError, nearest
from unmask.evaluation.lm_eval_adapter import UnmaskLM, task_manager, usable_device
from unmask.evaluation.provenance import KIND, SCHEMA_VERSION, model_facts, versions, write_result
from unmask.evaluation.request_store import RequestStore, request_key
from unmask.model.folder import Model, load
from unmask.terminal import say


@dataclass(frozen=True)
class Way:
    """How the paper scores a task, and what the task is called on either side."""

    method: str
    guidance: float
    hub: str
    local: str


PAPER = {
    "hellaswag": Way("mc-fixed", 0.7, "hellaswag", "unmask_hellaswag"),
    "race": Way("mc-fixed", 0.7, "race", "unmask_race"),
    "siqa": Way("mc-fixed", 0.6, "social_iqa", "unmask_siqa"),
    "arc_easy": Way("mc-fixed", 0.6, "arc_easy", "unmask_arc_easy"),
    "piqa": Way("chain-rule", 0.6, "piqa", "unmask_piqa"),
    "openbookqa": Way("chain-rule", 1.6, "openbookqa", "unmask_openbookqa"),
    "boolq": Way("chain-rule", 1.6, "boolq", "unmask_boolq"),
    "lambada": Way("chain-rule", 1.1, "lambada_standard", "unmask_lambada"),
}
OTHER = Way("mc-fixed", 0.0, "", "")  # tasks the paper does not have


def evaluate(
    path: str | Path | Model,
    tasks: Sequence[str],
    limit: int | None = None,
    method: str | None = None,
    guidance: float | None = None,
    draws: int | None = None,
    seed: int = 0,
    until_se: float | None = None,
    out: str | Path | None = None,
    device: str | None = None,
    batch_tokens: int | None = None,
    verify: bool | None = None,
) -> dict[str, Any]:
    """Evaluates a model on every task; returns the result (JSON values) and, with `out`, writes it.

    limit: the first so many questions of each. method, guidance, draws: instead of the paper's, for all tasks. verify:
    as of `unmask.load`. While it runs, answers are kept in `out` with `.partial.jsonl` behind, and a killed evaluation
    goes on from there. Raises `UserError` for an unknown task, for one whose data is missing (naming where it is), and
    for answers of another protocol in the way.
    """
    import lm_eval

    if not tasks:
        raise UserError(f"tasks is empty; give some of {', '.join(PAPER)}, or the harness's own")
    if limit is not None and limit < 1:
        raise UserError(f"limit is {limit}; give at least 1, or leave it out for all questions")
    began = time.monotonic()
    quiet_harness()
    manager = task_manager()
    chosen = [choose(name, manager) for name in dict.fromkeys(tasks)]
    model = path if isinstance(path, Model) else load(path, usable_device(device), verify=verify)
    result: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "kind": KIND,
        "model": {"path": str(model.path or ""), **model_facts(model)},
        "versions": versions(),
        "limit": limit,
        "tasks": {},
    }
    partial = None if out is None else Path(f"{out}.partial.jsonl")
    shared = {"model": result["model"], "limit": limit, "method": method, "guidance": guidance, "draws": draws}
    store = RequestStore(partial, {**shared, "seed": seed, "until_se": until_se})
    with store:
        for name, task, way in chosen:
            arm = model.kind == "arm"
            lm = UnmaskLM(
                model=model,
                method=method or way.method,
                guidance=0.0 if arm else way.guidance if guidance is None else guidance,
                draws=draws,
                seed=seed,
                until_se=until_se if (method or way.method) != "chain-rule" else None,
                batch_tokens=batch_tokens,
            )
            lm.store = _Prefixed(store, request_key(lm.protocol))  # type: ignore[assignment]
            say(f"eval: {name}: {task}, {describe(lm)}")
            start = time.monotonic()
            with contextlib.redirect_stdout(sys.stderr):  # the harness prints; stdout is the result's
                found = lm_eval.simple_evaluate(
                    model=lm, tasks=[task], limit=limit, task_manager=manager, bootstrap_iters=1000, log_samples=True
                )
            result["tasks"][name] = entry(found, task, lm, time.monotonic() - start)
    result["wall_seconds"] = time.monotonic() - began
    if out is not None:
        write_result(Path(out), result)
        assert partial is not None
        partial.unlink()
    return result


def choose(name: str, manager: Any) -> tuple[str, str, Way]:
    """(name, the harness's task, the paper's way) of what a user calls a task."""
    for short, way in PAPER.items():
        if name == short:
            if hub_is_reachable():
                return name, way.hub, way
            say(f"eval: {name}: the hub cannot be reached, so {way.local} from local data")
            return name, way.local, way
        if name in (way.hub, way.local):
            return name, name, way
    if name not in manager.all_tasks:
        known = [*PAPER, *(way.local for way in PAPER.values()), *manager.all_subtasks]
        raise UserError(f"task '{name}' is unknown{nearest(name, known)}; the paper's are {', '.join(PAPER)}")
    return name, name, OTHER


_reachable: bool | None = None


def hub_is_reachable() -> bool:
    """Whether the hub answers within a few seconds; asked once. HF_HUB_OFFLINE=1 says no."""
    global _reachable
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        return False
    if _reachable is None:
        from huggingface_hub import constants

        try:
            urllib.request.urlopen(urllib.request.Request(constants.ENDPOINT, method="HEAD"), timeout=3).close()
            _reachable = True
        except (OSError, ValueError):
            _reachable = False
    return _reachable


def entry(found: Any, task: str, lm: UnmaskLM, seconds: float) -> dict[str, Any]:
    """One task of the result: metrics with their standard errors over questions, protocol, and every question."""
    config, samples = found["configs"][task], found["samples"][task]
    values = {name.partition(",")[0]: value for name, value in found["results"][task].items() if "," in name}
    names = [name for name in values if not name.endswith("_stderr")]
    items, answers = [], []
    for sample in samples:
        item: dict[str, Any] = {"id": sample["doc_id"], "hash": sample["prompt_hash"][:16]}
        item |= {name: sample[name] for name in names if isinstance(sample.get(name), int | float)}
        if config["output_type"] in ("multiple_choice", "loglikelihood"):
            own = lm.answers([(context, continuation) for context, continuation, *_ in sample["arguments"]])
            answers += own
            item |= {name: [getattr(a, name) for a in own] for name in ("logprob", "se", "n_tokens")}
        else:
            item["answer"] = sample["filtered_resps"]
        items.append(item)
    metadata = config.get("metadata") or {}
    return {
        "task": task,
        "variant": metadata.get("variant", f"hub {config.get('dataset_path')}/{config.get('dataset_name')}"),
        "split": config.get("test_split") or config.get("validation_split"),
        "source": metadata.get("source", config.get("dataset_path")),
        "n": len(items),
        "metrics": {name: {"value": values[name], "se": number(values.get(f"{name}_stderr"))} for name in names},
        "protocol": {
            "task": task,
            "version": found["versions"].get(task),
            "fewshot": found["n-shot"].get(task, 0),
            "items": request_key([[item["id"], item["hash"]] for item in items]),
            "estimator": lm.protocol["estimator"],
            "guidance": lm.guidance,
            "seed": lm.seed,
            "until_se": lm.protocol["until_se"],
        },
        "tokens": sum(answer.n_tokens for answer in answers),
        "contexts_cut": sum(answer.dropped > 0 for answer in answers),
        "answers_in_pieces": sum(answer.pieces > 1 for answer in answers),
        "seconds": seconds,
        "items": items,
    }


def number(value: Any) -> float | None:
    """The harness writes N/A where it has no standard error."""
    return float(value) if isinstance(value, int | float) else None


class _Prefixed:
    """A store shared by tasks that are asked in different ways."""

    def __init__(self, store: RequestStore, prefix: str) -> None:
        self._store, self._prefix = store, prefix

    def get(self, key: str) -> Any:
        return self._store.get(self._prefix + key)

    def put(self, key: str, answer: Any) -> None:
        self._store.put(self._prefix + key, answer)


def describe(lm: UnmaskLM) -> str:
    estimator = lm.estimator
    drawn = f", {estimator.draws} draws" if estimator.sampled else ""
    guided = f", guidance {lm.guidance}" if lm.guidance else ""
    return f"{estimator.method}{drawn}{guided}"


def in_words(result: dict[str, Any]) -> str:
    """A line for each task and metric."""
    lines = []
    for name, task in result["tasks"].items():
        estimator = task["protocol"]["estimator"]
        how = estimator["method"] + (f" {estimator['draws']}" if estimator["draws"] else "")
        for metric, found in task["metrics"].items():
            se = "" if found["se"] is None else f" (se {found['se']:.4f})"
            lines.append(
                f"{name:<12} {metric:<10} {found['value']:.4f}{se}  n {task['n']}, {task['task']} {task['split']}, "
                f"{how}, guidance {task['protocol']['guidance']}"
            )
        if cut := task["contexts_cut"]:
            lines.append(f"{'':<12} {cut} contexts were cut on the left to fit the model")
        if pieces := task["answers_in_pieces"]:
            lines.append(f"{'':<12} {pieces} answers were longer than the model's context and scored in pieces")
    return "\n".join(lines)


def quiet_harness() -> None:
    """The harness logs a page for every task; warnings are enough here."""
    for name in ("lm_eval", "lm-eval", "datasets"):
        logging.getLogger(name).setLevel(logging.ERROR)
