"""`unmask experiment guidance`: answers ranked at every guidance scale, by both kinds of model, beside PMI.

    unmask experiment guidance --quick
    unmask experiment guidance --base sweep/mdm --base sweep/arm --data packages --seeds 3 --jobs 2 --plot

After the paper's unsupervised classifier-free guidance (arXiv 2410.18514). `items.py` makes the questions, `scores.py`
ranks their answers, `tables.py` many at a time, `analysis.py` takes the difference. Models start from `--base` (an MDM
and an ARM of one corpus, or one of each kind a seed, in the order of the seeds; `bases.py`), or from bases that are
trained here, and are fine-tuned on rows of each task with and without prompt dropout. `--data` is a folder of the
packages' files. A first look, which says whether a task is above chance: `--seeds 1 --set tune=200 --set test=400`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from unmask.errors import UserError
from unmask.experiments.frame import Settings, at_least, experiment
from unmask.experiments.guidance.analysis import compare, gains
from unmask.experiments.guidance.bases import facts_of, given_bases, one_tokenizer, refuse_exposed, trained_bases
from unmask.experiments.guidance.items import Pool
from unmask.experiments.guidance.outcome import figure, holds, plot, reading
from unmask.experiments.guidance.people import reversal
from unmask.experiments.guidance.tables import Scored, Table, tables_of
from unmask.experiments.guidance.texts import Texts
from unmask.experiments.workplace import Workplace, write_lines
from unmask.model.folder import load, resolve
from unmask.scaling.corpus_table import SOURCES

__all__ = ["figure", "holds", "plot", "reading", "run"]
TASKS = ("continuation", "headword")


@dataclass(frozen=True)
class Way:
    """A model of a task and what stands for the prompt where it is not seen."""

    model: str  # "base-mdm", "mdm", "mdm-dropout" and so on
    view: str
    tasks: tuple[str, ...] = TASKS
    ends: bool = True  # answers are followed by an end of sequence

    @property
    def kind(self) -> str:
        return "arm" if "arm" in self.model else "mdm"

    @property
    def tuned(self) -> bool:
        return not self.model.startswith("base")


WAYS = {
    "unsupervised": Way("mdm", "mask"),
    "standard": Way("mdm-dropout", "mask"),
    "arm": Way("arm", "drop"),
    "arm_dropout": Way("arm-dropout", "end"),
    # What a base can do as it is: what pretraining teaches.
    "zero_shot": Way("base-mdm", "mask", ("continuation",), ends=False),
    "arm_zero_shot": Way("base-arm", "drop", ("continuation",), ends=False),
}


# A begun folder may go on with others of these: they decide no run, and a table is known by its items and weights.
FREE = ("reversal", "each", "choices")
# The runs of the experiment reversal have learned no prompt as such, so there is no dropout to be had.
REVERSED = (("reversal", "unsupervised"), ("reversal", "arm"))


def run(settings: Settings) -> dict[str, Any]:
    """The result. Raises `UserError` for settings, models and packages that cannot be used."""
    own = experiment("guidance").settings_of(settings)
    check(own)
    packages = settings.packages()
    torch.set_num_threads(settings.threads)
    place = Workplace(settings, {**own, "bases": [Path(base).name for base in settings.base]}, "guidance", FREE)
    texts = Texts(own, packages)
    bases = given_bases(settings) if settings.base else trained_bases(place, own, texts)
    tokenizer = one_tokenizer(bases)
    pools = {task: texts.pool(task, tokenizer) for task in own["tasks"]}
    exposure = refuse_exposed(bases, pools, own) if settings.base else {}
    facts = facts_of(place, own, bases, pools)
    runs = tuned(place, own, bases, pools)
    models = {**bases, **runs}
    facts_of_people = None
    if own["reversal"]:
        counts = own["choices"]["reversal"], own["each"], own["tune"], own["test"]
        asked = reversal(Path(own["reversal"]), settings.seeds, *counts)
        pools["reversal"], facts_of_people = asked.pool, asked.facts
        models |= asked.models
    tables = planned(settings, pools, models)
    scored = tables_of(place, [one for some in tables.values() for one in some], own["scales"], own["draws"])
    by_task = results_of(own, pools, tables, scored)
    return {"headline": {task: headline_of(ways) for task, ways in by_task.items()}, "tasks": by_task,
            "items": {task: pool.facts() for task, pool in pools.items()}, "skipped": texts.skipped, "bases": facts,
            "bases_are": "given" if settings.base else "trained here", "exposure": exposure,
            "fine_tuning": fine_tuning(place, own, runs), "people": facts_of_people, "times": place.times(),
            "seconds_of_scores": {name: one.seconds for name, one in scored.items()}}  # fmt: skip


def check(own: Mapping[str, Any]) -> None:
    """Raises `UserError` naming the setting that makes no sense."""
    for task in own["tasks"]:
        if task not in TASKS:
            raise UserError(f"tasks: '{task}' is unknown; there are {', '.join(TASKS)}")
    if not own["tasks"] or len(set(own["tasks"])) < len(own["tasks"]):
        raise UserError(f"tasks is {own['tasks']}; give each at most once, and one at least")
    if own["wrong"] not in ("same", "other"):
        raise UserError(f"wrong is {own['wrong']!r}; give same or other")
    if few := [task for task, choices in own["choices"].items() if choices < 2]:
        raise UserError(f"choices.{few[0]} is {own['choices'][few[0]]}; give at least 2")
    at_least(own, {"draws": 2, "tune": 2, "test": 2, "rows": 1, "prompt": 1, "answer": 1, "gloss": 1})
    scales = own["scales"]
    if not scales or 0 in scales or len(set(scales)) < len(scales) or min(scales) <= -1:
        raise UserError(f"scales is {scales}; give different guidance scales above -1; 0 is always there")
    if "continuation" in own["tasks"] and not own["texts"]:
        raise UserError("texts is empty; the task continuation needs one at least")
    for name in own["texts"]:
        if name not in SOURCES:
            raise UserError(f"texts: '{name}' is unknown; there are {', '.join(SOURCES)}")


# ---------------------------------------------------------------------- fine-tuning and scores


def tuned(
    place: Workplace, own: Mapping[str, Any], bases: Mapping[str, Path], pools: Mapping[str, Pool]
) -> dict[str, Path]:
    """{"headword-mdm-dropout-0": folder, ...}: fine-tuned on the rows of each task, with prompt dropout and without."""
    recipes = {}
    for task, pool in pools.items():
        rows = place.out / f"{task}.jsonl"
        write_lines(rows, pool.rows)
        for way in (way for way in WAYS.values() if task in way.tasks):
            for seed in place.settings.seeds if way.tuned else ():
                base = load(bases[f"base-{way.kind}-{seed}"])
                dropout = own["prompt_dropout"] if way.model.endswith("dropout") else 0.0
                sft = {"template": "raw", "prompt_dropout": dropout, "validation_share": 0.02, "bucket_batches": 8}
                recipes[f"{task}-{way.model}-{seed}"] = {
                    **own["tuned"], **own[f"tuned_{way.kind}"], "sft": sft, "context": base.config.block_size,
                    "data": str(rows), "init": str(base.path), "seed": seed,
                }  # fmt: skip
    return {name: resolve(path) for name, path in place.train(recipes).items()}


def fine_tuning(place: Workplace, own: Mapping[str, Any], runs: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """What each fine-tuning run took: kinds differ in epochs, and so in FLOPs."""
    by_run = {}
    for name in runs:
        recipe = {**own["tuned"], **own["tuned_arm" if "-arm-" in name else "tuned_mdm"]}
        done = place.trained(name)
        by_run[name] = {"epochs": recipe["epochs"], "lr": recipe["optimizer"]["lr"], "steps": done["steps"],
                        "tokens": done["tokens"], "flops": done["flops"]}  # fmt: skip
    return by_run


def planned(
    settings: Settings, pools: Mapping[str, Pool], models: Mapping[str, Path]
) -> dict[tuple[str, str, str], list[Table]]:
    """By task, way and side (tune, test): a table of each seed, or of each base where nothing is fine-tuned."""
    tables: dict[tuple[str, str, str], list[Table]] = {}
    for task, pool in pools.items():
        for name, way in WAYS.items():
            if task not in way.tasks and (task, name) not in REVERSED:
                continue
            prefix = f"{task}-{way.model}" if way.tuned else way.model
            paths = {seed: models[f"{prefix}-{seed}"] for seed in settings.seeds}
            # A base that stands for all seeds is one model: asked again it would only seem surer.
            paths = paths if way.tuned else distinct(paths)
            ends = way.ends and task != "reversal"  # whose answers have their own
            for side, items in (("tune", pool.tune), ("test", pool.test)):
                tables[task, name, side] = [
                    Table(f"{task}-{name}-{seed}-{side}", path, items, way.view, ends) for seed, path in paths.items()
                ]
    return tables


def distinct(paths: dict[int, Path]) -> dict[int, Path]:
    """Each path once, by the first of its seeds."""
    first = {path: seed for seed, path in reversed(paths.items())}
    return {seed: path for seed, path in paths.items() if first[path] == seed}


def results_of(
    own: Mapping[str, Any],
    pools: Mapping[str, Pool],
    tables: Mapping[tuple[str, str, str], Sequence[Table]],
    scored: Mapping[str, Scored],
) -> dict[str, dict[str, Any]]:
    """The figures of each task and way."""
    by_task: dict[str, dict[str, Any]] = {}
    for task, pool in pools.items():
        ways = {}
        for name in dict.fromkeys(way for known, way, _ in tables if known == task):
            tune, test = (
                [scored[table.name].credit_NC for table in tables[task, name, side]] for side in ("tune", "test")
            )
            ways[name] = gains(tune, test, [item.cluster for item in pool.test], own["scales"], pool.chance)
        compare(ways, [item.cluster for item in pool.test])
        by_task[task] = {name: {**way.figures, "view": WAYS[name].view} for name, way in ways.items()}
    return by_task


def headline_of(ways: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a task's ways that the answer rests on."""
    names = ("gain", "pmi_gain", "guided_less_pmi", "gain_less_standard", "gain_less_arm")
    return {
        way: {**{name: figures[name] for name in names if name in figures},
              **{name: figures["accuracy"][name] for name in ("unguided", "guided")}}
        for way, figures in ways.items()
    }  # fmt: skip
