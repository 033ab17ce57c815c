"""The experiment from its data to its result; each part is kept, so that a stopped one goes on where it was.

    unmask experiment speed --quick
    unmask experiment speed --base runs/sweep --set further_judge=smollm2 --plot
    unmask experiment speed --base arm=runs/arm --base mdm=runs/mdm --base mdm-large=runs/mdm16 --data glosses.jsonl

1. Glosses: headwords held out as in the bases' corpus. 2. A judge from other text. 3. Fine-tuning, every seed. 4. Times
in turns. 5. Survey: every setting at every temperature behind every template, on words of its own. 6. Test: the ARM and
the chosen settings on other words, all seeds. 7. The true glosses' likelihood under every model, and the result.
(arXiv 2410.18514, section 4.3, claims equal quality 1.4 times faster, with 16 times the pre-training.)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unmask.bench.decode.settings import Setting
from unmask.evaluation.generation import likeness, numbers
from unmask.evaluation.generation_quality import Sample
from unmask.evaluation.judge import Judge, open_judge
from unmask.evaluation.provenance import model_facts
from unmask.evaluation.request_store import RequestStore
from unmask.experiments.estimates import ends
from unmask.experiments.frame import Settings, experiment
from unmask.experiments.speed.bases import check_kinds, corpus_split, find_bases, given_bases, refuse_exposed
from unmask.experiments.speed.glosses import MADE, MADE_SHARE, Gloss, Split, read_pairs, split_glosses, write_rows
from unmask.experiments.speed.matching import pairs
from unmask.experiments.speed.outcome import Key, Surveyed, answer, areas, choose, finalists, rows_of
from unmask.experiments.speed.plan import ARM, NAME, Plan, plan_of
from unmask.experiments.speed.plot import plot
from unmask.experiments.speed.stages import fine_tune, make_bases, packages_of, train_judge
from unmask.experiments.speed.table import table
from unmask.experiments.speed.texts import Shelf
from unmask.experiments.speed.timing import timings
from unmask.experiments.workplace import Workplace
from unmask.likelihood import score
from unmask.model.folder import Model, load
from unmask.statistics import ratio
from unmask.terminal import say

__all__ = ["figure", "holds", "plot", "reading", "run"]
CORPUS_SPLIT = (0.04, 0)  # share and seed of `scaling.corpus`, where no base tells another
ARM_SETTING = Setting("ARM")
ANSWERS = "answers.jsonl"


@dataclass
class Ready:
    """What all measurements share."""

    plan: Plan
    shelf: Shelf
    models: dict[str, dict[int, Model]]  # fine-tuned, by role and seed
    split: Split
    further: Judge | None
    flops: dict[str, float | None]  # of all training, by role

    @property
    def first(self) -> dict[str, Model]:
        """The first seed's."""
        return {role: next(iter(own.values())) for role, own in self.models.items()}


def run(settings: Settings) -> dict[str, Any]:
    """The result as JSON values. Raises `UserError`, and `Stopped` where a signal came while something was trained."""
    plan = plan_of(settings)
    further = named_judge(plan.further_judge) if plan.further_judge else None
    given, sweep = given_bases(settings.base, plan)
    made = plan.dictionary == MADE and not settings.base
    if not made:
        bases = find_bases(given, sweep, plan)
    chosen = experiment(NAME).settings_of(settings)
    place = Workplace(settings, {**chosen, "dictionary": plan.dictionary, "seeds": list(settings.seeds)}, NAME)
    torch.set_num_threads(settings.threads)
    if made:
        bases = make_bases(plan, place)
        check_kinds(bases, plan)
    split, exposure = glosses_of(plan, bases, place)
    judge = named_judge(plan.judge_run or str(train_judge(plan, place)))
    folders = fine_tune(bases, plan, place)
    facts: dict[str, Any] = {
        "bases": {role: base_facts(path, exposure[role]) for role, path in bases.items()},
        "fine_tuning": {role: [spent(place, f.name) for (r, _), f in folders.items() if r == role] for role in bases},
    }
    models: dict[str, dict[int, Model]] = {role: {} for role in bases}
    for (role, seed), folder in folders.items():
        models[role][seed] = load(folder, settings.device)
    protocol = {
        **{"settings": chosen, "judge": judge.to_dict(), "glosses": split.report(), "threads": settings.threads},
        "models": {role: [model_facts(model) for model in own.values()] for role, own in models.items()},
    }
    with RequestStore(place.out / ANSWERS, protocol) as store:
        measured = measure(Ready(plan, Shelf(store, plan, judge), models, split, further, flops_of(facts)))
    return {**measured, **facts, **protocol, "times": place.times()}


def flops_of(facts: Mapping[str, Any]) -> dict[str, float | None]:
    """Of pre-training and fine-tuning together, by role; None where the base does not tell."""
    before = {role: base["flops"] for role, base in facts["bases"].items()}
    tuned = facts["fine_tuning"]
    return {role: None if own is None else own + tuned[role][0]["flops"] for role, own in before.items()}


def spent(place: Workplace, name: str) -> dict[str, Any]:
    """What a run took and came to."""
    return {key: value for key, value in place.trained(name).items() if key not in ("run", "ranks", "signal")}


def named_judge(where: str) -> Judge:
    """A judge by its folder's name, wherever that lies."""
    return dataclasses.replace(open_judge(where), name=Path(where).name)


def glosses_of(plan: Plan, bases: Mapping[str, Path], place: Workplace) -> tuple[Split, dict[str, str]]:
    """The rows, written to files; and in words, how each base's text lies to them."""
    tokenizer = load(next(iter(bases.values()))).tokenizer
    assert tokenizer is not None, "checked with the bases"
    share, seed = corpus_split(bases.values()) or ((MADE_SHARE, 0) if plan.dictionary == MADE else CORPUS_SPLIT)
    pairs, skipped = read_pairs(plan.dictionary, packages_of(plan, place))
    split = split_glosses(pairs, skipped, tokenizer, plan, share, seed)
    for why, left_out in split.skipped.items():
        say(f"speed: left out {left_out['count']:,} glosses {why} ({', '.join(left_out['rows'][:3])})")
    exposure = {role: refuse_exposed(role, path, split.held_out) for role, path in bases.items()}
    write_rows(split, plan, place.out / "glosses")
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
    first, template = ready.first, next(iter(plan.templates))
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
    nats = {r: np.array([nats_of(ready, model) for model in own.values()]) for r, own in ready.models.items()}
    n_bytes = np.array([len(gloss.text.encode()) for gloss in split.test])
    verdict = answer(test, chosen, plan, len(ready.models[ARM]))
    return {
        "headline": headlines(test, surveyed, chosen, ready),
        **verdict,
        "chosen": chosen,
        "settings_tried": {role: len(own) for role, own in settings.items()},
        "survey": survey,
        "test": test,
        "test_further_judge": further_rows(ready, kept, times),
        "reference": {
            "survey": shelf.reference(split.survey),
            "test": shelf.reference(split.test),
            "likelihood": {r: [likelihood(plan, nats_TW, n_bytes) for nats_TW in own] for r, own in nats.items()},
        },
        "matched": pairs(nats, n_bytes, ready.flops),
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
    surveyed: dict[Key, Surveyed] = {}
    total = sum(len(own) for own in settings.values())
    for role, own in settings.items():
        for setting in own:
            say(f"speed: {part}, {len(surveyed) + 1} of {total}: {role}, {setting.name}")
            surveyed[role, setting.name] = Surveyed(*ready.shelf.cell(role, models[role], setting, glosses, judge))
    return surveyed


def further_rows(
    ready: Ready, kept: Mapping[str, Sequence[Setting]], times: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The same texts under one more judge, for the settings of the headline and the ARM."""
    if ready.further is None:
        return None
    surveyed = written(ready, kept, ready.split.test, ready.models, f"judge {ready.further.name}", ready.further)
    reference = ready.shelf.reference(ready.split.test, ready.further)
    return {"judge": ready.further.to_dict(), "rows": rows_of(surveyed, times, ready.plan), "reference": reference}


def texts_of(ready: Ready, role: str, setting: Setting) -> dict[str, Any]:
    """Diversity of a setting's texts at the temperature nearest 1, first seed and template; and the first ones."""
    plan, shelf, glosses = ready.plan, ready.shelf, ready.split.test
    temperature = min(plan.temperatures, key=lambda t: abs(t - 1))
    template, (seed, model) = next(iter(plan.templates)), next(iter(ready.models[role].items()))
    texts = shelf.written(role, seed, model, setting.at(temperature), template, glosses)
    samples = shelf.samples(model, texts, template, glosses)
    readings = [(nats, int(tokens), 1) for nats, tokens in shelf.readings(samples, shelf.judge) if tokens]
    figures = numbers(samples, readings)
    figures.pop("bits_per_byte", None)
    true = [Sample(s.prompt, gloss.text, list(gloss.ids)) for s, gloss in zip(samples, glosses, strict=True)]
    return {"texts": {"temperature": temperature, **figures, **likeness(samples, true, shelf.judge)}}


def nats_of(ready: Ready, model: Model) -> list[list[float]]:
    """-log p of the true test glosses [templates, words]: exact (ARM), or the bound."""
    by_template = []
    for template in ready.plan.templates:
        given = [(ready.plan.prompt(template, gloss.word), gloss.text) for gloss in ready.split.test]
        by_template.append([-s.logprob for s in score(model, given, draws=ready.plan.draws)])
    return by_template


def likelihood(plan: Plan, nats_TW: np.ndarray, n_bytes_W: np.ndarray) -> dict[str, Any]:
    """Bits per byte behind every template."""
    return {
        template: ratio(nats_W.tolist(), n_bytes_W.tolist()).scaled(1 / math.log(2)).to_dict()
        for template, nats_W in zip(plan.templates, nats_TW, strict=True)
    }


def headlines(
    test: list[dict[str, Any]], surveyed: Mapping[Key, Surveyed], chosen: Mapping[str, str | None], ready: Ready
) -> dict[str, Any]:
    """{role: {gap, gap_over_templates, gap_over_seeds, time, area}}; without a gap where nothing could be chosen."""
    by_role: dict[str, Any] = {}
    batch = str(ready.plan.batches[0])
    for role, name in chosen.items():
        row = next((r for r in test if r["role"] == role and r["setting"] == name), None)
        by_role[role] = {"area": areas(surveyed, role, ready.plan)}
        if row is None or not row.get("gap"):
            continue
        time, rounds = row["time"][batch], ready.plan.rounds
        ends = {"estimate": time["median"], "low": time["q1"], "high": time["q3"]}  # quartiles of the rounds
        by_role[role] |= {"gap": row["gap"], "time": {**ends, "n": rounds, "clusters": rounds}}
        for over in ("over_templates", "over_seeds"):
            figure = {key: value for key, value in row[over].items() if key != "each"}
            if figure["low"] is not None:
                by_role[role][f"gap_{over}"] = figure
    return by_role


# ------------------------------------------------------------------ what the frame asks for


def holds(result: Mapping[str, Any]) -> str:
    """Whether a masked setting lies below the ARM's frontier at no more time."""
    if result["answer"] == "yes":
        return "yes: a masked setting lies below the ARM's frontier at no more time"
    return "no: " + ("all lie above, or take longer" if result["decided"] else "it is not shown either way")


def figure(result: Mapping[str, Any]) -> str:
    """Gap and time of each masked model's chosen setting."""
    parts = []
    for role, part in result["headline"].items():
        if (gap := part.get("gap")) is None:
            parts.append(f"{role}: no setting at no more time")
            continue
        parts.append(
            f"{role}: log perplexity at equal entropy, less the ARM's, {ends(gap, '+.2f')} at "
            f"{part['time']['estimate']:.2f}x its time"
        )
    return "; ".join(parts)


def reading(result: Mapping[str, Any]) -> str:
    """The tables, and how to read them."""
    batch = result["settings"]["batches"][0]
    return (
        f"A gap is the mean difference of the judge's log perplexity to the ARM's at equal entropy, over the "
        f"temperatures' common range; below 0 the masked model writes likelier text. Settings were chosen on other "
        f"words (of {max(result['settings_tried'].values())} tried for each masked model; the ARM has its temperature "
        f"alone), at no more time than the ARM at batch {batch}. More pre-training of the masked model, and longer "
        f"texts, would change the answer most.\n\n```\n{table(result)}\n```\n"
    )
