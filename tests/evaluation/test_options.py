"""What the verbs of evaluation take."""

from __future__ import annotations

import dataclasses
import inspect

from unmask.evaluation import OWN
from unmask.evaluation.benchmarks import evaluate
from unmask.evaluation.options import TASKS, EvalOptions, HarnessOptions, ScoreOptions


def test_eval_hands_over_what_evaluate_and_its_own_tasks_take() -> None:
    own = {"model", "plugin", "data", "judge", "length", "prompt", "windows", "decode"}
    taken = set(inspect.signature(evaluate).parameters) | own
    assert {one.name for one in dataclasses.fields(EvalOptions)} <= taken
    assert set(OWN) <= set(TASKS.split(", "))


def test_all_words_of_lm_eval_are_the_harness_s() -> None:
    options, as_json = HarnessOptions.from_words(["--model", "unmask", "--json", "--help"], "unmask lm-eval")
    assert options.words == ("--model", "unmask", "--json", "--help") and not as_json


def test_texts_and_files_of_score() -> None:
    options, _ = ScoreOptions.from_words("RUN one two --file a --file b --until-se .5".split(), "unmask score")
    assert (options.texts, options.file, options.until_se) == (["one", "two"], ["a", "b"], 0.5)
