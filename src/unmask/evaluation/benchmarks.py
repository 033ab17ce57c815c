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
import importlib
import logging
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask.errors import UserError
from unmask.evaluation import OWN
from unmask.evaluation.generation_arguments import read_arguments
from unmask.evaluation.harness import (
    TASKS,
    check_names,
    harness_folder,
    in_one_line,
    local_manager,
    matching,
    names_in,
    tame,
    task_manager,
)
from unmask.evaluation.request_store import RequestStore, request_key
from unmask.files import check_writable
from unmask.hub import is_reachable
from unmask.statistics import ci_text, interval
from unmask.terminal import say

if TYPE_CHECKING:
    from unmask.evaluation.lm_eval_adapter import UnmaskLM
    from unmask.model.folder import Model


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
    device: str = "cpu",
    dtype: str = "fp32",
    batch_tokens: int | None = None,
    verify: bool | None = None,
    **own: Any,
) -> dict[str, Any]:
    """Evaluates a model on every task; returns the result (JSON values) and, with `out`, writes it.

    limit: the first so many questions of each. method, guidance, draws: instead of the paper's, for all tasks. device,
    dtype, verify: as of `unmask.load`. own: options of our own tasks (`OWN`). While it runs, answers are kept in `out`
    with `.partial.jsonl` behind, and a killed evaluation goes on from there. Raises `UserError` for an unknown task,
    for one whose data is missing (naming where it is), and for answers of another protocol in the way.
    """
    check_asked(tasks, limit, out)
    began = time.monotonic()
    from unmask.model.placement import check_dtype, choose_device

    check_dtype(dtype)
    choose_device(device)
    ours = [name for name in dict.fromkeys(tasks) if name in OWN]
    own_options = options_of(ours, own, limit, seed)
    harness = Harness([task for task in dict.fromkeys(tasks) if task not in OWN])  # all data must be there beforehand
    from unmask.decoding.rules.plugins import given
    from unmask.evaluation.provenance import KIND, SCHEMA_VERSION, model_facts, writing
    from unmask.model.folder import Model, load
    from unmask.provenance import versions

    model = path if isinstance(path, Model) else load(path, device, dtype, verify=verify)
    result: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "kind": KIND,
        "model": {"path": str(model.path or ""), **model_facts(model)},
        **given(),
        "versions": versions(),
        "limit": limit,
        "tasks": {},
    }
    asked = Asked(method, guidance, draws, seed, until_se, limit)
    with writing(out, {"model": result["model"], **asdict(asked), **given()}, result) as store:
        for name in ours:
            say(f"eval: {name}")
            start = time.monotonic()
            home, _, work = OWN[name]
            made = getattr(importlib.import_module(home), work)(model, store, own_options[name])
            result["tasks"][name] = {**made, "seconds": time.monotonic() - start}
        result["tasks"] |= harness.evaluate(model, store, asked, batch_tokens)
        result["wall_seconds"] = time.monotonic() - began
    return result


def options_of(names: Sequence[str], own: dict[str, Any], limit: int | None, seed: int) -> dict[str, Any]:
    """The options of each of our tasks. Raises `UserError` for one that none of the tasks asked for has."""
    given = {key: value for key, value in own.items() if value is not None}
    chosen, used = {}, set[str]()
    for name in names:
        home, options, _ = OWN[name]
        made = getattr(importlib.import_module(home), options)
        taken = {key: value for key, value in given.items() if key in made.__dataclass_fields__}
        chosen[name] = made(limit=limit, seed=seed, **taken)
        used |= taken.keys()
    if idle := [key for key in given if key not in used]:
        raise UserError(f"--{idle[0]} is of the task {', '.join(OWN)}; add it to --tasks, or leave the option out")
    return chosen


@dataclass(frozen=True)
class Asked:
    """How all tasks of the harness are to be answered; None is the paper's own way."""

    method: str | None
    guidance: float | None
    draws: int | None
    seed: int
    until_se: float | None
    limit: int | None


class Harness:
    """Tasks of lm-evaluation-harness, their data read; without a task the harness is not needed."""

    def __init__(self, tasks: Sequence[str]) -> None:
        self.chosen: list[tuple[str, str, Way]] = []
        if tasks:
            quiet_harness()
            self.chosen = [choose(name) for task in tasks for name in matching(task)]
        self.loaded = {task: load_task(task) for _, task, _ in self.chosen}

    def evaluate(self, model: Model, store: RequestStore, asked: Asked, batch_tokens: int | None) -> dict[str, Any]:
        """An entry a task."""
        entries: dict[str, Any] = {}
        for name, task, way in self.chosen:
            from unmask.evaluation.lm_eval_adapter import UnmaskLM

            method, arm = asked.method or way.method, model.kind == "arm"
            lm = UnmaskLM(
                model=model,
                method=method,
                guidance=0.0 if arm else way.guidance if asked.guidance is None else asked.guidance,
                draws=asked.draws,
                seed=asked.seed,
                until_se=asked.until_se if method != "chain-rule" else None,
                batch_tokens=batch_tokens,
            )
            lm.store = _Prefixed(store, request_key(lm.protocol))  # type: ignore[assignment]
            say(f"eval: {name}: {task}, {describe(lm)}")
            for part, made in ask(lm, name, self.loaded[task], asked.limit).items():  # several of a group or a tag
                entries[name if part == task else part] = made
        return entries


def check_asked(tasks: Sequence[str], limit: int | None, out: str | Path | None) -> None:
    if not tasks:
        raise UserError(f"tasks is empty; give some of {', '.join([*PAPER, *OWN])}, or the harness's own")
    if limit is not None and limit < 1:
        raise UserError(f"limit is {limit}; give at least 1, or leave it out for all questions")
    if out is not None and Path(out).parent.is_dir():  # a folder that is missing is made
        check_writable([out])


def ask(lm: Any, name: str, loaded: list[Any], limit: int | None) -> dict[str, dict[str, Any]]:
    """The harness asks the model; the entries of a task, or of each part of a group, by their name."""
    import lm_eval

    start = time.monotonic()
    with contextlib.redirect_stdout(sys.stderr), in_one_line(name):  # stdout is the result's
        output = lm_eval.simple_evaluate(
            model=lm, tasks=loaded, limit=limit, task_manager=local_manager(), bootstrap_iters=1000, log_samples=True
        )
    seconds = time.monotonic() - start
    return {part: entry(output, part, lm, seconds) for part in output["configs"]}


def choose(name: str) -> tuple[str, str, Way]:
    """(name, the harness's task, the paper's way) of what a user calls a task."""
    for short, way in PAPER.items():
        if name == short:
            if is_reachable():
                return name, way.hub, way
            say(f"eval: {name}: the hub cannot be reached, so {way.local} from local data")
            return name, way.local, way
        if name in (way.hub, way.local):
            return name, name, way
    check_names([name], [TASKS], more=[*PAPER, *(way.local for way in PAPER.values())])
    return name, name, OTHER


def load_task(task: str) -> list[Any]:
    """The harness's task objects of a task, a group or a tag, their data read and their arguments checked."""
    tame()
    own, harness = (names_in(folder)[1] for folder in (TASKS, harness_folder()))
    if task in own:
        manager, spec = local_manager(), task
    elif task in harness or Path(task).is_file():  # one file, without the index
        manager, spec = local_manager(), str(harness.get(task, task))
    else:
        manager, spec = task_manager(), task
    with contextlib.redirect_stdout(sys.stderr), in_one_line(task):
        loaded = list(manager.load([spec])["tasks"].values())
    for task_object in loaded:
        if task_object.OUTPUT_TYPE == "generate_until":
            read_arguments(dict(task_object.config.generation_kwargs or {}))
    return loaded


def entry(output: Any, task: str, lm: UnmaskLM, seconds: float) -> dict[str, Any]:
    """One task of the result: metrics with their standard errors over questions, protocol, and every question."""
    from unmask.decoding.rules.plugins import given
    from unmask.model.placement import noted

    config, samples = output["configs"][task], output["samples"][task]
    values = {metric_name(name): value for name, value in output["results"][task].items() if "," in name}
    names = [name for name in values if "_stderr" not in name]
    items: dict[int, dict[str, Any]] = {}
    answers: list[Any] = []  # what is known of each answer: `Answer`, `RollingScore` as JSON, `Writing`
    for sample, own in zip(samples, answers_of(samples, config["output_type"], lm), strict=True):
        item = items.setdefault(sample["doc_id"], {"id": sample["doc_id"], "hash": sample["prompt_hash"][:16]})
        for name in sample["metrics"]:  # a sample a filter of the answers
            if isinstance(sample.get(name), int | float):
                item[metric_name(f"{name},{sample['filter']}")] = sample[name]
        if own is None:
            continue
        answers += own
        if config["output_type"] == "generate_until":
            item["answer"] = sample["filtered_resps"]
        else:
            item |= {name: [getattr(a, name) for a in own] for name in ("logprob", "se", "interval", "n_tokens")}
    metadata = config.get("metadata") or {}
    n = len(items)
    metrics = {}
    for name in names:
        metric, comma, filtered = name.partition(",")
        se = number(values.get(f"{metric}_stderr{comma}{filtered}"))
        within = None if se is None else interval(values[name], se, n)
        metrics[name] = {"value": values[name], "se": se, "interval": within}
    return {
        "task": task,
        "variant": metadata.get("variant", f"hub {config.get('dataset_path')}/{config.get('dataset_name')}"),
        "split": config.get("test_split") or config.get("validation_split"),
        "source": metadata.get("source", config.get("dataset_path")),
        "n": n,
        "metrics": metrics,
        "protocol": {
            "task": task,
            "version": output["versions"].get(task),
            "fewshot": output["n-shot"].get(task, 0),
            "items": request_key([[item["id"], item["hash"]] for item in items.values()]),
            "estimator": lm.protocol["estimator"],
            "guidance": lm.guidance,
            "seed": lm.seed,
            "until_se": lm.protocol["until_se"],
            **noted(lm.model.dtype),
            **(given() if config["output_type"] == "generate_until" else {}),
        },
        "tokens": sum(getattr(answer, "n_tokens", 0) for answer in answers),
        "contexts_cut": sum(getattr(answer, "dropped", 0) > 0 for answer in answers),
        "answers_in_pieces": sum(getattr(answer, "pieces", 1) > 1 for answer in answers),
        "texts_shortened": sum(getattr(answer, "length", 0) < getattr(answer, "wanted", 0) for answer in answers),
        "seconds": seconds,
        "items": list(items.values()),
    }


def answers_of(samples: list[dict[str, Any]], kind: str, lm: UnmaskLM) -> list[list[Any] | None]:
    """What the model knows of each sample's answers, from its store; None for the second filter of a question."""
    seen: set[int] = set()
    known: list[list[Any] | None] = []
    written: Any = None
    for sample in samples:
        first = sample["doc_id"] not in seen
        seen.add(sample["doc_id"])
        if not first:
            known.append(None)
        elif kind == "generate_until":
            # In the order in which they were asked, since equal questions are told apart by that.
            if written is None:
                filtered = sample["filter"]
                own = [item for item in samples if item["filter"] == filtered]
                parts = [(p, r) for item in own for p, r in zip(item["arguments"], item["resps"], strict=True)]
                written = iter(lm.writings([(part[0], part[1]) for part, replies in parts for _ in replies]))
            known.append([next(written) for replies in sample["resps"] for _ in replies])
        elif kind == "loglikelihood_rolling":
            known.append(lm.rolled([text for text, *_ in sample["arguments"]]))
        else:
            known.append(lm.answers([(context, continuation) for context, continuation, *_ in sample["arguments"]]))
    return known


def metric_name(name: str) -> str:
    """``exact_match,strict-match`` as it is, ``acc,none`` as ``acc``."""
    return name.removesuffix(",none")


def number(value: Any) -> float | None:
    """The harness writes N/A where it has no standard error."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


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
        if name in OWN:
            lines.append(importlib.import_module(OWN[name][0]).in_words(name, task))
            continue
        estimator = task["protocol"]["estimator"]
        how = estimator["method"] + (f" {estimator['draws']}" if estimator["draws"] else "")
        for metric, figure in task["metrics"].items():
            se = "" if figure["se"] is None else f" (se {figure['se']:.4f})"
            lines.append(
                f"{name:<12} {metric:<10} {figure['value']:.4f}{se}{ci_text(figure.get('interval'))}  n {task['n']}, "
                f"{task['task']} {task['split']}, {how}, guidance {task['protocol']['guidance']}"
            )
        if cut := task["contexts_cut"]:
            lines.append(f"{'':<12} {cut} contexts were cut on the left to fit the model")
        if pieces := task["answers_in_pieces"]:
            lines.append(f"{'':<12} {pieces} answers were longer than the model's context and scored in pieces")
        if short := task["texts_shortened"]:
            lines.append(f"{'':<12} {short} texts were written shorter than asked for, to fit the model")
    return "\n".join(lines)


def quiet_harness() -> None:
    """The harness logs a page for every task; warnings are enough here."""
    for name in ("lm_eval", "lm-eval", "datasets"):
        logging.getLogger(name).setLevel(logging.ERROR)
