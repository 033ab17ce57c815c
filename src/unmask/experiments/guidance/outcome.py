"""What a result of `unmask experiment guidance` says: its picture, its figures in a cell, and in words.

    plot(result, folder), figure(result), holds(result), reading(result)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unmask.experiments.estimates import ends, in_words
from unmask.experiments.guidance.analysis import HIGH, LOW
from unmask.experiments.guidance.scores import ONCE, PMI, TWICE, pmi_name, pmi_weights, scale_name
from unmask.experiments.plotting import ARM, MDM, OTHER, SOFT, picture

WORDS = {
    "unsupervised": "MDM, unsupervised",
    "standard": "MDM, standard (prompt dropout)",
    "arm": "ARM, prompt left out",
    "arm_dropout": "ARM, prompt dropout",
    "zero_shot": "MDM as pretrained, unsupervised",
    "arm_zero_shot": "ARM as pretrained",
}
RIVALS = {
    "guided_less_pmi": "PMI",
    "gain_less_standard": "standard guidance",
    "gain_less_arm": "an ARM that leaves the prompt out",
}
CLUSTERS = {"continuation": "documents", "headword": "words", "reversal": "people"}
RANGE = f"{100 * LOW:.0f} to {100 * HIGH:.0f}%"
ITEMS, SEEDS = 2000, 3  # of a task and of a figure, below which a result is a first look
COLOURS = {"unsupervised": MDM, "standard": OTHER, "arm": ARM, "arm_dropout": SOFT}
COLOURS |= {"zero_shot": MDM, "arm_zero_shot": ARM}  # dashed


TERMS = (
    "A model ranks the answers to each question, of which one is right. Guidance at scale *w* leads away from what the "
    "model says without the prompt. An MDM (masked diffusion model) sees masks in its place, which it need not have "
    "learned (*unsupervised*), or has learned where a tenth of the prompts were dropped (*standard*); an ARM "
    "(autoregressive model) reads the answer alone. *PMI* (pointwise mutual information) takes λ times the answer's "
    "log-probability without the prompt off that behind it, and does no more. Intervals: 95%, over clusters of items "
    "and seeds. In the picture the band is that of the unsupervised way, panels have ranges of their own, and w = 0 "
    "stands with single draws, in the tables with twice as many."
)


def points(value: Mapping[str, Any]) -> str:
    """In points of a hundred."""
    return ends(value, "+.1f", 100)


def figure(result: Mapping[str, Any]) -> str:
    gains = [
        f"{task} {points(ways['unsupervised']['gain'])} ({ways['unsupervised']['gain']['clusters']:,} "
        f"{CLUSTERS.get(task, 'clusters')})"
        for task, ways in result["headline"].items()
    ]
    return "points gained by unsupervised guidance over twice the draws without: " + ", ".join(gains)


def holds(result: Mapping[str, Any]) -> str:
    """By the tasks that can show a gain; what PMI, standard guidance and an ARM gain goes with it."""
    all_tasks = {task: ways["unsupervised"] for task, ways in result["tasks"].items()}
    asked = {task: part for task, part in all_tasks.items() if part["in_range"]}
    silent = [f"{task}: {why_silent(part)}, says nothing" for task, part in all_tasks.items() if not part["in_range"]]
    better = [task for task, part in asked.items() if part["gain"]["low"] > 0]
    worse = [task for task, part in asked.items() if part["gain"]["high"] < 0]
    if not asked:
        verdict = "not known: no task can show it"
    elif better:
        verdict = f"yes: it gains on {', '.join(better)}"
        others = [
            f"{'it loses' if task in worse else 'none seen'} on {task} ({points(part['gain'])})"
            for task, part in asked.items()
            if task not in better
        ]
        if others:
            verdict = f"in part: it gains on {', '.join(better)}; {', '.join(others)}"
    else:
        verdict = f"no: it loses on {', '.join(worse)}" if worse else "not seen: no interval is above nothing"
    against = [against_rival(asked[task], figure, task) for task in better for figure in RIVALS]
    return "; ".join([verdict, *pretrained(result), *filter(None, against), *silent, *short(result)])


def pretrained(result: Mapping[str, Any]) -> list[str]:
    """What the base gains as it is, the paper's case."""
    told = []
    for task, ways in result["tasks"].items():
        if part := ways.get("zero_shot"):
            what = f"the MDM as pretrained, the paper's case, {points(part['gain'])} on {task}"
            told.append(what if part["in_range"] else f"{what} ({why_silent(part)})")
            told += [than] if (than := against_rival(part, "guided_less_pmi", "")) else []
    return [", ".join(told)] if told else []


def why_silent(part: Mapping[str, Any]) -> str:
    if part["at_chance"]:
        return f"at chance ({100 * part['chance']:.0f}%)"
    return f"{100 * part['accuracy']['unguided']['estimate']:.0f}% without guidance, outside {RANGE}"


def against_rival(part: Mapping[str, Any], figure: str, task: str) -> str:
    """A paired difference in words: an interval with nothing in it shows neither."""
    if (value := part.get(figure)) is None:
        return ""
    what = f" on {task} ({points(value)})" if task else f" ({points(value)})"
    if value["low"] > 0:
        return f"more than {RIVALS[figure]}{what}"
    if value["high"] < 0:
        return f"{RIVALS[figure]} gains more{what}"
    return f"no difference from {RIVALS[figure]} seen{what}"


def short(result: Mapping[str, Any]) -> list[str]:
    """What a result lacks of the items and seeds that it should have."""
    few = [f"{task} {own['test']:,}" for task, own in result["items"].items() if own["test"] < ITEMS]
    lacks = [f"under {ITEMS:,} items: {', '.join(few)}"] if few else []
    seeds = len(result["seeds"])
    return [*lacks, *([f"{seeds} of {SEEDS} seeds"] if seeds < SEEDS else [])]


def reading(result: Mapping[str, Any]) -> str:
    """Task by task: accuracy, gain, PMI, the other ways; then the models, and what would change it."""
    parts = [TERMS, *(task_in_words(task, ways, result["items"][task]) for task, ways in result["tasks"].items())]
    if lacks := short(result):
        parts.append(f"A first look, no result: {'; '.join(lacks)}.")
    shared = len({base["weights_sha256"] for base in result["bases"].values()}) == 2
    seeds = "Seeds are of fine-tuning on one base of each kind." if shared else "Each seed has a base of its own."
    told = [bases_in_words(result), tuning_in_words(result["fine_tuning"])]
    parts.append(" ".join([*told, seeds] if len(result["seeds"]) > 1 else told))
    if "reversal" in result["tasks"]:
        parts.append(people_in_words(result["people"]))
    parts.append(
        "w = 0 has twice the draws, half of them the same masks, so that both sides cost the same, where the scale is "
        "chosen too. PMI takes off the answer's own log-probability by a weight chosen in the same way: guidance that "
        "gains no more than it does no more than remove the prior. Guided scores are no likelihood. Fine-tuning has "
        "always seen the prompt but where it is dropped, so that masks in its place are new to the unsupervised way; "
        "the models as pretrained are the paper's case. Other tasks, and models that are good at harder ones, could "
        "change the answer."
    )
    return "\n\n".join(parts)


def task_in_words(task: str, ways: Mapping[str, Any], items: Mapping[str, Any]) -> str:
    """What was asked, and a table: a row each way."""
    what = CLUSTERS.get(task, "clusters")
    about = (
        f"**{task.capitalize()}** ({items['test']:,} items of {items['clusters']['test']:,} {what}, in effect "
        f"{items['effective_clusters']:.0f}; a blind guess has {100 * items['chance']:.0f}%). Gains in points; "
        "w and λ as chosen on other items for each seed's model; †: an end of what was tried (of λ, 1 is PMI itself)."
    )
    heads = ["", "without guidance", "without the prompt", "w", "guided", "gain", "λ", "PMI's gain"]
    rivals = [figure for figure in RIVALS if any(figure in part for part in ways.values())]
    lines = [[*heads, *(f"less {RIVALS[figure]}" for figure in rivals)]]
    lines.append(["---"] * len(lines[0]))
    for name, part in ways.items():
        accuracy, chosen = part["accuracy"], part["chosen"]
        aside = "" if part["in_range"] else " (at chance)" if part["at_chance"] else f" (outside {RANGE})"
        unguided, blind, guided = (accuracy[one] for one in ("unguided", "without_prompt", "guided"))
        lines.append([
            WORDS[name], in_words(unguided, digits=1) + aside, in_words(blind, digits=1),
            marked(chosen["guidance"], chosen["at_an_end"]), in_words(guided, digits=1), points(part["gain"]),
            marked(chosen[PMI], [name == pmi_name(1.0) for name in chosen[PMI]]), points(part["pmi_gain"]),
            *(points(part[figure]) if figure in part else "" for figure in rivals),
        ])  # fmt: skip
    return "\n".join([about, "", *(f"| {' | '.join(cells)} |" for cells in lines)])


def marked(names: Sequence[str], at_an_end: Sequence[bool]) -> str:
    """``1.6, 9, 16†``: the columns that were chosen, each once."""
    sizes = ["0" if name == TWICE else name.removeprefix("w=").removeprefix(f"{PMI} ") for name in names]
    return ", ".join(dict.fromkeys(size + "†" * end for size, end in zip(sizes, at_an_end, strict=True)))


def bases_in_words(result: Mapping[str, Any]) -> str:
    """What the bases are, cost and come to on the same held-out text."""
    words: list[str] = []
    first: dict[str, Mapping[str, Any]] = {}
    for base in {one["weights_sha256"]: one for one in result["bases"].values()}.values():
        first.setdefault(base["kind"], base)
        bound = " at most" if base["kind"] == "mdm" else ""
        words.append(
            f"{base['name']} ({base['kind'].upper()}){bound} {in_words(base['bits_per_byte'], percent=False)} "
            f"bits/byte, {base['nats_per_token']['estimate']:.2f} nats/token, {amount(base['tokens'])} tokens, "
            f"{amount(base['flops'])} FLOPs"
        )
    mdm, arm = first["mdm"]["flops"], first["arm"]["flops"]
    ratio = f" The MDM had {mdm / arm:.3g} times the ARM's FLOPs." if mdm and arm else ""
    return f"Bases, on held-out text: {'; '.join(words)}.{ratio}"


def tuning_in_words(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """Of each task and kind one run: neither seed nor prompt dropout changes what it takes."""
    by_kind: dict[str, str] = {}
    for name, run in runs.items():
        task, kind = name.split("-")[:2]
        epochs = f"{run['epochs']:g} epoch{'' if run['epochs'] == 1 else 's'}"
        by_kind.setdefault(f"{kind.upper()} on {task}", f"{epochs}, {amount(run['flops'])} FLOPs")
    rates = ", ".join(sorted({f"{run['lr']:g}" for run in runs.values()}))
    each = "; ".join(f"{what} {took}" for what, took in by_kind.items())
    return f"Each fine-tuning: {each}; learning rate {rates}, not tuned."


def people_in_words(people: Mapping[str, Any]) -> str:
    """Who was asked the reversed questions, and what their training took."""
    own, took = people["own"], []
    for kind in ("mdm", "arm"):
        run = next(run for name, run in people["runs"].items() if name.startswith(kind))
        took.append(f"{kind.upper()} {run['steps']:,} steps, {amount(run['flops'])} FLOPs")
    return (
        f"Reversed questions are put to the runs of `unmask experiment reversal` on {own['people']} people a direction "
        f"and {own['both']} of both (`own.seed` {own['seed']}; {'; '.join(took)}), which dropped no prompt."
    )


def amount(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2e}"


def plot(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Accuracy against w: guidance as lines, PMI of the same prior weight dotted, the headline's with its interval."""
    tasks = result["tasks"]
    path = folder / "guidance.png"
    columns = min(2, len(tasks))
    rows = -(-len(tasks) // columns)
    with picture(path, 5.4 * columns, 4.2 * rows, columns, rows) as axes:
        for ax in axes[len(tasks) :]:
            ax.set_axis_off()
        for ax, (task, ways) in zip(axes, tasks.items(), strict=False):
            for name, part in ways.items():
                curve = part["curve"]
                guided = [c for c in curve if c.startswith("w=") and c not in (ONCE, TWICE)]
                scales = sorted([0.0, *(float(c.removeprefix("w=")) for c in guided)])
                values = [curve[scale_name(w) if w else ONCE] for w in scales]
                dashed = "--" if "zero" in name else "-"
                ax.plot(scales, [100 * v["estimate"] for v in values], dashed, color=COLOURS[name], label=WORDS[name])
                if name == "unsupervised":  # six bands on one another would show none
                    low, high = ([100 * v[side] for v in values] for side in ("low", "high"))
                    ax.fill_between(scales, low, high, color=COLOURS[name], alpha=0.12, linewidth=0)
                above = [w for w in scales if w > 0]
                names = [c for c in curve if c.startswith(PMI)][: len(pmi_weights(above)) - 1]
                ax.plot(above, [100 * curve[c]["estimate"] for c in names], ":", color=COLOURS[name], linewidth=1)
            # Small scales matter as much as large ones, and where w = 9 is tried they would lie on one spot.
            ax.set_xscale("symlog", linthresh=1)
            ticks = [w for w in (-0.5, 0, 0.5, 1, 2, 4, 8, 16) if min(scales) <= w <= max(scales)]
            ax.set_xticks(ticks, [f"{w:g}" for w in ticks])
            ax.minorticks_off()
            ax.set(title=task, xlabel="guidance scale w (dotted: PMI at w / (1 + w))", ylabel="right, %")
        spare = axes[len(tasks) :]  # where nothing is drawn there is room for the names
        lines = {line.get_label(): line for ax in axes for line in ax.get_legend_handles_labels()[0]}
        for ax in spare[:1]:
            ax.legend(lines.values(), lines.keys(), loc="center left", fontsize=10.5)
        for ax in [] if spare else axes:
            ax.legend(fontsize=8)
    return [path]
