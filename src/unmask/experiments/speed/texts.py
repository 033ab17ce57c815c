"""What the models write for held-out words, and what judges say of it; kept text by text, so that a stop loses little.

    shelf = Shelf(store, plan, judge)
    cell = shelf.cell("mdm", models_S, setting, split.survey, "survey")     # a `frontier.Cell`

Every text has the same length, whatever the model: an end of sequence is banned before the last place, where it stands
from the beginning on a masked model's canvas. The judge reads each behind the headword and a colon, whichever template
the model was given, so that its words are in no perplexity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unmask.bench.decode.settings import Setting
from unmask.decoding import Generation, generate
from unmask.evaluation.generation_quality import Sample, entropy
from unmask.evaluation.judge import Judge
from unmask.evaluation.request_store import RequestStore, request_key
from unmask.experiments.speed.frontier import Cell
from unmask.experiments.speed.glosses import Gloss
from unmask.experiments.speed.plan import Plan
from unmask.model.folder import Model

ROWS_AT_ONCE = 32


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


@dataclass
class Shelf:
    """All texts, and readings of them."""

    store: RequestStore
    plan: Plan
    judge: Judge

    def written(
        self, role: str, seed: int, model: Model, setting: Setting, template: str, glosses: Sequence[Gloss]
    ) -> Written:
        """The store's, or written now. setting: with its temperature."""
        words = [gloss.word for gloss in glosses]
        key = request_key("texts", role, seed, setting.to_dict(), template, words)
        if (kept := self.store.get(key)) is None:
            prompts = [model.encode(self.plan.prompt(template, word)) for word in words]
            writer, rows = Writer(model, setting), []
            for first in range(0, len(prompts), ROWS_AT_ONCE):
                rows += writer.generate(prompts[first : first + ROWS_AT_ONCE], self.plan.written, seed * 10_007 + first)
            kept = {"tokens": [list(row.tokens) for row in rows], "nfe": [row.nfe for row in rows]}
            self.store.put(key, kept)
        return Written(kept["tokens"], kept["nfe"])

    def samples(self, model: Model, written: Written, template: str, glosses: Sequence[Gloss]) -> list[Sample]:
        """Texts behind what the judge reads before them."""
        samples = []
        for gloss, tokens in zip(glosses, written.tokens, strict=True):
            prompt = model.encode(self.plan.prompt(template, gloss.word))
            samples.append(Sample(f"{gloss.word}:", model.decode_behind(prompt, tokens) or "", tokens))
        return samples

    def readings(self, samples: Sequence[Sample], judge: Judge) -> list[list[float]]:
        """(nats, the judge's tokens) of each; zeros of an empty text."""
        key = request_key("reading", judge.to_dict(), [[s.prompt, s.text] for s in samples])
        if (readings := self.store.get(key)) is None:
            judged = iter(judge.read([(s.prompt, s.text) for s in samples if s.text]))
            readings = [list(next(judged)[:2]) if sample.text else [0.0, 0.0] for sample in samples]
            self.store.put(key, readings)
        return list(readings)

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
