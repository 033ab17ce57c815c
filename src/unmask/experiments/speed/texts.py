"""What the models write for held-out words, and what judges say of it; kept text by text, so that a stop loses little.

    shelf = Shelf(store, plan, judge, jobs=2)
    shelf.fill({"mdm": settings}, {"mdm": models_S}, split.survey, "survey")    # by `jobs` processes
    cell = shelf.cell("mdm", models_S, setting, split.survey)        # a `frontier.Cell`

Every text has the same length, whatever the model: an end of sequence is banned before the last place, where it stands
from the beginning on a masked model's canvas. The judge reads each behind the headword and a colon, whichever template
the model was given, so that its words are in no perplexity.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unmask.bench.decode.settings import Setting
from unmask.decoding import Generation, generate
from unmask.evaluation.generation_quality import Sample, entropy
from unmask.evaluation.judge import Judge
from unmask.evaluation.request_store import RequestStore, request_key
from unmask.experiments.processes import by_processes
from unmask.experiments.speed.frontier import Cell
from unmask.experiments.speed.glosses import Gloss
from unmask.experiments.speed.plan import Plan
from unmask.experiments.speed.stages import nats_of
from unmask.model.folder import Model, load
from unmask.terminal import say

ROWS_AT_ONCE, TOLD = 32, 50  # rows of a call; groups of texts between two lines that tell how far it is


@dataclass(frozen=True)
class Writer:
    """`generate` for texts of one length. banned: no end of sequence among them; it is not banned while time is taken,
    since that costs the autoregressive decode step more than it does a masked model."""

    model: Model
    setting: Setting
    banned: bool = True

    def generate(self, prompts: Sequence[list[int]], length: int, seed: int) -> list[Generation]:
        """Rows of `length` new tokens; row i draws from (seed, i)."""
        options: dict[str, Any] = {"eos": "suppress" if self.banned else "fill", **self.setting.call(length)}
        options |= {"seed": [(seed, i) for i in range(len(prompts))], "trace": False}
        if self.model.kind == "arm":
            return generate(self.model, list(prompts), length, **options)
        assert self.model.mask_id is not None and self.model.eos_id is not None, "as every model that was fine-tuned"
        blanks = [*[self.model.mask_id] * length, self.model.eos_id]
        return generate(self.model, [[*prompt, *blanks] for prompt in prompts], 0, **options)


@dataclass(frozen=True)
class Written:
    """Texts of one model, setting, temperature and template, in the words' order."""

    tokens: list[list[int]]
    nfe: list[float]


def write(model: Model, setting: Setting, prompts: Sequence[list[int]], length: int, seed: int) -> dict[str, Any]:
    """A text of `length` tokens behind each prompt, and the passes that each took."""
    writer, rows = Writer(model, setting), []
    for first in range(0, len(prompts), ROWS_AT_ONCE):
        rows += writer.generate(prompts[first : first + ROWS_AT_ONCE], length, seed * 10_007 + first)
    return {"tokens": [list(row.tokens) for row in rows], "nfe": [row.nfe for row in rows]}


def samples_of(
    model: Model, prompts: Sequence[list[int]], words: Sequence[str], tokens: Sequence[list[int]]
) -> list[Sample]:
    """Texts behind what the judge reads before them."""
    return [
        Sample(f"{word}:", model.decode_behind(prompt, own) or "", own)
        for prompt, word, own in zip(prompts, words, tokens, strict=True)
    ]


def read(judge: Judge, samples: Sequence[Sample]) -> list[list[float]]:
    """(nats, the judge's tokens) of each; zeros of an empty text."""
    judged = iter(judge.read([(s.prompt, s.text) for s in samples if s.text]))
    return [list(next(judged)[:2]) if sample.text else [0.0, 0.0] for sample in samples]


def reading_key(judge: Judge, samples: Sequence[Sample]) -> str:
    return request_key("reading", judge.to_dict(), [[s.prompt, s.text] for s in samples])


# ---------------------------------------------------------------------- in processes of their own


@dataclass(frozen=True)
class Apart:
    """Where a process finds a model and the judge, and what it computes on."""

    model: Path
    judge: Path
    judge_name: str
    device: str
    threads: int


@lru_cache(maxsize=32)
def opened(path: Path, device: str) -> Model:
    return load(path, device)


def write_apart(
    where: Apart, setting: Setting, prompts: Sequence[list[int]], words: Sequence[str], length: int, seed: int
) -> tuple[dict[str, Any], str, list[list[float]]]:
    """What is written, and what the judge reads of it, with the key of that."""
    torch.set_num_threads(where.threads)
    model, judge = opened(where.model, where.device), Judge(where.judge_name, opened(where.judge, "cpu"))
    kept = write(model, setting, prompts, length, seed)
    samples = samples_of(model, prompts, words, kept["tokens"])
    return kept, reading_key(judge, samples), read(judge, samples)


def nats_apart(where: Apart, words: Sequence[Gloss], plan: Plan) -> list[list[float]]:
    torch.set_num_threads(where.threads)
    return nats_of(opened(where.model, where.device), words, plan)


# ---------------------------------------------------------------------- all of them


@dataclass
class Shelf:
    """All texts, and readings of them. jobs: processes that `fill` writes by."""

    store: RequestStore
    plan: Plan
    judge: Judge
    jobs: int = 1
    device: str = "cpu"
    threads: int = 1

    def fill(
        self, settings: Mapping[str, Sequence[Setting]], models: Mapping[str, Mapping[int, Model]],
        glosses: Sequence[Gloss], part: str,
    ) -> None:  # fmt: skip
        """What the store lacks of all templates and temperatures; with one job, nothing: it is written when asked for.

        settings, models: by role.
        """
        asks: dict[str, tuple[Any, ...]] = {}
        for role, own in settings.items() if self.jobs > 1 else ():
            for setting, (seed, model), template, temperature in itertools.product(
                own, models[role].items(), self.plan.templates, self.plan.temperatures
            ):
                heated = setting.at(temperature)
                key = self._key(role, seed, heated, template, glosses)
                if self._lacks(key, model, template, glosses):
                    prompts, words = self._prompts(model, template, glosses), [gloss.word for gloss in glosses]
                    asks[key] = (self._apart(model), heated, prompts, words, self.plan.written, seed)
        for number, (key, found, _) in enumerate(by_processes(write_apart, asks, self.jobs) if asks else (), 1):
            kept, read_by, readings = found
            self.store.put(key, kept)
            self.store.put(read_by, readings)
            if number % TOLD == 0 or number == len(asks):
                say(f"speed: {part}, {number:,} of {len(asks):,} groups of {len(glosses)} texts")

    def nats(
        self, models: Mapping[str, Mapping[int, Model]], words: Sequence[Gloss]
    ) -> dict[str, np.ndarray[Any, Any]]:
        """-log p of the true glosses by role [seeds, templates, words]."""
        keys = {(role, seed): request_key("nats", role, seed, [[gloss.word, gloss.text] for gloss in words])
                for role, own in models.items() for seed in own}  # fmt: skip
        missing = {key: models[of[0]][of[1]] for of, key in keys.items() if self.store.get(key) is None}
        if self.jobs > 1 and len(missing) > 1:
            asks = {key: (self._apart(model), words, self.plan) for key, model in missing.items()}
            for key, found, _ in by_processes(nats_apart, asks, self.jobs):
                self.store.put(key, found)
        else:
            for key, model in missing.items():
                self.store.put(key, nats_of(model, words, self.plan))
        return {role: np.array([self.store.get(keys[role, seed]) for seed in own]) for role, own in models.items()}

    def written(
        self, role: str, seed: int, model: Model, setting: Setting, template: str, glosses: Sequence[Gloss]
    ) -> Written:
        """The store's, or written now. setting: with its temperature."""
        key = self._key(role, seed, setting, template, glosses)
        if (kept := self.store.get(key)) is None:
            kept = write(model, setting, self._prompts(model, template, glosses), self.plan.written, seed)
            self.store.put(key, kept)
        return Written(kept["tokens"], kept["nfe"])

    def samples(self, model: Model, written: Written, template: str, glosses: Sequence[Gloss]) -> list[Sample]:
        """Texts behind what the judge reads before them."""
        words = [gloss.word for gloss in glosses]
        return samples_of(model, self._prompts(model, template, glosses), words, written.tokens)

    def readings(self, samples: Sequence[Sample], judge: Judge) -> list[list[float]]:
        """(nats, the judge's tokens) of each; zeros of an empty text."""
        key = reading_key(judge, samples)
        if (readings := self.store.get(key)) is None:
            readings = read(judge, samples)
            self.store.put(key, readings)
        return list(readings)

    def _key(self, role: str, seed: int, setting: Setting, template: str, glosses: Sequence[Gloss]) -> str:
        return request_key("texts", role, seed, setting.to_dict(), template, [gloss.word for gloss in glosses])

    def _lacks(self, key: str, model: Model, template: str, glosses: Sequence[Gloss]) -> bool:
        if (kept := self.store.get(key)) is None:
            return True
        samples = self.samples(model, Written(kept["tokens"], kept["nfe"]), template, glosses)
        return self.store.get(reading_key(self.judge, samples)) is None

    def _prompts(self, model: Model, template: str, glosses: Sequence[Gloss]) -> list[list[int]]:
        return [model.encode(self.plan.prompt(template, gloss.word)) for gloss in glosses]

    def _apart(self, model: Model) -> Apart:
        assert model.path is not None and self.judge.model.path is not None, "models of folders"
        return Apart(model.path, self.judge.model.path, self.judge.name, self.device, self.threads)

    def cell(
        self,
        role: str,
        models: Mapping[int, Model],
        setting: Setting,
        glosses: Sequence[Gloss],
        judge: Judge | None = None,
        words: int | None = None,
    ) -> tuple[Cell, float]:
        """All seeds, templates and temperatures of a setting, and the mean passes of a text. words: so many of the
        first alone are read, of all that are written."""
        groups, templates, seeds, passes = [], [], [], []
        for seed, model in models.items():
            for template in self.plan.templates:
                group = []
                for temperature in self.plan.temperatures:
                    written = self.written(role, seed, model, setting.at(temperature), template, glosses)
                    samples = self.samples(model, written, template, glosses)[:words]
                    readings = self.readings(samples, judge or self.judge)
                    entropies = [entropy(sample.tokens) if sample.tokens else 0.0 for sample in samples]
                    group.append([*np.array(readings, dtype=float).T, entropies])
                    passes += written.nfe
                groups.append(group)
                templates.append(template)
                seeds.append(seed)
        nats, tokens, entropies = np.moveaxis(np.array(groups, dtype=float), 2, 0)
        return Cell(nats, tokens, entropies, templates, seeds), float(np.mean(passes))

    def reference(self, glosses: Sequence[Gloss], judge: Judge | None = None) -> dict[str, Any]:
        """Perplexity and entropy of the true glosses, as those of what is written."""
        samples = [Sample(f"{gloss.word}:", gloss.text, list(gloss.ids)) for gloss in glosses]
        read = np.array(self.readings(samples, judge or self.judge), dtype=float)
        entropies = np.array([entropy(gloss.ids) for gloss in glosses])
        weights = np.array([np.bincount(np.random.default_rng(i).integers(0, len(read), len(read)), minlength=len(read))
                            for i in range(200)])
        drawn = np.exp((weights @ read[:, 0]) / (weights @ read[:, 1]))
        return {
            "perplexity": float(np.exp(read[:, 0].sum() / read[:, 1].sum())),
            "interval": [float(v) for v in np.percentile(drawn, [2.5, 97.5])],
            "entropy": float(entropies.mean()),
        }
