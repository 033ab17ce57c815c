"""What a result of `unmask experiment temporal` says: its figures in a cell, its verdict, and both in words.

    figure(result), holds(result), reading(result)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unmask.experiments.estimates import ends
from unmask.experiments.temporal.analysis import LATER
from unmask.experiments.temporal.texts import CONTROLS, IN_PERIOD, OF_CONTROLS

TITLES = {
    "speeches": "messages after 1912",
    "kernel": "what is new in Linux 6.12",
    "reversed": "control: messages before 1913",
    "shuffled": "control: years shuffled",
}
DIFFERS = {
    "shuffled": "which differs in time alone",
    "reversed": "whose medium runs backwards as well, and which was trained on other text beside the messages",
}
BELOW, ABOVE, LEVEL, AS_CONTROL, UNMET, EASY = "below", "above", "level", "as a control", "unmet", "easy"


def main_corpora(result: Mapping[str, Any]) -> list[str]:
    return [name for name in result["corpora"] if name not in OF_CONTROLS]


def difference(result: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """Of all later text; None where no points could be compared."""
    later: dict[str, Any] | None = result["headline"][name]["difference"].get(LATER)
    return later


def beyond(result: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """What later text has more than it has in each control; empty where there is none."""
    found: dict[str, dict[str, Any]] = result["headline"][name].get("beyond_control", {})
    return found


def figure(result: Mapping[str, Any]) -> str:
    """MDM less ARM on later text, at equal loss in the period; and that less the controls'."""
    parts = []
    for name in main_corpora(result):
        value = difference(result, name)
        words = "losses do not meet" if value is None else f"{ends(value)} bits/byte"
        if more := beyond(result, name):
            less = ", ".join(f"{ends(one)} less the control's ({control})" for control, one in more.items())
            words += f" ({less})"
        parts.append(f"{TITLES[name]}: {words}")
    return "MDM less ARM at equal loss in the period, " + "; ".join(parts or ["controls alone"])


def standing(result: Mapping[str, Any], name: str) -> str:
    """Where the MDM lies on a corpus' later text: what `holds` counts. Text that is not seen to cost the ARM more than
    the period's own cannot show who degrades less."""
    later = difference(result, name)
    if later is None:
        return UNMET
    if result["headline"][name]["arm_shift"]["low"] <= 0:
        return EASY
    if later["high"] < 0:
        return AS_CONTROL if like_controls(result, name) else BELOW
    return ABOVE if later["low"] > 0 else LEVEL


def like_controls(result: Mapping[str, Any], name: str) -> list[str]:
    """The controls below which it is not seen to lie."""
    return [control for control, less in beyond(result, name).items() if less["high"] >= 0]


def holds(result: Mapping[str, Any]) -> str:
    found = {name: standing(result, name) for name in main_corpora(result)}
    unmet = [TITLES[name] for name, where in found.items() if where == UNMET]
    easy = [TITLES[name] for name, where in found.items() if where == EASY]
    met = {name: where for name, where in found.items() if where not in (UNMET, EASY)}
    notes = [f"{title}: no loss in common" for title in unmet]
    notes += [f"{title}: not seen to be harder than the period's own text, says little" for title in easy]
    if not met:
        return "; ".join(["not known: no text can show it" if found else "not known: only controls were run", *notes])
    notes += [
        f"{TITLES[name]}: {'only some controls' if beyond(result, name) else 'no control'} beside it"
        for name, where in met.items()
        if where == BELOW and set(beyond(result, name)) < set(CONTROLS.get(name, ("its own",)))
    ]
    return "; ".join([verdict(result, met), *notes])


def verdict(result: Mapping[str, Any], met: Mapping[str, str]) -> str:
    """Of the corpora whose losses meet."""
    kinds = set(met.values())
    if kinds == {BELOW}:
        return "yes: the MDM lies below the ARM's line on later text"
    if kinds == {ABOVE}:
        return "no: the MDM lies above the ARM's line on later text"
    if kinds == {LEVEL}:
        return f"not seen: {'the interval holds' if len(met) == 1 else 'the intervals hold'} no difference"
    words = {BELOW: "below the line", ABOVE: "above it", LEVEL: "no difference seen"}
    parts = []
    for name, where in met.items():
        controls = " and ".join(TITLES[control].removeprefix("control: ") for control in like_controls(result, name))
        as_control = f"below the line, but not seen to be more so than in the control ({controls}), so not of time"
        parts.append(f"{TITLES[name]} {words.get(where, as_control)}")
    start = "in part" if kinds & {BELOW, ABOVE} else "not seen"
    return f"{start}: {', '.join(parts)}"


# ---------------------------------------------------------------------- in words


def reading(result: Mapping[str, Any]) -> str:
    """Differences, controls, slopes by medium, and what the figures cannot carry."""
    parts = [of_corpus(result, name) for name in result["corpora"]]
    parts += decades(result)
    for name in main_corpora(result):
        if beyond(result, name):
            parts.append(controls_of(result, name))
    return "\n\n".join([*parts, limits(result)])


def of_corpus(result: Mapping[str, Any], name: str) -> str:
    corpus, head = result["corpora"][name], result["headline"][name]
    lines = [f"**{TITLES[name][0].upper()}{TITLES[name][1:]}.**", raw_words(name, corpus, head)]
    if (later := difference(result, name)) is None:
        lines.append("The losses in the period do not meet, so nothing is compared: change arm.points.")
    else:
        compared = corpus["points_compared"]
        of = sum(point["kind"] == "mdm" for point in corpus["points"])
        ratios = [ratio for ratio in corpus["compute_ratio_at_equal_loss"] if ratio is not None]
        times = " to ".join(dict.fromkeys(f"{end(ratios):.0f}" for end in (min, max))) if ratios else ""
        compute = f"; at the last the MDM had {times} times the FLOPs" if ratios else ""
        lines.append(
            f"At equal loss in the period ({sum(compared)} of the MDMs' {of} points lie within the ARM's reach and are "
            f"compared{compute}) the MDM's loss {aside(name)} less the ARM's is {ends(later)}.{read_in_words(corpus)}"
        )
        media = {group: f for group, f in head["difference"].items() if group.startswith(f"{LATER} ")}
        if media:
            lines.append("Of that " + ", ".join(f"{named(name, group)} {ends(f)}" for group, f in media.items()) + ".")
        others = {g: f for g, f in head["difference"].items() if g not in (LATER, *media) and not is_decade(g)}
        if others:
            lines.append("By group: " + ", ".join(f"{group} {ends(f)}" for group, f in others.items()) + ".")
    if head["slope_per_decade"]:
        slopes = ", ".join(f"{named(name, group)} {ends(f, '+.4f')}" for group, f in head["slope_per_decade"].items())
        lines.append(f"Slope of the difference, bits/byte a decade, a year counting once: {slopes}.")
    groups = corpus["clusters"]
    lines.append(
        f"Intervals rest on {groups[LATER]} clusters (years, folders of pages) {aside(name)} and {groups[IN_PERIOD]} "
        "of the period."
    )
    return " ".join(lines)


def aside(name: str) -> str:
    """Where that lies which is tested beside the period's own text; of a control it may be earlier."""
    return "outside the period" if name in OF_CONTROLS else "on later text"


def named(name: str, group: str) -> str:
    """A group in words: later written ones, written ones outside the period."""
    if not group.startswith(LATER):
        return group
    kind, _, rest = group.removeprefix(LATER).strip().partition(" ")
    words = f"{kind} ones" if kind else "all"
    words = f"{words} outside the period" if name in OF_CONTROLS else f"{LATER} {words}" if kind else f"all {LATER}"
    return f"{words} {rest}".strip()


def read_in_words(corpus: Mapping[str, Any]) -> str:
    """How often each kind had read the training text where the two are compared."""
    seen: dict[str, list[float]] = {"mdm": [], "arm": []}
    for seed in sorted({point["seed"] for point in corpus["points"]}):
        own = {kind: [p for p in corpus["points"] if (p["kind"], p["seed"]) == (kind, seed)] for kind in seen}
        passes = {kind: corpus["epochs"][f"{kind}-{seed}"] / max(p["tokens"] for p in own[kind]) for kind in seen}
        line = sorted((p[IN_PERIOD], p["tokens"]) for p in own["arm"])
        for point in (point for point in own["mdm"] if point["compared"]):
            seen["mdm"].append(point["tokens"] * passes["mdm"])
            tokens = np.interp(point[IN_PERIOD], [loss for loss, _ in line], [count for _, count in line])
            seen["arm"].append(float(tokens) * passes["arm"])
    return f" There the MDM had read its text {span(seen['mdm'])} times, the ARM {span(seen['arm'])}."


def span(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def is_decade(group: str) -> bool:
    return group[:4].isdecimal()


def decades(result: Mapping[str, Any]) -> list[str]:
    """A table of the differences by decade, a column each corpus that has them; none where none has."""
    by_corpus = {
        name: {group: f for group, f in result["headline"][name]["difference"].items() if is_decade(group)}
        for name in result["corpora"]
    }
    columns = {name: groups for name, groups in by_corpus.items() if groups}
    rows = [
        [decade, *(ends(groups[decade]) if decade in groups else "" for groups in columns.values())]
        for decade in sorted({decade for groups in columns.values() for decade in groups})
    ]
    lines = [["Decade", *(TITLES[name] for name in columns)], ["---"] * (len(columns) + 1), *rows]
    return ["\n".join(f"| {' | '.join(cells)} |" for cells in lines)] if rows else []


def raw_words(name: str, corpus: Mapping[str, Any], head: Mapping[str, Any]) -> str:
    """How much worse each kind gets, with the losses at which it does."""
    last = {kind: last_loss(corpus, kind) for kind in ("arm", "mdm")}
    at = ", ".join(f"{kind.upper()} {loss:.2f}" for kind, loss in last.items())
    shifts = ", ".join(f"{kind.upper()} {ends(head[f'{kind}_shift'], '+.2f')}" for kind in last)
    first = "Outside the period less in it" if name in OF_CONTROLS else "Later less in period"
    words = f"{first} at the last points, bits/byte: {shifts}; not at equal loss (in the period {at})."
    if by_group := head.get("arm_shift_by_group", {}):
        words += " Of the ARM: " + ", ".join(f"{group} {ends(f, '+.2f')}" for group, f in by_group.items()) + "."
    if name not in OF_CONTROLS and head["arm_shift"]["low"] <= 0:
        words += " So this text is not seen to be harder than the period's own, and says little of who degrades less."
    if equal := head.get("shift_at_equal_flops"):
        words += f" At the FLOPs of the ARM's last point the MDM's less the ARM's is {ends(equal, '+.2f')}: there the "
        words += "MDM has hardly begun to learn, so that says little."
    return words


def last_loss(corpus: Mapping[str, Any], kind: str) -> float:
    """Mean bits/byte in the period of the runs' last points."""
    last: dict[int, float] = {p["seed"]: p[IN_PERIOD] for p in corpus["points"] if p["kind"] == kind}
    return sum(last.values()) / len(last)


def controls_of(result: Mapping[str, Any], name: str) -> str:
    """The conclusion from the controls."""
    figures = "; ".join(
        f"{ends(less)} of {TITLES[control].removeprefix('control: ')}, {DIFFERS[control]}"
        for control, less in beyond(result, name).items()
    )
    words = f"**Of time?** The difference of {TITLES[name]} less that of a control: {figures}. "
    if standing(result, name) == AS_CONTROL:
        return words + "So it is not seen to be more than on text that is not later: the gain is not of time."
    if standing(result, name) == BELOW:
        return words + "So it is more than on text that is not later."
    return words + "The difference itself is not below 0, so no gain is seen that a control could tell to be of time."


def limits(result: Mapping[str, Any]) -> str:
    """What the figures cannot carry."""
    words = ["An MDM's loss is a bound on both sides of every comparison; how loose it is may change with the text."]
    if (speeches := result["corpora"].get("speeches")) is not None:
        inside = {medium: sides[IN_PERIOD] for medium, sides in speeches["media"].items()}
        held = ", ".join(f"{count} {medium}" for medium, count in inside.items() if count) or "of no known medium"
        words.append(
            f"Messages were sent in writing for a century before 1913 and mostly spoken after: a change of medium as "
            f"well as of time. Those held out of the period are {held}, so later written ones are compared with their "
            "like, later spoken ones are not. Slopes are of what lies outside the period alone, so that the step at "
            "its end is in none of them."
        )
        bytes_ = speeches["training_bytes"]
        if len(bytes_) > 1:
            shares = ", ".join(f"{source} {size / sum(bytes_.values()):.0%}" for source, size in bytes_.items())
            words.append(
                f"The training text of the messages is by bytes {shares}: behind the end token that begins every "
                "tested window both kinds expect what most of its texts begin with, a headword where a dictionary is "
                "among them."
            )
    words.append(
        "An ARM has the MDM's loss in the period when it has read a fraction of the training text once, the MDM when "
        "it has read most of it or all, several times: equal loss is not equal reading, which could move a difference "
        "either way. Many groups and slopes were looked at, each with a 95% interval of its own."
    )
    settings = result["settings"]
    rates = ", ".join(f"{kind.upper()} {rate(settings, kind):g}" for kind in ("mdm", "arm"))
    words.append(
        f"Rates ({rates}) are constant and were not tuned here; by default they are the sweep's rule, tuned for each "
        "kind with a rate that falls. More seeds and longer runs would narrow the intervals by seeds; more messages "
        "there are not."
    )
    return " ".join(words)


def rate(settings: Mapping[str, Any], kind: str) -> float:
    value: float = {**settings["recipe"]["optimizer"], **settings[kind]["optimizer"]}["lr"]
    return value
