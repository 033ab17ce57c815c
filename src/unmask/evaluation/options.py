"""What `unmask score`, `eval`, `compare` and `lm-eval` take; no heavy import, since their help is shown from here.

    unmask score RUN "The state of the Union is strong." --until-se 0.1
    unmask eval RUN --tasks hellaswag,lambada --limit 200 --out mdm.json
    unmask compare mdm.json arm.json
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from unmask.likelihood.methods import NAMES as METHODS
from unmask.model.generation_options import PluginOptions
from unmask.model.placement_options import PlacementOptions
from unmask.options import NEEDED, Options, Result, argument, option

TASKS = "hellaswag, race, siqa, arc_easy, piqa, openbookqa, boolq, lambada, generation, temporal, reversal"
MODEL = ("RUN", "a run, a checkpoint or a model folder")


@dataclass(frozen=True)
class ScoreOptions(PlacementOptions, PluginOptions):
    """Log-likelihood of texts with its standard error, in nats per token and bits per byte."""

    model: str = argument(*MODEL)
    texts: list[str] = argument("TEXT", "each is scored on its own", [])
    file: list[str] = option([], "a file whose whole text is scored; repeatable")
    context: str = option("", "text before each TEXT, not scored")
    special_tokens: bool = option(False, "those a text spells (</s>) are ids")
    rolling: bool = option(False, "texts longer than the model's context, in windows")
    window: int | None = option(None, "rolling: tokens a pass; by default the model's context")
    overlap: int | None = option(None, "rolling: context a later window begins with; 1")
    method: str = option("mc-fixed", ", ".join(METHODS))
    order: str = option(
        "left-to-right", "of chain-rule: left-to-right, right-to-left, random; of a replayed decoder: its own"
    )
    decode: str | None = option(None, "of methods that replay a decoder: its rules, such as 'quota: even, steps: 32'")
    guidance: float = option(0.0, "w of classifier-free guidance; 0: off")
    draws: int | None = option(None, "masks (128) or orders (8) to draw")
    until_se: float | None = option(None, "draw until the error is that small", metavar="NATS")
    greedy: bool = option(False, "say whether greedy decoding writes the text")
    seed: int = option(0, "of the masks")

    def run(self) -> Result:
        from unmask.decoding.rules.plugins import load_plugins
        from unmask.evaluation.score_texts import in_words, score_texts

        load_plugins(self.plugin)
        scored = score_texts(self)
        return Result([score.to_dict() for _, score in scored], in_words(scored, self.greedy))


@dataclass(frozen=True)
class EvalOptions(PlacementOptions, PluginOptions):
    """Runs benchmarks through lm-evaluation-harness, by default with the paper's method and guidance for each."""

    model: str = argument(*MODEL)
    tasks: str = option(NEEDED, f"comma-separated: {TASKS}, or any of lm-eval's")
    limit: int | None = option(None, "only the first so many questions of each")
    method: str | None = option(None, "by default the paper's of each task; see unmask score --help")
    guidance: float | None = option(None, "by default the paper's of each task")
    draws: int | None = option(None, "Monte Carlo draws; 128")
    until_se: float | None = option(None, "draw until the error is that small", metavar="NATS")
    seed: int = option(0, "of the masks, and of what is written")
    data: str | None = option(
        None,
        "generation: a prepared folder, or JSON lines with prompt and completion; by default the run's. temporal: "
        "records with text and date. reversal: the folder of the study's files",
    )
    judge: str | None = option(None, "generation: smollm2, the folder of an autoregressive model, or none")
    length: int | None = option(
        None, "generation: tokens to write; half the context. reversal: tokens of the canvas"
    )
    prompt: int | None = option(
        None, "generation: tokens of a prompt from a prepared folder; a quarter of the context"
    )
    windows: int | None = option(None, "temporal: windows of a document to score; 12")
    decode: str | None = option(
        None, "generation, reversal: how, such as 'order: confidence, steps: 32'; see unmask sample --help"
    )
    out: str | None = option(None, "the result as JSON; a killed evaluation goes on", metavar="FILE")

    def run(self) -> Result:
        from unmask.decoding.rules.plugins import load_plugins
        from unmask.evaluation.benchmarks import evaluate, in_words

        load_plugins(self.plugin)
        names = [name.strip() for name in self.tasks.split(",") if name.strip()]
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del given["model"], given["tasks"], given["plugin"]
        evaluated = evaluate(self.model, names, **given)
        return Result(evaluated, in_words(evaluated))


@dataclass(frozen=True)
class CompareOptions(Options):
    """Paired differences of two evaluations on the same questions; refuses those of different protocols."""

    first: str = argument("A.json", "a file that unmask eval --out wrote")
    second: str = argument("B.json", "another one, of the same protocol")
    across_dtypes: bool = option(False, "also where one is of fp32 and the other of bf16")

    def run(self) -> Result:
        from unmask.evaluation.paired import compare_results, in_words

        compared = compare_results(self.first, self.second, self.across_dtypes)
        return Result(compared, in_words(compared))


@dataclass(frozen=True)
class HarnessOptions(Options):
    """lm-evaluation-harness's command line; its model `unmask` takes --model_args path=RUN,method=...,guidance=..."""

    words: tuple[str, ...] = ()  # all are the harness's

    @classmethod
    def from_words(cls, words: Sequence[str], command: str) -> tuple[Self, bool]:
        return cls(tuple(words)), False

    def run(self) -> Result:
        from unmask.evaluation.harness_command import command

        return Result(None, "", command(list(self.words)))
