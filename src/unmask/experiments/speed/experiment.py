"""The experiment from its data to its result; each part is kept, so that a stopped one goes on where it was.

    unmask experiment speed --quick
    unmask experiment speed --sweep runs/sweep --seeds 3 --judge smollm2 --plot

1. Glosses: headwords held out as in the bases' corpus. 2. A judge from other text. 3. Fine-tuning, every seed. 4. Times
in turns. 5. Survey: every setting at every temperature behind every template, on words of its own. 6. Test: the ARM and
the chosen settings on other words, all seeds. 7. The true glosses' likelihood under every model, and the result.
(arXiv 2410.18514, section 4.3, claims equal quality 1.4 times faster, with 16 times the pre-training.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from unmask.bench.decode_settings import Setting
from unmask.bench.train import machine
from unmask.evaluation.generation import likeness, numbers
from unmask.evaluation.generation_quality import Sample
from unmask.evaluation.judge import Judge, open_judge
from unmask.evaluation.provenance import model_facts, versions
from unmask.evaluation.request_store import RequestStore
from unmask.experiments.speed.bases import check_kinds, corpus_split, find_bases, refuse_exposed
from unmask.experiments.speed.glosses import MADE, MADE_SHARE, Gloss, Split, read_pairs, split_glosses, write_rows
from unmask.experiments.speed.outcome import Key, Surveyed, answer, areas, choose, finalists, rows_of
from unmask.experiments.speed.plan import ARM, Plan, read_plan
from unmask.experiments.speed.stages import fine_tune, make_bases, train_judge
from unmask.experiments.speed.texts import Shelf, at
from unmask.experiments.speed.timing import timings
from unmask.likelihood import score
from unmask.model.folder import Model, load
from unmask.statistics import ratio
from unmask.terminal import say

CORPUS_SPLIT = (0.04, 0)  # share and seed of `scaling.corpus`, where no base tells another
ARM_SETTING = Setting("ARM")
ANSWERS = "answers.jsonl"


@dataclass(frozen=True)
class SpeedOptions:
    """The command's arguments. `changes` replaces fields of the plan."""

    out: str
    quick: bool = False
    seeds: int | None = None
    sweep: str | None = None
    base_arm: str | None = None
    base_mdm: str | None = None
    base_mdm_large: str | None = None
    data: str | None = None
    judge: str | None = None  # one more, for the settings of the headline
    judge_run: str | None = None  # an autoregressive run to judge instead of the experiment's own
    packages: str | None = None
    threads: int = 1
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def plan(self) -> Plan:
        changes = dict(self.changes)
        if self.seeds is not None:
            changes["seeds"] = self.seeds
        if self.data is not None:
            changes["dictionary"] = self.data
        return read_plan(self.quick, changes)


@dataclass
class Ready:
    """What all measurements share."""

    plan: Plan
    shelf: Shelf
    models: dict[str, dict[int, Model]]  # fine-tuned, by role and seed
    split: Split
    further: Judge | None


def speed(options: SpeedOptions) -> dict[str, Any]:
    """The result as JSON values. Raises `UserError`, and `Stopped` where a signal came while something was trained."""
    plan, out = options.plan, Path(options.out)
    further = None if options.judge in (None, "none") else open_judge(str(options.judge))
    torch.set_num_threads(options.threads)
    out.mkdir(parents=True, exist_ok=True)
    packages = Path(options.packages) if options.packages else out / "packages"
    bases = bases_of(options, plan, out)
    split, exposure = glosses_of(plan, bases, out, packages)
    for why, found in split.skipped.items():
        say(f"speed: left out {found['count']:,} glosses {why} ({', '.join(found['rows'][:3])})")
    judge = open_judge(options.judge_run or str(train_judge(plan, out, packages, options.threads)))
    facts: dict[str, Any] = {"bases": {role: base_facts(path, exposure[role]) for role, path in bases.items()}}
    models: dict[str, dict[int, Model]] = {role: {} for role in bases}
    facts["fine_tuning"] = {role: [] for role in bases}
    for role, path in bases.items():
        for seed in range(plan.seeds):
            folder, trained = fine_tune(role, path, plan, out, seed, options.threads)
            models[role][seed] = load(folder)
            facts["fine_tuning"][role].append(trained)
    protocol = {
        **{"plan": plan.to_dict(), "judge": judge.to_dict(), "glosses": split.report(), "threads": options.threads},
        "models": {role: [model_facts(model) for model in own.values()] for role, own in models.items()},
    }
    with RequestStore(out / ANSWERS, protocol) as store:
        ready = Ready(plan, Shelf(store, plan, judge), models, split, further)
        measured = measure(ready)
    quick = {"quick": True} if options.quick else {}
    return {**quick, **measured, **facts, **protocol, "versions": versions(), "machine": machine()}


def bases_of(options: SpeedOptions, plan: Plan, out: Path) -> dict[str, Path]:
    """Paths by role, of the right kinds and of one tokenizer."""
    given = {ARM: options.base_arm, "mdm": options.base_mdm, "mdm-large": options.base_mdm_large}
    if options.sweep is None and not any(given.values()) and plan.dictionary == MADE:
        bases = make_bases(plan, out, options.threads)
        check_kinds(bases, plan)
        return bases
    return find_bases(given, options.sweep, plan)


def glosses_of(plan: Plan, bases: Mapping[str, Path], out: Path, packages: Path) -> tuple[Split, dict[str, str]]:
    """The rows, written to files; and in words, how each base's text lies to them."""
    tokenizer = load(next(iter(bases.values()))).tokenizer
    assert tokenizer is not None, "checked with the bases"
    share, seed = corpus_split(bases.values()) or ((MADE_SHARE, 0) if plan.dictionary == MADE else CORPUS_SPLIT)
    pairs, skipped = read_pairs(plan.dictionary, packages)
    split = split_glosses(pairs, skipped, tokenizer, plan, share, seed)
    exposure = {role: refuse_exposed(role, path, split.held_out) for role, path in bases.items()}
    write_rows(split, plan, out / "glosses")
    return split, exposure


def base_facts(path: Path, exposure: str) -> dict[str, Any]:
    """What a base is, and what its pre-training took where its run tells."""
    from unmask.training.metrics import read_records

    model = load(path)
    run = next((folder for folder in (path, *path.resolve().parents[:2]) if (folder / "metrics.jsonl").is_file()), None)
    steps = [r for r in read_records(run) if r["kind"] == "train"] if run is not None else []
    flops = steps[-1].get("flops") if steps else None
    return {"name": (run or path).name, **model_facts(model), "flops": flops, "held_out_text": exposure}


# ------------------------------------------------------------------ measurements


def measure(ready: Ready) -> dict[str, Any]:
    """Times, survey, test and likelihoods."""
    plan, split, shelf = ready.plan, ready.split, ready.shelf
    masked = [role for role in ready.models if role != ARM]
    settings: dict[str, Sequence[Setting]] = {ARM: [ARM_SETTING], **{role: plan.settings() for role in masked}}
    first = {role: own[0] for role, own in ready.models.items()}
    template = next(iter(plan.templates))
    prompts = [first[ARM].encode(plan.prompt(template, gloss.word)) for gloss in split.survey]
    times = timings(shelf.store, first, settings, prompts, plan)
    surveyed = written(ready, settings, split.survey, {role: {0: model} for role, model in first.items()}, "survey")
    survey = rows_of(surveyed, times, plan)
    chosen = {role: choose(survey, role, plan) for role in masked}
    names = {role: finalists(survey, role, plan) for role in masked}
    kept = {role: [s for s in settings[role] if role == ARM or s.name in names[role]] for role in settings}
    tested = written(ready, kept, split.test, ready.models, "test")
    test = rows_of(tested, times, plan)
    for row in test:
        row |= texts_of(ready, row["role"], next(s for s in kept[row["role"]] if s.name == row["setting"]))
    said = answer(test, chosen, plan)
    return {
        "headline": headlines(test, surveyed, chosen, ready),
        **said,
        "chosen": chosen,
        "survey": survey,
        "test": test,
        "test_further_judge": further_rows(ready, kept, times),
        "reference": {
            "survey": shelf.reference(split.survey),
            "test": shelf.reference(split.test),
            "likelihood": {r: [likelihood(ready, model) for model in own.values()] for r, own in ready.models.items()},
        },
    }


def written(
    ready: Ready,
    settings: Mapping[str, Sequence[Setting]],
    glosses: Sequence[Gloss],
    models: Mapping[str, Mapping[int, Model]],
    part: str,
    judge: Judge | None = None,
) -> dict[Key, Surveyed]:
    """Everything of some settings, in the order of roles."""
    found: dict[Key, Surveyed] = {}
    total = sum(len(own) for own in settings.values())
    for role, own in settings.items():
        for setting in own:
            say(f"speed: {part}, {len(found) + 1} of {total}: {role}, {setting.name}")
            found[role, setting.name] = Surveyed(*ready.shelf.cell(role, models[role], setting, glosses, judge))
    return found


def further_rows(
    ready: Ready, kept: Mapping[str, Sequence[Setting]], times: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The same texts under one more judge, for the settings of the headline and the ARM."""
    if ready.further is None:
        return None
    found = written(ready, kept, ready.split.test, ready.models, f"judge {ready.further.name}", ready.further)
    reference = ready.shelf.reference(ready.split.test, ready.further)
    return {"judge": ready.further.to_dict(), "rows": rows_of(found, times, ready.plan), "reference": reference}


def texts_of(ready: Ready, role: str, setting: Setting) -> dict[str, Any]:
    """Diversity of a setting's texts at the temperature nearest 1, first seed and template; and the first ones."""
    plan, shelf, glosses = ready.plan, ready.shelf, ready.split.test
    temperature = min(plan.temperatures, key=lambda t: abs(t - 1))
    template, model = next(iter(plan.templates)), ready.models[role][0]
    texts = shelf.written(role, 0, model, at(setting, temperature), template, glosses)
    samples = shelf.samples(model, texts, template, glosses)
    readings = [(nats, int(tokens), 1) for nats, tokens in shelf.readings(samples, shelf.judge) if tokens]
    found = numbers(samples, readings)
    found.pop("bits_per_byte", None)
    true = [Sample(s.prompt, gloss.text, list(gloss.ids)) for s, gloss in zip(samples, glosses, strict=True)]
    return {"texts": {"temperature": temperature, **found, **likeness(samples, true, shelf.judge)}}


def likelihood(ready: Ready, model: Model) -> dict[str, Any]:
    """Bits per byte of the true test glosses behind every template: exact (ARM), or the bound."""
    found = {}
    for template in ready.plan.templates:
        pairs = [(ready.plan.prompt(template, gloss.word), gloss.text) for gloss in ready.split.test]
        scores = score(model, pairs, draws=ready.plan.draws)
        n_bytes = [len(text.encode()) for _, text in pairs]
        found[template] = ratio([-s.logprob for s in scores], n_bytes).scaled(1 / 0.6931471805599453).to_dict()
    return found


def headlines(
    test: list[dict[str, Any]], surveyed: Mapping[Key, Surveyed], chosen: Mapping[str, str | None], ready: Ready
) -> dict[str, Any]:
    """{role: {gap, gap_over_templates, gap_over_seeds, time, area}}; a gap of null where nothing could be chosen."""
    found: dict[str, Any] = {}
    batch = str(ready.plan.batches[0])
    for role, name in chosen.items():
        row = next((r for r in test if r["role"] == role and r["setting"] == name), None)
        entry: dict[str, Any] = {"gap": None, "area": areas(surveyed, role, ready.plan)}
        if row is not None and row.get("gap"):
            time = row["time"][batch]
            entry |= {
                "gap": row["gap"],
                "gap_over_templates": {k: v for k, v in row["over_templates"].items() if k != "each"},
                "gap_over_seeds": {k: v for k, v in row["over_seeds"].items() if k != "each"},
                "time": {
                    **{"estimate": time["median"], "low": time["q1"], "high": time["q3"]},
                    **{"n": ready.plan.rounds, "clusters": ready.plan.rounds},
                },
            }
        found[role] = entry
    return found


def in_words(result: Mapping[str, Any]) -> str:
    """The answer, and a line a setting."""
    from unmask.experiments.speed.table import table

    return table(result)
