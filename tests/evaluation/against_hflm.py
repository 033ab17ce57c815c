"""Ten tasks of four request types by lm-evaluation-harness: our model class against its own HFLM on the same weights.

    PYTHONPATH=src:tests python tests/evaluation/against_hflm.py RUN --limit 30

RUN is an autoregressive model; it is exported in the Llama layout, which HFLM loads through transformers. Prints a
table of scores side by side, the largest difference of any log-likelihood, and how many texts are the same.

Two things are set so that both see the same tokens. HFLM's context is one token shorter for likelihoods: it does not
count the last token of a sequence, which is only a target, and we do, for both kinds of model. And questions whose
answer does not fit that context are left out: HFLM stops at them, we score them in pieces.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unmask.interop.llama import export_llama
from unmask.model.folder import Model, load

NAMES = ("unmask_lambada", "x_cloze", "unmask_hellaswag", "unmask_piqa", "unmask_arc_easy", "unmask_boolq")
TASKS = (*NAMES, "x_roll", "x_roll_long", "x_line", "x_sentence")
OWN = {
    "x_cloze": ("loglikelihood", "query", "gold_text", ["acc", "perplexity"]),
    "x_roll": ("loglikelihood_rolling", None, "passage", ["bits_per_byte", "word_perplexity"]),
    "x_roll_long": ("loglikelihood_rolling", None, "long", ["bits_per_byte", "byte_perplexity"]),
    "x_line": ("generate_until", "query", "gold_text", ["exact_match"]),
    "x_sentence": ("generate_until", "passage", "gold_text", ["exact_match"]),
}
STOPS = {"x_line": (r'["\n"]', 24), "x_sentence": ('[". ", "? ", "the"]', 16)}


def write_tasks(folder: Path, limit: int) -> None:
    """Task files for the request types that the local benchmarks have not, over their texts."""
    from unmask.evaluation.tasks import local_data

    asked = list(local_data.hellaswag()["validation"].select(range(limit)))
    passages = [doc["context"] for doc in local_data.lambada()["test"].select(range(3 * limit))]
    rows = []
    for i, doc in enumerate(asked):
        long = "\n".join(passages[3 * i : 3 * i + 3])
        gold_text = " " + doc["choices"][doc["gold"]]
        rows.append({"query": doc["query"], "gold_text": gold_text, "passage": passages[i][:120], "long": long})
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, (kind, text, target, metrics) in OWN.items():
        lines = [f"task: {name}", "dataset_path: json", f"dataset_kwargs: {{data_files: {{test: {data}}}}}"]
        lines += [f"output_type: {kind}", "test_split: test", 'target_delimiter: ""']
        lines += [f"doc_to_text: '{{{{{text}}}}}'" if text else 'doc_to_text: ""', f"doc_to_target: '{{{{{target}}}}}'"]
        if name in STOPS:
            until, most = STOPS[name]
            lines.append(f"generation_kwargs: {{do_sample: false, until: {until}, max_gen_toks: {most}}}")
        lines += ["metric_list:", *(f"  - metric: {metric}" for metric in metrics)]
        (folder / f"{name}.yaml").write_text("\n".join(lines) + "\n")


def fitting(model: Model, task: Any, limit: int, room: int) -> list[int]:
    """The first questions whose requests both sides can hold."""
    task.build_all_requests(limit=4 * limit)
    most: dict[int, int] = {}
    for request in task.instances:
        if request.request_type == "loglikelihood":
            needed = len(model.encode(request.args[1])) + 2
        elif request.request_type == "generate_until":
            needed = len(model.encode(request.args[0])) + request.args[1]["max_gen_toks"]
        else:
            needed = 0
        most[request.doc_id] = max(most.get(request.doc_id, 0), needed)
    task._instances = None
    return [doc for doc, needed in sorted(most.items()) if needed <= room][:limit]


def compared(path: str | Path, limit: int) -> Iterator[dict[str, Any]]:
    """For each task {task, kind, n, metrics: {name: (ours, theirs)}, difference, same}."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    from unmask.evaluation.lm_eval_adapter import UnmaskLM

    local = str(Path(lm_eval.__file__).parent) and str(Path(load.__code__.co_filename).parents[1] / "evaluation/tasks")
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        write_tasks(folder, 4 * limit)
        exported = export_llama(path, folder / "exported")
        model = load(path)
        context = model.config.block_size
        manager = TaskManager(include_path=[local, home], include_defaults=False)
        shared = {"device": "cpu", "dtype": "float32", "batch_size": 1, "add_bos_token": False}
        shared["prefix_token_id"] = model.start_id
        theirs_of = {
            kind: HFLM(pretrained=str(exported), max_length=length, **shared)
            for kind, length in (("likelihood", context - 1), ("generation", context))
        }
        for name in TASKS:
            (task,) = manager.load([name])["tasks"].values()
            kind = "generation" if task.OUTPUT_TYPE == "generate_until" else "likelihood"
            ids = fitting(model, task, limit, context)
            found = []
            for lm in (UnmaskLM(model=model, progress=False), theirs_of[kind]):
                found.append(
                    lm_eval.simple_evaluate(
                        model=lm, tasks=[name], samples={name: ids}, task_manager=manager, bootstrap_iters=0
                    )
                )
            yield row_of(name, task.OUTPUT_TYPE, found)


def row_of(name: str, kind: str, found: list[Any]) -> dict[str, Any]:
    ours, theirs = (one["samples"][name] for one in found)
    results = [one["results"][name] for one in found]
    metrics = {
        metric.partition(",")[0]: (value, results[1][metric])
        for metric, value in results[0].items()
        if "," in metric and "_stderr" not in metric and isinstance(value, int | float)
    }
    differences, same, nats = [0.0], 0, []
    for a, b in zip(ours, theirs, strict=True):
        x, y = a["resps"], b["resps"]
        if kind == "generate_until":
            same += x == y
            continue
        for (one,), (other,) in zip(x, y, strict=True):
            pair = (one, other) if kind == "loglikelihood_rolling" else (one[0], other[0])
            differences.append(abs(pair[0] - pair[1]))
            nats.append(pair)
            same += kind == "loglikelihood_rolling" or one[1] == other[1]
    asked = len(ours) if kind == "generate_until" else len(differences) - 1
    return {
        "task": name,
        "kind": kind,
        "n": len(ours),
        "metrics": metrics,
        "nats": [sum(own) / len(own) for own in zip(*nats, strict=True)],
        "difference": max(differences),
        "same": same,
        "asked": asked,
    }


def in_words(row: dict[str, Any]) -> str:
    shown = ", ".join(f"{name} {ours:.6g} {theirs:.6g}" for name, (ours, theirs) in row["metrics"].items())
    what = "texts" if row["kind"] == "generate_until" else "greedy"
    nats = " ".join(f"{mean:.4f}" for mean in row["nats"]) or "–"
    difference = f"{row['difference']:.1e}" if row["nats"] else "–"
    same = "–" if row["kind"] == "loglikelihood_rolling" else f"{row['same']} of {row['asked']} {what}"
    return f"| {row['task']} | {row['kind']} | {row['n']} | {shown} | {nats} | {difference} | {same} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--limit", type=int, default=30)
    options = parser.parse_args()
    print("| Task | Requests | n | Ours and HFLM's | Mean nats, ours and HFLM's | Largest difference | The same |")
    print("|---|---|---|---|---|---|---|")
    for row in compared(options.model, options.limit):
        print(in_words(row), flush=True)
