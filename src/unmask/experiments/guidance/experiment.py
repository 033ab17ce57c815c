"""`unmask experiment guidance`: answers ranked at every guidance scale, by both kinds of model, beside PMI.

    unmask experiment guidance --quick
    unmask experiment guidance --base sweep/mdm --base sweep/arm --data packages --seeds 3 --jobs 2 --plot

After the paper's unsupervised classifier-free guidance (arXiv 2410.18514). `items.py` makes the questions, `scores.py`
ranks their answers, `analysis.py` takes the difference. Models start from `--base` (an MDM and an ARM of one corpus, or
one of each kind a seed, in the order of the seeds), or from bases that are trained here, and are fine-tuned on rows of
each task with and without prompt dropout. `--data` is a folder of the packages' files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unmask.data.options import PrepareOptions
from unmask.data.prepare import prepare
from unmask.errors import UserError
from unmask.evaluation.exposure import refuse_read
from unmask.evaluation.provenance import model_facts
from unmask.experiments.frame import Settings, at_least, experiment
from unmask.experiments.guidance.analysis import gains
from unmask.experiments.guidance.items import Counts, Item, Pool, Sizes, continuations, headwords, side_of
from unmask.experiments.guidance.outcome import figure, holds, plot, reading
from unmask.experiments.guidance.people import reversal
from unmask.experiments.guidance.scores import credits
from unmask.experiments.speed.glosses import MADE, read_pairs
from unmask.experiments.workplace import Workplace, write_lines
from unmask.files import file_sha256
from unmask.model.folder import WEIGHTS, Model, load, resolve
from unmask.model.tokenizers import Tokenizer
from unmask.scaling.corpus_packages import obtain
from unmask.scaling.corpus_table import SOURCES
from unmask.terminal import say

__all__ = ["figure", "holds", "plot", "reading", "run"]
TASKS = ("continuation", "headword")
KINDS = ("mdm", "arm")
AT_ONCE = 200  # items between two looks at what is kept


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


# The runs of the experiment reversal have learned no prompt as such, so there is no dropout to be had.
REVERSED = (("reversal", "unsupervised"), ("reversal", "arm"))


def run(settings: Settings) -> dict[str, Any]:
    """The result. Raises `UserError` for settings, models and packages that cannot be used."""
    own = experiment("guidance").settings_of(settings)
    check(own)
    place = Workplace(settings, {**own, "bases": [Path(base).name for base in settings.base]}, "guidance")
    texts = Texts(own, Path(settings.data) if settings.data else place.out / "packages")
    bases = given_bases(settings) if settings.base else trained_bases(place, own, texts)
    tokenizer = one_tokenizer(bases)
    pools = {task: texts.pool(task, tokenizer) for task in own["tasks"]}
    exposure = {name: refuse_exposed(path, pools, own) for name, path in bases.items()} if settings.base else {}
    models = {**bases, **tuned(place, own, bases, pools)}
    if own["reversal"]:
        counts = own["choices"]["reversal"], own["each"], own["tune"], own["test"]
        pools["reversal"], people = reversal(Path(own["reversal"]), settings.seeds, *counts)
        models |= people
    by_task = {task: task_result(place, own, task, pools[task], models) for task in pools}
    headline = {
        task: {
            way: {**{name: figures[name] for name in ("gain", "pmi_gain", "guided_less_pmi")},
                  **{name: figures["accuracy"][name] for name in ("unguided", "guided")}}
            for way, figures in ways.items()
        }
        for task, ways in by_task.items()
    }  # fmt: skip
    facts = {name: {"name": path.name, **model_facts(load(path))} for name, path in bases.items()}
    return {"headline": headline, "tasks": by_task, "items": {task: pool.facts() for task, pool in pools.items()},
            "skipped": texts.skipped, "bases": facts, "bases_are": "given" if settings.base else "trained here",
            "exposure": exposure, "times": place.times()}  # fmt: skip


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


# ---------------------------------------------------------------------- texts and bases


class Texts:
    """The documents and the dictionary, read once each; `skipped`: rows of the user's dictionary that are no use."""

    def __init__(self, own: Mapping[str, Any], packages: Path) -> None:
        self._own, self._packages = own, packages
        self.counts = Counts(own["rows"], own["tune"], own["test"], own["held_out"])
        self.skipped: dict[str, int] = {}
        self._pairs: list[tuple[str, str]] | None = None

    def documents(self) -> Iterator[tuple[str, Sequence[str], str]]:
        self._packages.mkdir(parents=True, exist_ok=True)
        for name in self._own["texts"]:
            source = SOURCES[name]
            for document in source.read(obtain(source.package, self._packages)):
                yield document.title, document.keys, document.text

    def pairs(self) -> list[tuple[str, str]]:
        if self._pairs is None:
            self._pairs, skipped = read_pairs(self._own["dictionary"], self._packages)
            self.skipped = {why: len(rows) for why, rows in skipped.items()}
        return self._pairs

    def pool(self, task: str, tokenizer: Tokenizer) -> Pool:
        own = self._own
        sizes = Sizes(own["prompt"], own["answer"], own["choices"][task], own["gloss"], own["wrong"] == "same")
        if task == "continuation":
            return continuations(self.documents(), tokenizer, sizes, self.counts)
        return headwords(self.pairs(), tokenizer, sizes, self.counts)

    def period(self) -> Iterator[tuple[str, str]]:
        """(text, split) of everything, for a base."""
        if "continuation" in self._own["tasks"]:
            for _, keys, text in self.documents():
                yield text, "train" if side_of(keys, self.counts) == "train" else "validation"
        if "headword" in self._own["tasks"]:
            for word, gloss in self.pairs():
                side = side_of([f"word {word.casefold()}"], self.counts)
                yield f"{word}: {gloss}", "train" if side == "train" else "validation"


def given_bases(settings: Settings) -> dict[str, Path]:
    """{"base-mdm-0": folder, ...}: one of each kind, or one for each seed. Raises `UserError` for other numbers."""
    of_kind: dict[str, list[Path]] = {kind: [] for kind in KINDS}
    for name in settings.base:
        model = load(name)
        if model.tokenizer is None:
            raise UserError(f"--base {name} has no tokenizer.json, which texts need; add the file")
        assert model.path is not None
        of_kind[model.kind].append(model.path)
    for kind, paths in of_kind.items():
        if len(paths) not in (1, len(settings.seeds)):
            seeds = len(settings.seeds)
            raise UserError(f"--base names {len(paths)} of kind {kind}; give one, or one for each of {seeds} seeds")
    return {
        f"base-{kind}-{seed}": paths[number % len(paths)]
        for kind, paths in of_kind.items()
        for number, seed in enumerate(settings.seeds)
    }


def trained_bases(place: Workplace, own: Mapping[str, Any], texts: Texts) -> dict[str, Path]:
    """Bases of each kind and seed, trained on what is not held out, by a tokenizer of that."""
    data, lines = place.out / "data", place.out / "period.jsonl"
    if not lines.is_file():
        write_lines(lines, ({"text": text, "split": side} for text, side in texts.period()))
    prepare(PrepareOptions([str(lines)], data, f"bpe:{own['vocab']}", split="field:split", workers=1))
    recipes = {
        f"base-{kind}-{seed}": {**own["base"], **own[f"base_{kind}"], "data": str(data), "seed": seed}
        for kind in KINDS
        for seed in place.settings.seeds
    }
    return {name: resolve(path) for name, path in place.train(recipes).items()}


def one_tokenizer(bases: Mapping[str, Path]) -> Tokenizer:
    """That of all bases. Raises `UserError` where they have different ones."""
    shared: Tokenizer | None = None
    for name, path in bases.items():
        own = Tokenizer.from_file(path)
        if shared is not None and own.hash != shared.hash:
            raise UserError(f"{name} ({path}) has another tokenizer than the other bases; give models of one corpus")
        shared = own
    assert shared is not None, "there are bases"
    return shared


def refuse_exposed(path: Path, pools: Mapping[str, Pool], own: Mapping[str, Any]) -> str:
    """Raises `UserError` where a base has read what is tested. A made-up dictionary repeats itself and is not asked."""
    parts = []
    for task, pool in pools.items():
        if task == "headword" and own["dictionary"] == MADE:
            continue
        items = [*pool.tune, *pool.test]
        texts = [item.prompt if task == "headword" else [*item.prompt, *item.answers[0]] for item in items]
        parts.append(f"{task}: {refuse_read(load(path), texts, [item.cluster for item in items])}")
    return "; ".join(dict.fromkeys(parts))


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


def task_result(
    place: Workplace, own: Mapping[str, Any], task: str, pool: Pool, models: Mapping[str, Path]
) -> dict[str, Any]:
    """The figures of each way to guide."""
    by_way = {}
    for name, way in WAYS.items():
        if task not in way.tasks and (task, name) not in REVERSED:
            continue
        tables: dict[str, list[np.ndarray]] = {"tune": [], "test": []}
        for seed in place.settings.seeds:
            path = models[f"{task}-{way.model}-{seed}" if way.tuned else f"{way.model}-{seed}"]
            for side, items in (("tune", pool.tune), ("test", pool.test)):
                ends = way.ends and task != "reversal"  # whose answers have their own
                tables[side].append(table(place, own, f"{task}-{name}-{seed}-{side}", path, items, way.view, ends))
        by_way[name] = gains(tables["tune"], tables["test"], [item.cluster for item in pool.test], own["scales"])
        by_way[name]["view"] = way.view
        say(f"guidance: {task}, {name}: gain {by_way[name]['gain']['estimate']:+.4f}")
    return by_way


def table(
    place: Workplace, own: Mapping[str, Any], name: str, path: Path, items: Sequence[Item], view: str, ends: bool
) -> np.ndarray:
    """Credits [N, columns] of a model, kept some items at a time."""
    weights = file_sha256(path / WEIGHTS)
    model: Model | None = None
    parts = []
    for start in range(0, len(items), AT_ONCE):
        some = items[start : start + AT_ONCE]

        def score(some: Sequence[Item] = some, start: int = start) -> list[list[float]]:
            nonlocal model
            model = load(path, place.settings.device) if model is None else model
            say(f"guidance: {name}: {min(start + AT_ONCE, len(items))} of {len(items)} items")
            credit_NS = credits(model, some, own["scales"], own["draws"], view, ends)
            return [[round(float(value), 4) for value in row] for row in credit_NS]

        parts.append(np.array(place.kept(f"{name}-{start}", score, weights=weights, items=len(some))))
    return np.concatenate(parts)
