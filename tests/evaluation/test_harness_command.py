"""The harness's own command line: bad input is told before it begins, and a task of any kind runs to its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("lm_eval")

from unmask.model.config import ModelConfig
from unmask.model.folder import save
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer

TASK = """task: {name}
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
output_type: {kind}
test_split: test
target_delimiter: ""
doc_to_text: "{{{{q}}}}"
doc_to_target: "{{{{a}}}}"
{more}
metric_list: [{{metric: {metric}, aggregation: {aggregation}, higher_is_better: true}}]
"""


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = ModelConfig(n_layer=1, n_head=2, n_embd=16, vocab_size=257, block_size=48, causal=True, eos_id=0)
    return save(tmp_path_factory.mktemp("m") / "arm", Transformer(config, seed=3), Tokenizer.plain_bytes())


def run(*words: str | Path, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "unmask", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=cwd,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "GIT_CEILING_DIRECTORIES": str(cwd), **settings},
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["eval", "ARM", "--tasks", "gsm8k"], "the task's data, openai/gsm8k, cannot be read: it is not on this"),
        (["eval", "ARM", "--tasks", "gsm8j"], "task 'gsm8j' is unknown (did you mean 'gsm8k'?)"),
        (["lm-eval", "ARGS", "--tasks", "gsm8j"], "task 'gsm8j' is unknown (did you mean 'gsm8k'?)"),
        (["lm-eval", "ARGS", "--tasks", "gsm8k", "--apply_chat_template"], "the model has no chat template"),
        (["lm-eval", "ARGS", "--tasks", "gsm8k", "--gen_kwargs", "wibble=3"], "generation_kwargs: 'wibble' is unknown"),
        (["lm-eval", "ARGS", "--tasks", "gsm8k", "--plugin", "none.py"], "plug-in none.py cannot be read"),
        (["lm-eval", "--model", "hf", "--tasks", "gsm8k", "--plugin", "none.py"], "--plugin concerns --model unmask"),
    ],
)
def test_bad_input_is_one_line_and_quick(arm: Path, tmp_path: Path, words: list[str], message: str) -> None:
    given: list[str | Path] = []
    for word in words:
        given += {"ARM": [arm], "ARGS": ["--model", "unmask", "--model_args", f"path={arm}"]}.get(word, [word])
    began = time.monotonic()
    done = run(*given, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("unmask: error: ") and message in line
    assert time.monotonic() - began < 15, "the harness's index alone takes as long on a quiet machine"


def test_a_task_without_answers_runs_to_its_end_outside_of_git(arm: Path, tmp_path: Path) -> None:
    """An empty document of each kind, a cut prompt, and repeats, by the harness's own command line."""
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    long = "so it is " + "very " * 20 + "long"
    docs = [{"q": "", "a": "", "c": [" x", " so"]}, {"q": long, "a": " so", "c": ["", " so"]}]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in docs))
    generate = (
        "repeats: 3\ngeneration_kwargs: {do_sample: true, temperature: 1.0, max_gen_toks: 12, until: []}\n"
        "filter_list: [{name: all, filter: [{function: take_first_k, k: 3}]}]"
    )
    kinds = {
        "t_ll": ("loglikelihood", "", "acc", "mean"),
        "t_roll": ("loglikelihood_rolling", 'process_results: !function own.nats', "nats", "mean"),
        "t_gen": ("generate_until", generate, "bypass", "bypass"),
        "t_mc": ("multiple_choice", 'doc_to_choice: "{{c}}"', "acc", "mean"),
    }
    (tasks / "own.py").write_text('def nats(doc, results):\n    return {"nats": results[0]}\n')
    for name, (kind, more, metric, aggregation) in kinds.items():
        text = TASK.format(
            name=name, kind=kind, more=more, metric=metric, aggregation=aggregation, data=tmp_path / "d.jsonl"
        )
        if name == "t_mc":
            text = text.replace('doc_to_target: "{{a}}"', "doc_to_target: 0")
        if name == "t_roll":
            text = text.replace('doc_to_target: "{{a}}"', 'doc_to_target: "{{q}}"')
            text = text.replace('doc_to_text: "{{q}}"', 'doc_to_text: ""')
        (tasks / f"{name}.yaml").write_text(text)
    done = run("eval", arm, "--tasks", ",".join(str(tasks / f"{name}.yaml") for name in kinds), "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "fatal" not in done.stderr and "Traceback" not in done.stderr
    assert "t_gen: 3 of 6 prompts are cut on the left to fit the model's 48 tokens" in done.stderr
    found = json.loads(done.stdout)["tasks"]
    assert found["t_ll"]["items"][0]["logprob"] == [0.0] and found["t_ll"]["items"][1]["logprob"][0] < -1
    assert found["t_roll"]["items"][0]["logprob"] == [0.0] and found["t_roll"]["items"][1]["n_tokens"][0] > 48
    assert found["t_roll"]["items"][1]["interval"][0] == [found["t_roll"]["items"][1]["logprob"][0]] * 2
    assert found["t_mc"]["items"][1]["logprob"][0] == 0.0 and found["t_mc"]["contexts_cut"] > 0
    assert found["t_gen"]["contexts_cut"] == 3 and found["t_gen"]["texts_shortened"] == 0
    for item in found["t_gen"]["items"]:
        assert len({text for texts in item["answer"] for text in texts}) == 3, "three draws of each question"
    accuracy = found["t_mc"]["metrics"]["acc"]
    half = 12.7062 * accuracy["se"]
    assert accuracy["interval"] == pytest.approx([accuracy["value"] - half, accuracy["value"] + half], rel=1e-4)
