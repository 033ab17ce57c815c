"""The demo's report: one self-contained HTML page, written from the summary and nothing else.

    Path("report.html").write_text(render(summary))

Every number on the page is a field of ``summary.json``; style and pictures are inline, so the file can be mailed.
All text that a model wrote is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from unmask.evaluation.plots import curves_svg, levels_svg
from unmask.style import AT_NIGHT, COLOURS

STYLE = """
:root { color-scheme: light dark; --ink: #23262c; --soft: #646a73; --line: #e3e6ea; --paper: #fff; --tint: #f6f7f9;
  --mask: #d5d9df; --frame: #23262c; PALETTE }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7ec; --soft: #a0a7b2; --line: #363c46; --paper: #1d2026;
  --tint: #14161a; --mask: #4a515d; --frame: #6ea8fe; DARK } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--tint); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0 .3rem; }
h2 { font-size: 1.2rem; margin: 0 0 .5rem; }
h3 { font-size: 1rem; margin: 1.3rem 0 .3rem; }
p { margin: .4rem 0 .8rem; } .soft { color: var(--soft); font-size: .9rem; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: .6rem; padding: 1.1rem 1.2rem;
  margin-top: 1rem; overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .7rem; margin: 1rem 0; }
.card { background: var(--paper); border: 1px solid var(--line); border-top: .3rem solid var(--colour);
  border-radius: .5rem; padding: .7rem .9rem; }
.card b { display: block; font-size: 1.75rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: .8rem; }
.pair svg { width: 100%; height: auto; display: block; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .94rem; }
th, td { text-align: left; overflow-wrap: normal; padding: .35rem .8rem .35rem 0;
  border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; } .number { text-align: right; white-space: nowrap; }
.sample { border-left: .25rem solid var(--colour); padding: .1rem 0 .1rem .8rem; margin: .6rem 0; }
.text { white-space: pre-wrap; font-family: Georgia, "Times New Roman", serif; }
.prompt { font-weight: 700; } .tag { color: var(--soft); font-size: .85rem; }
.steps { border-collapse: collapse; margin-bottom: .9rem; } .steps td { border: 0; padding: .16rem .5rem .16rem 0; }
.steps .step { color: var(--soft); font-size: .8rem; width: 2.6rem; text-align: right; padding-top: .3rem;
  white-space: nowrap; } .steps .canvas { overflow-wrap: anywhere; } .words { min-width: 9rem; }
.canvas { font: .88rem/1.75 ui-monospace, Menlo, Consolas, monospace; }
.t { white-space: pre-wrap; border-radius: .2rem; padding: .08rem .05rem; }
.t[style] { color: #23262c; }
.mask { background: var(--mask); color: transparent; border-radius: .2rem; margin: 0 1px; padding: .08rem .55rem; }
.new { outline: 2px solid var(--frame); outline-offset: -1px; }
.bar { display: inline-block; height: .8rem; width: 9rem; border-radius: .2rem; vertical-align: middle;
  background: linear-gradient(90deg, COLOURS); }
@media (max-width: 40rem) { main { padding: .8rem .6rem 3rem; } section { padding: .8rem .8rem; }
  body { font-size: 15px; } .canvas { font-size: .78rem; }
  th, td { overflow-wrap: anywhere; } .words { min-width: 0; } .number { white-space: normal; }
  .stack tr, .stack td { display: block; } .stack tr:first-child { display: none; }
  .stack tr { border-bottom: 1px solid var(--line); padding: .4rem 0; }
  .stack td { border: 0; padding: .1rem 0; text-align: right; }
  .stack td[data-name]:not([data-name=""])::before { content: attr(data-name); color: var(--soft); float: left;
    padding-right: 1rem; }
  .stack td:first-child { text-align: left; font-weight: 600; } .stack td::after { content: ""; display: block;
    clear: both; } }
"""
# Confidence from 0 to 1: red, amber, green, light enough for dark text.
STOPS = ((248, 180, 170), (252, 226, 160), (158, 217, 165))
NAMES = {
    "mdm": "Masked diffusion model (MDM)",
    "arm": "Autoregressive model (ARM)",
    "unigram": "Unigram",
    "xz": "xz",
}
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
            "Training", f'<div class="pair">{curves_svg(summary)}{levels_svg(summary)}</div>{about_curves(summary)}'
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


def page(title: str, sections: Iterable[str]) -> str:
    """A self-contained page of these parts, in the colours of the plots by day and by night."""
    style = STYLE.replace("COLOURS", ", ".join(confidence_colour(x / 4) for x in range(5)))
    for word, colours in (("PALETTE", COLOURS), ("DARK", AT_NIGHT)):
        style = style.replace(word, " ".join(f"--{name}: {colour};" for name, colour in colours.items()))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>\n<body><main>\n"
        + "\n".join(sections)
        + "\n</main></body></html>\n"
    )


def section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """`rows` hold HTML; columns in `numbers` are set to the right. Wide ones become lists on a narrow screen."""
    stack = len(head) > 3

    def cell(kind: str, column: int, content: str) -> str:
        name = "number" if column in numbers else "words"
        told = f' data-name="{escape(head[column])}"' if stack and kind == "td" else ""
        return f"<{kind} class={name}{told}>{content}</{kind}>"

    top = "".join(cell("th", i, escape(name)) for i, name in enumerate(head))
    body = "".join("<tr>" + "".join(cell("td", i, x) for i, x in enumerate(row)) + "</tr>" for row in rows)
    return f'<div class="scroll"><table{" class=stack" if stack else ""}><tr>{top}</tr>{body}</table></div>'


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


def about_curves(summary: dict[str, Any]) -> str:
    return (
        '<p class="soft">Left: the same measure as above on fewer windows, while training. An MDM first stays near '
        "the loss of the unigram, until it learns to use what it sees; the ARM leaves that plateau sooner. Right: the "
        "more tokens are masked, the less an MDM has to go by. With everything masked it can only know frequencies.</p>"
    )


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
        told = "" if samples["phrases"] else f" The surest token is committed first. {legend()}"
        parts.append(
            f'<h3>Held-out sentences</h3><p class="soft">Drawn by seed, some of their short words hidden.{told}</p>'
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


def confidence_colour(probability: float) -> str:
    place = min(max(probability, 0.0), 1.0) * (len(STOPS) - 1)
    left = min(int(place), len(STOPS) - 2)
    mixed = (round(a + (b - a) * (place - left)) for a, b in zip(STOPS[left], STOPS[left + 1], strict=True))
    return f"rgb({', '.join(map(str, mixed))})"


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
