"""The experiment from its data to its result; each part is kept, so that a stopped one goes on where it was.

    unmask experiment speed --quick
    unmask experiment speed --base runs/sweep --set further_judge=smollm2 --plot
    unmask experiment speed --base arm=runs/arm --base mdm=runs/mdm --base mdm-large=runs/mdm16 --data glosses.jsonl

1. Glosses: headwords held out as in the bases' corpus. 2. A judge from other text than the glosses and fine-tuning of
every seed, in one go; the candidate for arm-equal by validation words. 3. Times in turns. 4. Survey: every setting at
every temperature behind every template, on words of its own. 5. Test: the ARM, arm-equal and the chosen settings on
other words, all seeds. 6. The true glosses' likelihood under every model, and the result.
(arXiv 2410.18514, section 4.3, claims equal quality 1.4 times faster, with 16 times the pre-training.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from unmask.errors import UserError
from unmask.evaluation.judge import Judge, open_judge
from unmask.evaluation.provenance import model_facts
from unmask.evaluation.request_store import RequestStore
from unmask.experiments.estimates import ends
from unmask.experiments.frame import Settings, experiment
from unmask.experiments.pretraining import pretraining
from unmask.experiments.speed.bases import check_kinds, corpus_split, find_bases, given_bases, refuse_exposed
from unmask.experiments.speed.glosses import MADE, MADE_SHARE, Split, read_pairs, split_glosses, write_rows
from unmask.experiments.speed.matching import pair_of
from unmask.experiments.speed.measure import Ready, measure
from unmask.experiments.speed.outcome import SLOW
from unmask.experiments.speed.plan import ARM, EQUAL, LARGE, NAME, Plan, plan_of
from unmask.experiments.speed.plot import plot
from unmask.experiments.speed.stages import (
    check_trained,
    choose_equal,
    make_bases,
    packages_of,
    train_all,
    tune_equal,
)
from unmask.experiments.speed.table import table
from unmask.experiments.speed.texts import Shelf
from unmask.experiments.workplace import Workplace
from unmask.model.folder import Model, load
from unmask.terminal import say

__all__ = ["figure", "holds", "plot", "reading", "run"]
CORPUS_SPLIT = (0.04, 0)  # share and seed of `scaling.corpus`, where no base tells another
ANSWERS = "answers.jsonl"
# A begun folder may go on with others of these: texts and times do not depend on them.
FREE = ("window", "finalists", "limits", "equal_margin", "further_judge", "further_words")


def run(settings: Settings) -> dict[str, Any]:
    """The result as JSON values. Raises `UserError`, and `Stopped` where a signal came while something was trained."""
    plan = plan_of(settings)
    check_trained(plan)
    further = named_judge(plan.further_judge) if plan.further_judge else None
    given, sweep = given_bases(settings.base, plan)
    made = plan.dictionary == MADE and not settings.base
    if not made:
        bases = find_bases(given, sweep, plan)
    chosen = recorded(experiment(NAME).settings_of(settings))
    begun = {key: value for key, value in chosen.items() if key not in FREE}
    place = Workplace(settings, {**begun, "dictionary": plan.dictionary, "seeds": list(settings.seeds)}, NAME, FREE)
    torch.set_num_threads(settings.threads)
    if made:
        bases = make_bases(plan, place)
        check_kinds(bases, plan)
    split, exposure = glosses_of(plan, bases, place)
    for named in (plan.judge_run, plan.further_judge):
        if named and Path(named).is_dir():
            refuse_exposed("the judge", Path(named), split.held_out)
    trained, tuned = train_all(bases, plan, place)
    judge = named_judge(plan.judge_run or str(trained))
    equal = choose_equal(bases, tuned, split.validation, plan, place)
    folders = {key: path for key, path in tuned.items() if key[0] in plan.bases}
    kept = {role: role for role in bases if role in plan.bases}
    if equal is not None:
        folders |= tune_equal(bases[equal["chosen"]], equal["chosen"], tuned, plan, place)
        kept[EQUAL] = equal["chosen"]
    facts: dict[str, Any] = {
        "bases": {role: base_facts(bases[own], exposure[own]) for role, own in kept.items()},
        "fine_tuning": {role: [spent(place, f.name) for (r, _), f in folders.items() if r == role] for role in kept},
        "equal": equal,
    }
    models: dict[str, dict[int, Model]] = {role: {} for role in kept}
    for (role, seed), folder in folders.items():
        models[role][seed] = load(folder, settings.device)
    protocol = {
        **{"settings": begun, "judge": judge.to_dict(), "glosses": split.report(), "threads": settings.threads},
        "models": {role: [model_facts(model) for model in own.values()] for role, own in models.items()},
    }
    with RequestStore(place.out / ANSWERS, protocol) as store:
        shelf = Shelf(store, plan, judge, settings.jobs, settings.device, settings.threads)
        measured = measure(Ready(plan, shelf, models, split, further, flops_of(facts)))
    return {**measured, **facts, **protocol, "settings": chosen, "times": place.times()}


def recorded(chosen: dict[str, Any]) -> dict[str, Any]:
    """The settings but for where packages lie, which decides nothing, and judges by their names: no paths."""
    names = {key: Path(chosen[key]).name for key in ("judge_run", "further_judge")}
    return {**{key: value for key, value in chosen.items() if key != "packages"}, **names}


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
    refuse_short(bases, split, plan)
    for why, left_out in split.skipped.items():
        say(f"speed: left out {left_out['count']:,} glosses {why} ({', '.join(left_out['rows'][:3])})")
    exposure = {role: refuse_exposed(role, path, split.held_out) for role, path in bases.items()}
    write_rows(split, plan, place.out / "glosses")
    return split, exposure


def refuse_short(bases: Mapping[str, Path], split: Split, plan: Plan) -> None:
    """Raises `UserError` where a prompt with its text is longer than a base's context."""
    for role, path in bases.items():
        model = load(path)
        words = [gloss.word for part in (split.validation, split.survey, split.test) for gloss in part]
        longest = max(len(model.encode(plan.prompt(template, word))) for template in plan.templates for word in words)
        if longest + plan.length > model.config.block_size:
            needs = f"a prompt of {longest} tokens and a text of {plan.length}"
            context = model.config.block_size
            raise UserError(f"--base {role}={path} has a context of {context}, less than {needs}; give a less length")


def base_facts(path: Path, exposure: str) -> dict[str, Any]:
    """What a base is, and what its pre-training took where its run tells."""
    took = pretraining(path)
    return {"name": (took.run or path).name, **model_facts(load(path)), "flops": took.flops, "epochs": took.epochs,
            "held_out_text": exposure}  # fmt: skip


# ------------------------------------------------------------------ what the frame asks for


def holds(result: Mapping[str, Any]) -> str:
    """Whether a masked setting lies below the ARM's frontier at no more time."""
    first, *others = result["answers"]
    parts = [_holds(result, first), *(f"at {label}, {_holds(result, label)}" for label in others)]
    return "; ".join(parts)


def _holds(result: Mapping[str, Any], label: str) -> str:
    found = result["answers"][label]
    if found["answer"] == "yes":
        return "yes: a masked setting lies below the ARM's frontier at no more time"
    if not found["decided"]:
        return "no: it is not shown either way"
    slow = {role for role, by_label in result["chosen"].items() if by_label[label]["why"] == SLOW}
    if slow == set(result["chosen"]):
        return "no: all settings take longer"
    return "no: the setting chosen for each model lies above" + (f", or takes longer ({min(slow)})" if slow else "")


def figure(result: Mapping[str, Any]) -> str:
    """Gap, time and compute of each masked model's chosen setting, and of mdm-large at equal bits/byte."""
    parts = []
    for role, part in result["headline"].items():
        pair = pair_of(result["matched"], role, ARM)
        compute = _compute(pair, "the ARM's")
        if (gap := part.get("gap")) is None:
            parts.append(f"{role}{compute}: {next(iter(result['chosen'][role].values()))['why'] or 'no gap'}")
            continue
        line = (
            f"{role}{compute}: log perplexity at equal entropy, less the ARM's, {ends(gap, '+.2f')} at "
            f"{part['time']['estimate']:.2f}x its time"
        )
        others = [
            f"{ends(part[name], '+.2f')} at up to {limit:g}x"
            for limit in result["settings"]["limits"]
            if (name := f"gap_at_{limit:g}") in part
        ]
        line += f" ({', '.join(others)})" if others else ""
        if "gap_at_equal_bits" in part:
            line += f", {ends(part['gap_at_equal_bits'], '+.2f')} to an ARM {_apart(result)}"
        parts.append(line)
    return "; ".join(parts)


def _compute(pair: Mapping[str, Any] | None, whose: str) -> str:
    ratio = None if pair is None else pair["flops_ratio"]
    bits = "" if pair is None else f", {'equal' if pair['equal'] else 'unequal'} bits/byte"
    return f" (unknown compute{bits})" if ratio is None else f" ({ratio:.1f} times {whose} training FLOPs{bits})"


def _apart(result: Mapping[str, Any]) -> str:
    pair = pair_of(result["matched"], LARGE, EQUAL)
    assert pair is not None, "where there is a gap to it"
    within = "of equal bits/byte" if pair["equal"] else f"{ends(pair['difference'])} bits/byte off"
    return within + _compute(pair, "its").replace(", equal bits/byte", "").replace(", unequal bits/byte", "")


def _beaten(result: Mapping[str, Any]) -> str:
    """Of all that was tried, whether it reaches the window or not."""
    tried = [row for row in result["survey"] if "beaten" in row]
    points = sum(len(row["points"]) for row in tried)
    lost = sum(round(row["beaten"] * len(row["points"])) for row in tried)
    return (
        f"Whether or not they reach the window, {lost} of the {points} points of masked models (settings at all "
        f"temperatures) are beaten: one of the ARM's has no less entropy and no higher perplexity (survey's words)."
    )


def _of_tails(result: Mapping[str, Any]) -> str:
    """What the ARM's other curves cost it, and where the gap to the plain one stands."""
    batch = str(result["settings"]["batches"][0])
    times = [(row["setting"], row["time"][batch]["median"]) for row in result["test"] if row["role"] == ARM]
    slower = ", ".join(f"{name} {time:.2f}x" for name, time in times[1:])
    return f"; its other curves take it {slower} of that (`gap_to_plain` is to the plain one alone)" if slower else ""


def _load(result: Mapping[str, Any]) -> str:
    return "; ".join(f"batch {batch} {min(own):.1f} to {max(own):.1f}" for batch, own in result["load"].items())


def _read(result: Mapping[str, Any]) -> str:
    """How often each base read its corpus."""
    known = [f"{role} {base['epochs']:.2f}" for role, base in result["bases"].items() if base["epochs"] is not None]
    return f" (epochs of it: {', '.join(known)})" if known else ""


def reading(result: Mapping[str, Any]) -> str:
    """The tables, and how to read them."""
    settings, tried = result["settings"], result["settings_tried"]
    (low, high), seeds = settings["window"], len(result["fine_tuning"][ARM])
    many = ", ".join(f"{count} of {role}" for role, count in tried.items() if role != ARM)
    arms = f"{len(settings['arm_rules'])} ways to cut its tail, whose lowest curves are its frontier"
    return (
        f"A gap is the mean difference of the judge's log perplexity to the ARM's at equal entropy, over one window of "
        f"entropy for all settings: {low:+g} to {high:+g} nats about that of the true glosses. Below 0 the masked "
        f"model writes likelier text. Entropy is that of the tokens within a text: a proxy for the model's own, "
        f"blind to one text that is written for all words (self-BLEU and distinct n-grams of `texts` see some of "
        f"that). Intervals "
        f"draw words, templates and seeds again; seeds are {seeds} "
        f"of fine-tuning on one base each. Settings were chosen on other words (tried: {many}; the ARM has its "
        f"temperature and {arms}), at no more time than the ARM with its plain temperature{_of_tails(result)}. "
        f"{_beaten(result)}\n\n"
        f"Time is of models of this size on this machine: at batch 1 an ARM's step of one position is mostly calls, "
        f"not arithmetic, which a masked pass over all positions has more of; so a batch of 1 is a masked model's best "
        f"case, `flops` beside the seconds says what the arithmetic would, and the other batches have answers of their "
        f"own. An ARM's pass runs one position, a masked one's all: read `area` so. Load of the machine as rounds "
        f"began: {_load(result)}.\n\n"
        f"The judge has read other text than the fine-tuning's, but its text may stand in the bases' "
        f"corpus{_read(result)}: it is no judge of text that the models have not met, which the further judge is. "
        f"Both kinds were fine-tuned with one learning rate and as many epochs (arm-equal with fewer), untuned.\n\n"
        f"```\n{table(result)}\n```\n"
    )
