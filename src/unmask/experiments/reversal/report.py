"""What the reversal experiment's result says: picture, reading, verdict and the table's figure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unmask.evaluation.reversal.questions import ASKED, DIRECTIONS
from unmask.experiments.estimates import in_words
from unmask.experiments.plotting import ARM, MDM, bars, picture
from unmask.experiments.reversal import ablated
from unmask.experiments.reversal.asking import together_right
from unmask.style import DASHED
from unmask.training.run_folder import flat

GOAL, CURSE = 0.80, 0.05  # reversed names: the MDM at least, the ARM at most
LEARNED, BOTH = 0.95, 0.90  # of the ARM in the trained direction and of people trained both ways, for its zero to count
TERMS = (
    "A masked diffusion model (MDM) and an autoregressive one (ARM) of one shape are trained on lines about people who "
    "do not exist: of some every line has the name first, of others the description, of the rest there are lines of "
    "either kind (*both*). They are then asked for a name by its description, or for a description by its name, in the "
    "order of a person's lines (*trained*) and in the other (*reversed*). *original*: the data of the study that found "
    "the curse; *own*: people made here. *w*: the scale of unsupervised guidance. *bare*: without quotes and stops at "
    "the ends of a description; *in any form*: as any question asks for it, where one wants \"the director of\" and "
    "another \"directing\". Intervals: 95%, over people and seeds."
)
UNSEEN = (
    "Each question of the original's test holds a word that no training line has: a model that starts from random "
    "weights has never trained that word's vector, and has to answer in spite of it."
)
BEYOND = "the MDM knows in this direction what the ARM does not"
READ_SO = (
    "The conditions on the ARM read exact names (`name_accuracy`) and bare descriptions (`description_bare`). Figures "
    "of people trained both ways hold the questions that were chosen on. Points on the way of a run have the learning "
    "rate of their time, which is high: for shorter training the ablation `epochs-half` is the fair one."
)
NAME_FIRST_ONLY = (
    "No line of anyone has the description first here: who had no other lines is left out, what asks the others for a "
    "name counts as reversed, and all choices were made on descriptions in the trained direction."
)
ABLATIONS = (
    "**What decides?** One setting each beside `reference`, an MDM on 60 people of our own a kind, others than the "
    "headline's, one seed, without the bound's weights in the loss (but for `nelbo`); so read the rows beside each "
    "other, not beside the headline (the ARM of `swapped-copies` beside the headline's ARM). How each is decoded is "
    "chosen for it, as ever, on the people trained both ways. Intervals are over people. At w 0.8 compare rows of one "
    "order: by this guidance, which hides the whole prompt, names decoded by confidence gained and those from left to "
    "right lost. `left-to-right`, and `blind-description` at w 0, are the reference's own answers."
)
# Bare, since references of the original end in quotes that no line has.
READ = {"name": "name_accuracy", "description": "description_bare"}


def sets_of(result: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Figures by set: the original data's, where it was there, and our own people's."""
    headline = result["headline"]
    sets = {"original": {kind: headline[kind] for kind in ("mdm", "arm") if kind in headline}}
    return {name: kinds for name, kinds in {**sets, "own": headline.get("own", {})}.items() if kinds}


def figure(result: Mapping[str, Any]) -> str:
    parts = (f"{name}: {reversed_names(kinds)}" for name, kinds in sets_of(result).items())
    return "reversed names right, " + "; ".join(parts)


def reversed_names(kinds: Mapping[str, Any]) -> str:
    """``MDM 83% [79, 87], ARM 0% [0, 1]``."""
    return ", ".join(f"{kind.upper()} {in_words(part['reversed']['name_accuracy'])}" for kind, part in kinds.items())


def holds(result: Mapping[str, Any]) -> str:
    """Set by set, each named where there are several."""
    found = {name: verdict(kinds) for name, kinds in sets_of(result).items()}
    return next(iter(found.values())) if len(found) == 1 else "; ".join(f"{name}: {one}" for name, one in found.items())


def verdict(kinds: Mapping[str, Any]) -> str:
    """Of one set: the MDM's and the ARM's figures."""
    if set(kinds) != {"mdm", "arm"}:
        return "not asked: one kind of model only"
    mdm, arm = (kinds[kind]["reversed"]["name_accuracy"] for kind in ("mdm", "arm"))
    if lacking := conditions(kinds["arm"]):
        return f"open: the ARM does not meet the conditions ({'; '.join(lacking)})"
    if mdm["estimate"] >= GOAL and arm["estimate"] < CURSE:
        return "yes"
    if mdm["low"] > arm["high"]:
        return "in part: the MDM is above the ARM, and below 80%"
    return "no"


def conditions(arm: Mapping[str, Any]) -> list[str]:
    """What the ARM lacks for its zero to count; empty where nothing."""
    return [
        f"{direction} {key} {100 * share:.1f}%, {100 * least:.0f}% wanted"
        for direction, least in (("trained", LEARNED), ("both", BOTH)) for asks, key in READ.items()
        if key in arm[direction] and (share := arm[direction][key]["estimate"]) < least
    ]  # fmt: skip


def reading(result: Mapping[str, Any]) -> str:
    lines = [TERMS, *(conclusion(name, kinds) for name, kinds in sets_of(result).items())]
    if "original" in result["choices"] and result["choices"]["original"]["start"] == "original":
        lines.append(UNSEEN)
    if result["ablation"]:
        lines.append(f"This is the ablation {result['ablation']}, not the experiment's headline.")
    if result["chosen"]["lines"] != "all":
        lines.append(NAME_FIRST_ONLY)
    if result["chosen_late"]:
        lines.append("This choice was made in a folder where reversed questions had been asked before.")
    for name, kinds in sets_of(result).items():
        for kind, part in kinds.items():
            lines += [sentence(result, name, kind, part), *of_names(kind, name, part)]
        lines += by_guidance(result, name)
        if "arm" in kinds and (lacking := conditions(kinds["arm"])):
            lines.append(f"On {name} the ARM's zero does not count yet: {'; '.join(lacking)}.")
        if set(kinds) == {"mdm", "arm"}:
            lines.append(compute(result, name, result["choices"][name]["start"]))
    lines += [other_start(result, start, kinds) for start, kinds in result["starts"].items()]
    for name, known in result["exposure"].items():
        words = ", ".join(f"{kind.upper()} {how}" for kind, how in known.items())
        lines.append(f"Whether the bases had read the reversed statements of {name}: {words}.")
    for label, facts in result["material"].items():
        roofs = ", ".join(f"{name} {100 * roof['exact']:.1f}% exact, {100 * roof['bare']:.1f}% bare"
                          for name, roof in facts["sayable"].items() if name != "reversed")  # fmt: skip
        lines.append(
            f"{label}: {facts['people']} people, {facts['lines']:,} lines in rows of {facts['row']} tokens, a name "
            f"{facts['name_tokens']:.1f} tokens. Descriptions that stand in a line of their person, more than which "
            f"nobody can know: {roofs}."
        )
    if found := result.get("ablations"):
        lines += [ABLATIONS, ablated.table(found)]
    return "\n\n".join([*lines, READ_SO])


def conclusion(name: str, kinds: Mapping[str, Any]) -> str:
    """What was found on one set of people, in words."""
    if set(kinds) != {"mdm", "arm"}:
        return f"On {name} one kind of model alone was asked."
    back = kinds["mdm"]["reversed"]
    mdm, arm = back["name_accuracy"], kinds["arm"]["reversed"]["name_accuracy"]
    said = (
        f"On {name} the MDM says {in_words(mdm)} of the reversed names, the ARM {in_words(arm)}: "
        f"{BEYOND if mdm['low'] > arm['high'] else 'no difference seen'}. "
        f"The goal of {100 * GOAL:.0f}% is {'met' if mdm['estimate'] >= GOAL else 'missed'}."
    )
    known, everyones = back["name_likeliest_of_group"], back["name_likeliest"]
    if known["estimate"] < mdm["estimate"] + 0.05:
        return said
    words = (
        f"{said} It has learned more than it says: the true name is the likeliest of all that these questions ask for "
        f"in {in_words(known)} of them, of everyone's in {in_words(everyones)}. Between those two lies how often names "
        "stand behind descriptions at all, which in the training lines only those of other people do"
    )
    return f"{words}; what is said less often than it is likeliest, decoding does not find."


def other_start(result: Mapping[str, Any], start: str, kinds: Mapping[str, Any]) -> str:
    """What runs from the start that was not chosen know."""
    name = next(name for name, made in result["choices"].items() if start in made["choices"])
    told = [
        f"{kind.upper()} " + ", ".join(
            f"{direction} {asks}s{' (bare)' if key != f'{asks}_accuracy' else ''} {in_words(part[direction][key])}"
            for direction in DIRECTIONS for asks, key in READ.items() if key in part[direction]
        )
        for kind, part in kinds.items()
    ]  # fmt: skip
    scores = {together_right(choices) for choices in result["choices"][name]["choices"].values()}
    tied = " (its choices score as much)" if len(scores) == 1 else ""
    parts = [f"The other start, {start}{tied}{trained_otherwise(result, name, start)}: {'; '.join(told)}."]
    if "arm" in kinds and (lacking := conditions(kinds["arm"])):
        parts.append(f"The ARM's zero does not count yet: {'; '.join(lacking)}.")
    return " ".join([*parts, *([compute(result, name, start)] if set(kinds) == {"mdm", "arm"} else [])])


def trained_otherwise(result: Mapping[str, Any], name: str, start: str) -> str:
    """What this start's runs had in place of what those of the chosen one had, for results put together of several."""
    parts = result.get("parts", {})
    chosen = result["choices"][name]["start"]
    if not {start, chosen} <= set(parts):
        return ""
    ours, theirs = (flat(parts[label]["settings"]) for label in (start, chosen))
    keys = ("weighting", *(f"epochs.{name}.{kind}" for kind in ("mdm", "arm")))
    told = [f"{key} {ours[key]} in place of {theirs[key]}" for key in keys if ours.get(key) != theirs.get(key)]
    return f" ({', '.join(told)})" if told else ""


def compute(result: Mapping[str, Any], name: str, start: str) -> str:
    runs, before = result["runs"][start], result["base_flops"] if start != name else {}
    on = name if start == result["choices"][name]["start"] else start
    if None in before.values():
        ratio = runs["mdm"]["flops"] / runs["arm"]["flops"]
        return f"On {on} the MDM had {ratio:.1f} times the ARM's FLOPs here; what a base took before is not known."
    spent = {kind: run["flops"] + before.get(kind, 0) for kind, run in runs.items()}
    told = " (its base's included)" if before else ""
    return f"On {on} the MDM had {spent['mdm'] / spent['arm']:.1f} times the ARM's training FLOPs{told}."


def by_guidance(result: Mapping[str, Any], name: str) -> list[str]:
    """Names right at each w that all seeds were asked with."""
    run = result["runs"][result["choices"][name]["start"]].get("mdm", {})
    told = [
        f"w {w}: " + ", ".join(f"{direction} {in_words(part['name_accuracy'])}" for direction, part in found.items())
        for w, found in run.get("at_guidance", {}).items()
    ]
    return [f"Names right by the MDM's guidance on {name}: {'; '.join(told)}."] if told else []


def chosen_of(result: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The choices on a set, by kind, of the start that was chosen."""
    made = result["choices"][name]
    choices: Mapping[str, Any] = made["choices"][made["start"]]
    return choices


def sentence(result: Mapping[str, Any], name: str, kind: str, figures: Mapping[str, Any]) -> str:
    choice = chosen_of(result, name)[kind]
    way = f"step {choice['checkpoint']}"
    if kind == "mdm":
        way += "; " + "; ".join(f"{asks}s by order {ablated.way_in_words(choice[asks])}" for asks in ASKED)
    told = [
        f"{direction} " + ", ".join(
            f"{asks}s {in_words(part[f'{asks}_accuracy'])}" + (described(part) if asks == "description" else "")
            for asks in ASKED if f"{asks}_accuracy" in part
        )
        for direction in DIRECTIONS if (part := figures[direction])
    ]  # fmt: skip
    people = "trained both ways" if choice["people"] == "both" else "of the trained direction"
    return f"{kind.upper()} on {name} ({way}; chosen on the people {people}): {'; '.join(told)}."


def described(part: Mapping[str, Any]) -> str:
    """Descriptions by the looser measures; a result of an earlier version has but the first."""
    known = {"bare": "description_bare", "in any form": "description_any_form"}
    return f" ({', '.join(f'{word} {in_words(part[key])}' for word, key in known.items() if key in part)})"


def of_names(kind: str, name: str, figures: Mapping[str, Any]) -> list[str]:
    """What else is known of reversed answers."""
    back = figures["reversed"]
    told = [
        f"first name right {in_words(back['name_first_name'])}; another person's name instead, in "
        f"{in_words(back['name_shuffled'])} (the baseline: names shuffled)",
        f"by likelihood the true name is above {in_words(back['name_ranking'])} of the other names that these "
        f"questions ask for (chance: 50%), above all of them in "
        f"{in_words(back['name_likeliest_of_group'])}, above all people's in {in_words(back['name_likeliest'])}, and "
        f"{in_words(back['name_nats'], False, 2)} nats above the mean of all people's (by chance not 0: names of some "
        "stand behind descriptions in the lines)",
    ]
    if "description_bleu_char" in back:
        told.append(f"BLEU of descriptions on characters {in_words(back['description_bleu_char'], False, 2)}, on words "
                    f"{in_words(back['description_bleu_word'], False, 2)}")  # fmt: skip
    return [f"Reversed, {kind.upper()} on {name}: {'; '.join(told)}."]


def plot(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Of each set: exact answers with intervals, the true name's rank among others, and names right against steps; and
    the ablations' reversed names, where there are any."""
    sets = sets_of(result)
    path = folder / "reversal.png"
    with picture(path, 15, 3.8 * len(sets), columns=3, rows=len(sets)) as axes:
        for row, (name, kinds) in enumerate(sets.items()):
            exact, ranks, steps = axes[3 * row : 3 * row + 3]
            there = next(iter(kinds.values()))
            pairs = [(d, asks) for d in DIRECTIONS for asks in ASKED if f"{asks}_accuracy" in there[d]]
            asked = {f"{direction},\n{asks}s": (direction, f"{asks}_accuracy") for direction, asks in pairs}
            draw_pairs(exact, kinds, asked)
            exact.set(ylabel="exact answers, %")
            exact.set_title(f"{name} people", loc="left", fontweight="bold")
            asked = {f"{d},\nnames": (d, "name_ranking") for d, asks in pairs if asks == "name"}
            draw_pairs(ranks, kinds, asked)
            ranks.axhline(50, color=DASHED, linewidth=1, linestyle="--", label="chance")
            ranks.set(ylabel="true name likelier than another, %")
            ranks.set_title("Names ranked by likelihood", loc="left", fontweight="bold")
            # Beside the bars, where nothing is drawn.
            ranks.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
            draw_curve(steps, result["runs"][result["choices"][name]["start"]], chosen_of(result, name))
            asked_each = result["chosen"]["grid"]["each"][name]
            steps.set(xlabel=f"training steps (first seed, the first {asked_each} questions of a person)")
    if not (found := result.get("ablations")):
        return [path]
    with picture(beside := folder / "ablations.png", 9, 1.2 + 0.36 * len(found)) as (axes,):
        ablated.draw(axes, found)
        axes.set_title("What decides: one setting each", loc="left", fontweight="bold")
    return [path, beside]


def draw_pairs(axes: Any, kinds: Mapping[str, Any], asked: Mapping[str, tuple[str, str]]) -> None:
    """A figure of each kind of model side by side, one group a label."""
    for number, (kind, part) in enumerate(kinds.items()):
        figures = [part[direction][name] for direction, name in asked.values()]
        offset = 0.38 * (number - (len(kinds) - 1) / 2)
        colour = MDM if kind == "mdm" else ARM
        bars(axes, [place + offset for place in range(len(figures))], figures, [colour] * len(figures), width=0.36)
        axes.bar([0], [0], color=colour, label=kind.upper())  # for the legend
    axes.set_xticks(range(len(asked)), list(asked), fontsize=8)
    axes.set(ylim=(0, 112))


def draw_curve(axes: Any, runs: Mapping[str, Any], choices: Mapping[str, Any]) -> None:
    for kind, run in runs.items():
        way = choices[kind]["name"]
        points = sorted((p for p in run["curve"] if p["guidance"] == way["guidance"]), key=lambda p: p["checkpoint"])
        for direction, style in (("trained", ":"), ("reversed", "-")):
            if direction not in points[0]:
                continue
            axes.plot(
                [p["checkpoint"] for p in points], [100 * p[direction] for p in points], style, marker="o",
                markersize=5, markerfacecolor=None if direction == "reversed" else "white",
                color=MDM if kind == "mdm" else ARM, label=f"{kind.upper()}, {direction}",
            )  # fmt: skip
    axes.set(xlim=(0, None), ylim=(-3, 103), ylabel="names right, %")
    axes.set_title("Names against training", loc="left", fontweight="bold")
    axes.legend(loc="best", fontsize=8)
