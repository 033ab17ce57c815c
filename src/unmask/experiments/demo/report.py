"""The demo's report: one self-contained HTML page, written from the summary and nothing else.

    Path("report.html").write_text(render(summary))

Every number on the page is a field of ``summary.json``; style and pictures are inline, so the file can be mailed.
All text that a model wrote is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from unmask.experiments.demo.plots import curves_svg, levels_svg
from unmask.pages import confidence_colour, page, section, table

NAMES = {
    "mdm": "Masked diffusion model (MDM)",
    "arm": "Autoregressive model (ARM)",
    "unigram": "Unigram",
    "xz": "xz",
}
ABOUT_CURVES = (
    '<p class="soft">Left: the same measure as above on fewer windows, while training. An MDM first stays near '
    "the loss of the unigram, until it learns to use what it sees; the ARM leaves that plateau sooner. Right: the "
    "more tokens are masked, the less an MDM has to go by. With everything masked it can only know frequencies.</p>"
)
STAGE_NAMES = {
    "prepare": "Preparing the text",
    "mdm": "Training the MDM (beside the ARM)",
    "arm": "Training the ARM (beside the MDM)",
    "evaluate": "Evaluating both and the baselines",
    "samples": "Sampling",
    "speed": "Measuring generation speed",
    "pictures": "Drawing",
}


def render(summary: dict[str, Any]) -> str:
    """The whole page."""
    sections = [
        headline(summary),
        section(
            "Training", f'<div class="pair">{curves_svg(summary)}{levels_svg(summary)}</div>{ABOUT_CURVES}'
        ),
        section("Text out of masks", unmasking(summary["samples"]["unmasking"])),
        section("Filling gaps", infilling(summary)),
        section("Samples of both models", continuations(summary["samples"])),
        section("With and without guidance", guidance(summary["samples"]["guidance"])),
        section("Speed of generation", speed(summary["speed"])),
        section("What a bound is, and what these models are", caveats(summary)),
        section("Time and memory", stages(summary["stages"])),
        section("Settings and versions", settings(summary)),
    ]
    return page("unmask: demo report", sections)


# ------------------------------------------------------------------ the parts of the page


def headline(summary: dict[str, Any]) -> str:
    held_out, data = summary["protocol"], summary["data"]
    cards = "".join(
        f'<div class="card" style="--colour: var(--{name})">{escape(NAMES[name].split(" (")[0])}'
        f"<b>{'≤ ' if summary[name].get('is_bound') else ''}{summary[name]['bits_per_byte']:.3f}</b>"
        f'<span class="tag">bits/byte</span></div>'
        for name in NAMES
    )
    what = {
        "mdm": f"upper bound, {held_out['draws']} Monte Carlo draws a window",
        "arm": "exact negative log-likelihood",
        "unigram": "add-one token frequencies of the training split, the same tokens",
        "xz": f"{summary['xz']['of']} ({summary['xz']['bytes']:,} bytes)",
    }
    rows = []
    for name, label in NAMES.items():
        entry = summary[name]
        error = f"{entry['bits_per_byte_se']:.4f}" if entry.get("bits_per_byte_se") else "–"
        error += within(entry.get("bits_per_byte_interval"), ".3f") if error != "–" else ""
        nats = f"{entry['nats_per_token']:.3f}" if "nats_per_token" in entry else "–"
        share = f"{entry['bits_per_byte'] / summary['unigram']['bits_per_byte']:.0%}"
        rows.append([escape(label), f"<b>{entry['bits_per_byte']:.3f}</b>", error, nats, share, escape(what[name])])
    columns = ["", "bits/byte", "Monte Carlo se", "nats/token", "of unigram", "what it is"]
    return (
        "<header><h1>A masked diffusion model and its autoregressive twin</h1>"
        f'<p class="soft">Both trained here on <b>{escape(data["source"])}</b> ({data["train_bytes"] / 1e6:.1f} MB of '
        f"text) with {power(summary['training']['mdm']['flops'])} and {power(summary['training']['arm']['flops'])} "
        f"FLOPs, and compared on the same {held_out['windows']} held-out windows of {held_out['window_tokens']} tokens "
        f"({held_out['bytes']:,} bytes). Lower is better.</p></header>"
        f'<div class="cards">{cards}</div><section>{table(columns, rows, numbers=(1, 2, 3, 4))}</section>'
    )


def within(interval: Sequence[float] | None, form: str) -> str:
    """The 95% interval behind a standard error; nothing where a summary of before has none."""
    if interval is None:
        return ""
    low, high = (format(end, form) for end in interval)
    return f'<br><span class="soft">95%: {low} to {high}</span>'


def unmasking(sample: dict[str, Any]) -> str:
    return (
        f'<p class="soft">The prompt is given, all else starts as masks; {len(sample["steps_shown"]) - 1} steps. '
        f"{legend()}</p>{canvas_rows(sample['steps_shown'])}"
    )


def infilling(summary: dict[str, Any]) -> str:
    measured, samples = summary["cloze"], summary["samples"]
    rows = [
        [
            escape(label),
            f"<b>{measured[name]['accuracy']:.1%}</b>",
            f"{measured[name]['se']:.1%}{within(measured[name].get('interval'), '.1%')}",
            sees,
        ]
        for name, label, sees in (
            ("mdm", NAMES["mdm"], "both sides of the gap"),
            ("arm", NAMES["arm"], "what stands before it"),
            ("unigram", "The most frequent token", "nothing"),
        )
    ]
    parts = [
        f'<p class="soft">One token is hidden in a held-out window; how often is the likeliest token the right one? '
        f"{measured['places']:,} places, drawn by seed.</p>"
        + table(["", "right", "se", "what it sees"], rows, numbers=(1, 2)),
    ]
    if samples["phrases"]:
        first, *others = (sample["steps_shown"] for sample in samples["phrases"])
        parts += [
            '<h3>Phrases</h3><p class="soft">A fixed list, all of it shown, the first step by step; the surest token '
            f"is committed first. {legend()}</p>",
            canvas_rows(first),
            canvas_rows([steps[-1] for steps in others], numbered=False),
        ]
    if samples["sentences"]:
        how = "" if samples["phrases"] else f" The surest token is committed first. {legend()}"
        parts.append(
            f'<h3>Held-out sentences</h3><p class="soft">Drawn by seed, some of their short words hidden.{how}</p>'
        )
    for sample in samples["sentences"]:
        parts.append(
            f'{canvas_rows(sample["steps_shown"])}<p class="tag">As written: “{escape(sample["truth"])}” '
            f"({sample['tokens_right']} of {sample['tokens_hidden']} hidden tokens recovered)</p>"
        )
    return "".join(parts)


def continuations(samples: dict[str, Any]) -> str:
    written = samples["continuations"]
    prompts = f"Prompts: {escape(samples['prompts_from'])}. " if "prompts_from" in samples else ""
    parts = [
        f'<p class="soft">{prompts}{written["length"]} new tokens each, temperature {written["temperature"]}, seed '
        f"{written['seed']}; the first of their seed, not chosen. <i>Ancestral</i> is the reverse process of the "
        "diffusion, <i>confidence</i> commits the surest token first.</p>"
    ]
    for entry in written["prompts"]:
        parts.append(f"<h3>{escape(entry['prompt']) or '<i>no prompt</i>'}</h3>")
        for name, text in entry["texts"].items():
            colour = f"var(--{'arm' if name.startswith('ARM') else 'mdm'})"
            parts.append(sample_text(f"{name} · {entry['nfe'][name]} passes", entry["prompt"], text, colour))
    return "".join(parts)


def guidance(entry: dict[str, Any]) -> str:
    intro = (
        '<p class="soft">Classifier-free guidance without supervision: logits u + (1 + w)(c − u), where c saw the '
        "prompt and u saw it masked. The random numbers are the same; w above 0 costs a second pass.</p>"
    )
    return intro + "".join(
        sample_text(f"w = {s['guidance']:g} · {s['nfe']} passes", entry["prompt"], s["text"], "var(--mdm)")
        for s in entry["samples"]
    )


def speed(measured: dict[str, Any]) -> str:
    rows = [
        [escape(r["way"]), str(r["batch"]), f"{r['tokens_per_second']:,.0f}", f"{r['seconds']:.3f}", f"{r['nfe']:g}"]
        for r in measured["rows"]
    ]
    return (
        f'<p class="soft">{measured["length"]} new tokens a row on {measured["threads"]} thread of '
        f"{escape(measured['processor'])}; the ways take turns, median of {measured['rounds']} rounds. A pass is one "
        "evaluation of the network (NFE): over the whole canvas for the MDM, over one token for the ARM.</p>"
        + table(["", "rows at once", "tokens/s", "seconds", "passes a row"], rows, numbers=(1, 2, 3, 4))
    )


def caveats(summary: dict[str, Any]) -> str:
    mdm, arm = summary["mdm"], summary["arm"]
    return (
        "<p>A masked diffusion model does not give the probability of a text directly. Its number is an <b>upper "
        "bound</b> on the negative log-likelihood, estimated by masking the text at random "
        f"{summary['protocol']['draws']} times: the true likelihood may be better by an unknown amount, and the "
        "standard error is that of the estimate alone, not of the choice of text. The ARM's number is exact. So the "
        f"difference of {mdm['bits_per_byte'] - arm['bits_per_byte']:.3f} bits/byte is at most what the MDM lacks "
        "here, not a measurement of it.</p>"
        f"<p>Both models are <b>tiny</b> ({mdm['parameters_non_embedding']:,} parameters without embeddings) and were "
        "trained for minutes. They know spelling, common words and turns of phrase of their source; they know no "
        "facts, and nothing about larger models follows from one run of each.</p>"
    )


def stages(records: dict[str, dict[str, Any]]) -> str:
    rows = [
        [escape(STAGE_NAMES.get(name, name)), f"{r['seconds']:,.1f}", f"{r['peak_memory_bytes'] / 2**20:,.0f}"]
        for name, r in records.items()
    ]
    return table(["", "seconds", "peak memory, MiB"], rows, numbers=(1, 2))


def settings(summary: dict[str, Any]) -> str:
    runs = summary["training"]
    names = list(dict.fromkeys(name for run in runs.values() for name in run))
    rows = [[escape(name.replace("_", " ")), *(show(run.get(name)) for run in runs.values())] for name in names]
    protocol = [[escape(name.replace("_", " ")), show(value)] for name, value in summary["protocol"].items()]
    data = [[escape(name.replace("_", " ")), show(value)] for name, value in summary["data"].items()]
    versions = [[escape(name), show(value)] for name, value in summary["versions"].items()]
    return (
        table(["training", "MDM", "ARM"], rows)
        + f"<h3>Protocol of the comparison</h3>{table(['', ''], protocol)}"
        + f"<h3>Data</h3>{table(['', ''], data)}<h3>Versions</h3>{table(['', ''], versions)}"
    )


# ------------------------------------------------------------------ small parts


def canvas_rows(frames: list[list[dict[str, Any]]], numbered: bool = True) -> str:
    """One row a step, tokens coloured by the probability they were committed with."""
    names = [str(step or "start") if numbered else "" for step in range(len(frames))]
    rows = "".join(
        f'<tr><td class="step">{name}</td><td class="canvas">{"".join(map(token_html, frame))}</td></tr>'
        for name, frame in zip(names, frames, strict=True)
    )
    return f'<table class="steps">{rows}</table>'


def token_html(token: dict[str, Any]) -> str:
    if token["state"] == "mask":
        return '<span class="mask" title="masked">_</span>'
    text = written(token["text"].replace("\n", "↵"))
    if token["state"] == "given":
        return f'<span class="t">{text}</span>'
    new = " new" if token["state"] == "new" else ""
    colour, percent = confidence_colour(token["probability"]), f"{token['probability']:.0%}"
    return f'<span class="t{new}" style="background: {colour}" title="p = {percent}">{text}</span>'



def legend() -> str:
    return (
        'Probability when committed: 0 <span class="bar"></span> 1; framed: new in this step; '
        '<span class="mask">_</span>: still masked.'
    )


def power(number: float) -> str:
    """2.40 × 10 to the 13, as HTML."""
    digits, exponent = f"{number:.2e}".split("e")
    return f"{digits} × 10<sup>{int(exponent)}</sup>"


def sample_text(tag: str, prompt: str, text: str, colour: str) -> str:
    return (
        f'<div class="sample" style="--colour: {colour}"><span class="tag">{escape(tag)}</span>'
        f'<div class="text"><span class="prompt">{escape(prompt)}</span>{written(text.rstrip())}</div></div>'
    )


def written(text: str) -> str:
    """A model's text as HTML; control characters, which HTML forbids, become visible."""
    return escape("".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text))


def show(value: Any) -> str:
    """A setting as HTML text."""
    if isinstance(value, dict):
        return "<br>".join(f"{escape(str(k))}: {show(v)}" for k, v in value.items())
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "–" if value is None else escape(str(value))
