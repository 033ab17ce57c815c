"""`unmask eval RUN --tasks reversal`: names asked by description and descriptions by name, in both directions.

    unmask eval runs/mdm --tasks reversal --data reversal_curse --out mdm.json

`data` is the folder of the original study's files (`questions.py`), whose training lines the model should have read,
one a row behind a space (`unmask experiment reversal` trains such models). Decoding is greedy, by the paper's guidance
(0.8) unless `--decode` says otherwise. Standard errors are over people. A run whose training tokens hold the questions
with their answers is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unmask.decoding.rules.plugins import used
from unmask.errors import UserError, nearest
from unmask.evaluation.exposure import STRETCH, refuse_read, sums
from unmask.evaluation.generation import read_decode
from unmask.evaluation.request_store import Store, answered, request_key
from unmask.evaluation.reversal.answers import BATCH, ask, forms_of, in_any_form, prompt_ids
from unmask.evaluation.reversal.questions import ASKED, DIRECTIONS, People, Question, read_original, skipped_in_words
from unmask.model.folder import Model
from unmask.model.placement import noted
from unmask.statistics import Estimate, all_alike, ci_text, ratio
from unmask.terminal import say

PAPER: dict[str, Any] = {"order": "confidence", "guidance": 0.8}  # arXiv 2410.18514
RULES = ("order", "guidance", "steps")
VERSION = 2  # of what is judged: descriptions are bare at both ends


@dataclass(frozen=True)
class ReversalOptions:
    """data: the folder of the files. length: tokens of the canvas. decode: order, guidance, steps. limit: questions
    of each kind."""

    data: str = ""
    length: int | None = None
    decode: str = ""
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.data:
            raise UserError("the task reversal needs --data FOLDER, the files of the reversal-curse study")
        for name in read_decode(self.decode):
            if name not in RULES:
                raise UserError(f"--decode: '{name}' is no rule of reversal{nearest(name, RULES)}; known: {RULES}")


def reversal_task(model: Model, store: Store, options: ReversalOptions) -> dict[str, Any]:
    """The task's entry of a result of `unmask eval`. Raises `UserError` for data that cannot be used, a model without
    a tokenizer, and a run whose training tokens hold the answers."""
    people = read_original(options.data)
    if line := skipped_in_words(people.skipped):
        say(f"eval: reversal: {line}")
    questions: list[Question] = []
    for direction in DIRECTIONS:
        for asks in ASKED:
            questions += people.of(direction, asks)[: options.limit]
    whole = [prompt_ids(model, f"{question.prompt} {question.answer}") for question in questions]
    known = refuse_answered(model, people)
    length = options.length or min(model.config.block_size, 1 + max(map(len, whole)))
    way = {**(PAPER if model.kind == "mdm" else {}), **read_decode(options.decode)}
    rows = kept_answers(model, store, questions, length, way, options.seed)
    forms = forms_of(people)
    for question, row in zip(questions, rows, strict=True):
        if question.asks == "description":
            row["any_form"] = in_any_form(question.person, row["text"], forms)
    items = [
        {"id": number, "hash": request_key(question.prompt)[:16], "kind": f"{question.direction}_{question.asks}",
         "person": question.person, "text": row["text"], **{key: row[key] for key in row if type(row[key]) is float}}
        for number, (question, row) in enumerate(zip(questions, rows, strict=True))
    ]  # fmt: skip
    return {
        "task": "reversal", "variant": "original files", "split": "test", "source": Path(options.data).name,
        "n": len(items), "metrics": metrics_of(items), "exposure": known,
        "skipped": {why: {"count": len(names), "rows": names[:5]} for why, names in people.skipped.items()},
        "protocol": {
            "task": "reversal", "version": VERSION, "fewshot": 0, "length": length,
            "items": request_key([item["hash"] for item in items]),
            "estimator": {"method": "written", "draws": 1, "decode": {"temperature": 0.0, **way}},
            "guidance": float(way.get("guidance", 0.0)), "seed": options.seed, "until_se": None, **noted(model.dtype),
            **used({**model.defaults, **way}),
        },
        "items": items,
    }  # fmt: skip


def refuse_answered(model: Model, people: People) -> str:
    """How it is known, in words, that a model has not read the reversed questions with their answers.

    Of each the stretch next to where the answer begins is looked for that stands in no line to be trained on: a
    description of many tokens stands there, too. Raises `UserError` where they were read, and without a tokenizer.
    """
    back = [question for question in people.questions if question.direction == "reversed"]
    lines = {stretch for line in people.lines for stretch in stretches(prompt_ids(model, line.text)[1:])}
    texts = []
    for question in back:
        ids = prompt_ids(model, f"{question.prompt} {question.answer}")[1:]
        middle = len(prompt_ids(model, question.prompt)) - STRETCH // 2
        own = [(abs(start - middle), start) for start, known in enumerate(stretches(ids)) if known not in lines]
        start = min(own)[1] if own else len(ids)
        texts.append(ids[start : start + STRETCH])
    return refuse_read(model, texts, [repr(question.prompt) for question in back])


def stretches(ids: Sequence[int]) -> list[int]:
    return sums(np.asarray(ids, dtype=np.uint64)).tolist() if len(ids) >= STRETCH else []


def kept_answers(
    model: Model, store: Store, questions: Sequence[Question], length: int, way: dict[str, Any], seed: int
) -> list[dict[str, Any]]:
    """The answers, as they come into the store, so that a stopped evaluation goes on."""
    rules = {**way, **used({**model.defaults, **way})}
    told = [("reversal", VERSION, question.prompt, question.answer) for question in questions]
    keys = [request_key(*words, length, rules, seed) for words in told]

    def rows(part: list[int]) -> list[dict[str, Any]]:
        return ask(model, [questions[i] for i in part], length, seed=seed, **way)

    return list(map(dict, answered(store, keys, rows, BATCH, ("reversal", "questions"))))


def metrics_of(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means by kind of question, with the error over people."""
    metrics = {}
    for kind in dict.fromkeys(item["kind"] for item in items):
        rows = [item for item in items if item["kind"] == kind]
        for name in [key for key, value in rows[0].items() if isinstance(value, float)]:
            sums: dict[str, list[float]] = {}
            for row in rows:
                sums.setdefault(row["person"], []).append(row[name])
            share = ratio([sum(values) for values in sums.values()], [len(values) for values in sums.values()])
            se, bounds = (None, None) if len(sums) < 2 else (share.se, within_shares(share))
            metrics[f"{kind}_accuracy" if name == "exact" else f"{kind}_{name}"] = {
                "value": share.value, "se": se, "interval": bounds
            }  # fmt: skip
    return metrics


def within_shares(share: Estimate) -> list[float] | None:
    """95% bounds between 0 and 1; where nobody has one right answer, or one wrong, by how many people there are."""
    bounds = all_alike(share.value, share.groups) or share.interval
    return None if bounds is None else [min(1.0, max(0.0, bound)) for bound in bounds]


def in_words(name: str, task: dict[str, Any]) -> str:
    """A line a figure."""
    lines = []
    for metric, figure in task["metrics"].items():
        se = "" if figure["se"] is None else f" (se {figure['se']:.4f})"
        lines.append(f"{name:<12} {metric:<32} {figure['value']:.4f}{se}{ci_text(figure['interval'])}")
    return "\n".join(lines)
