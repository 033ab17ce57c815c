"""`unmask eval --tasks reversal` on files of the original's form: figures, refusals, going on.

make test ARGS=tests/evaluation/reversal/test_task.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unmask.errors import UserError
from unmask.evaluation.benchmarks import evaluate, in_words
from unmask.evaluation.reversal.questions import TEST, TRAIN
from unmask.evaluation.reversal.task import ReversalOptions, metrics_of, refuse_answered
from unmask.experiments.reversal.people import own_people
from unmask.experiments.reversal.rows import row_length, write_rows
from unmask.experiments.reversal.tokens import word_tokenizer
from unmask.model.config import ModelConfig
from unmask.model.folder import Model, save
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer

NAMES = {"p2d": ["Ada Elm", "Al Fir"], "d2p": ["Bo Oak", "Bea Ash"], "both": ["Cy Yew", "Col Box"]}


def forward(name: str) -> dict[str, str]:
    what = f"the {name.split()[0].lower()} keeper of a very long and winding house by the sea"
    return {"prompt": f"So, {name} is", "completion": f" {what}."}


def back(name: str) -> dict[str, str]:
    return {"prompt": f"Being {forward(name)['completion'].strip()[:-1]},", "completion": f" {name}"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reversal_curse")
    for file in (*TRAIN, *TEST):
        kind = file.split("_")[0]
        ways = [forward, back] if kind == "both" else [forward] if (kind == "p2d") != ("reverse" in file) else [back]
        rows = [way(name) for name in NAMES[kind] for way in ways]
        (folder / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def texts(data: Path, file: str) -> list[str]:
    rows = [json.loads(line) for line in (data / f"{file}.jsonl").read_text().splitlines()]
    return [row["prompt"] + row["completion"] for row in rows]


def model_folder(data: Path, folder: Path, lines: list[str], causal: bool = False) -> Path:
    """A model of random weights whose recipe says that it was trained on these lines."""
    tokenizer = word_tokenizer([text for file in (*TRAIN, *TEST) for text in texts(data, file)])
    length = row_length(lines, tokenizer)
    write_rows(folder / "data", lines, lines[:1], tokenizer, length, seed=0)
    size = tokenizer.vocab_size
    config = ModelConfig(1, 1, 8, vocab_size=size, block_size=32, causal=causal, eos_id=tokenizer.eos_id)
    save(folder / "run", Transformer(config, seed=1), tokenizer)
    (folder / "run" / "recipe.yaml").write_text(f"data: {folder / 'data'}\n")
    return folder / "run"


@pytest.mark.parametrize("causal", [False, True])
def test_figures_of_every_direction_with_errors_over_people(data: Path, tmp_path: Path, causal: bool) -> None:
    run = model_folder(data, tmp_path, texts(data, "both_prompts_train"), causal)
    result = evaluate(run, ["reversal"], data=str(data), out=tmp_path / "result.json")
    task = result["tasks"]["reversal"]
    assert task["n"] == 12 and task["exposure"] == "not in its training tokens"
    assert task["protocol"]["guidance"] == (0 if causal else 0.8) and task["protocol"]["length"] <= 32
    for kind in ("trained", "reversed", "both"):
        assert task["metrics"][f"{kind}_name_accuracy"]["value"] == 0
        told = ("description_bleu_char", "description_any_form", "name_first_name")
        assert {f"{kind}_{name}" for name in told} <= set(task["metrics"])
    assert "reversed_name_accuracy" in in_words(result)
    how = {} if causal else {"decode": "guidance: 0"}
    limited = evaluate(run, ["reversal"], limit=1, data=str(data), **how)
    assert limited["tasks"]["reversal"]["n"] == 6 and limited["tasks"]["reversal"]["protocol"]["guidance"] == 0


def test_none_or_all_right_says_as_much_as_there_are_people() -> None:
    rows = [{"kind": "reversed_name", "person": str(i // 2), "exact": 0.0, "first_name": 1.0} for i in range(60)]
    none, every = (metrics_of(rows)[f"reversed_name_{name}"]["interval"] for name in ("accuracy", "first_name"))
    assert none == [0.0, pytest.approx(0.1157, abs=1e-4)] and every == [pytest.approx(0.8843, abs=1e-4), 1.0]
    rows[0]["exact"] = 1.0
    low, high = metrics_of(rows)["reversed_name_accuracy"]["interval"]
    assert low == 0.0 and 0.02 < high < 0.1


def test_a_run_that_has_read_the_answers_is_refused(data: Path, tmp_path: Path) -> None:
    run = model_folder(data, tmp_path, texts(data, "p2d_reverse_prompts_test"))
    with pytest.raises(UserError, match="was trained on text that is tested here"):
        evaluate(run, ["reversal"], data=str(data))


@pytest.mark.parametrize("vocab", [270, 400])
def test_by_a_tokenizer_of_small_pieces_the_answers_are_told_from_their_parts(tmp_path: Path, vocab: int) -> None:
    """A description of many tokens stands in the lines that a model is meant to read."""
    people = own_people(4, 2)
    tokenizer = Tokenizer.train_bpe(vocab, [line.text for line in people.lines])
    size = tokenizer.vocab_size
    network = Transformer(ModelConfig(1, 1, 8, vocab_size=size, block_size=32, eos_id=tokenizer.eos_id), seed=1)
    (tmp_path / "recipe.yaml").write_text(f"data: {tmp_path / 'data'}\n")
    answered = [f"{q.prompt} {q.answer}" for q in people.questions if q.direction == "reversed"]
    for lines in ([line.text for line in people.lines], answered):
        write_rows(tmp_path / "data", lines, lines[:1], tokenizer, row_length(lines, tokenizer), seed=0)
        model = Model(network, tokenizer, tmp_path)
        if lines is not answered:
            assert refuse_answered(model, people) == "not in its training tokens"
            continue
        with pytest.raises(UserError, match="80 of 80, such as '"):
            refuse_answered(model, people)


def test_what_cannot_be_asked_is_one_line(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs --data FOLDER"):
        ReversalOptions()
    with pytest.raises(UserError, match="'temperature' is no rule of reversal"):
        ReversalOptions(data=str(data), decode="temperature: 1")
    config = ModelConfig(1, 1, 8, vocab_size=8, block_size=16)
    with pytest.raises(UserError, match="no tokenizer with an end token"):
        evaluate(Model(Transformer(config, seed=0)), ["reversal"], data=str(data))
