"""The demo, from nothing to a report: `unmask experiment demo`, which `make demo` runs.

    unmask experiment demo --out runs/demo
    unmask experiment demo --out runs/mine --source notes/ --flops 4e12 --json

Prepares text, trains a masked diffusion model and an autoregressive one of the same shape with the same FLOPs, at once
on one thread each, compares them on held-out text by one protocol beside simple baselines, lets both write, and leaves
OUT/report.html, OUT/summary.json and OUT/picture.png. Stopped (Ctrl-C, SIGTERM) and started again it goes on; what is
finished is not repeated. Method: arXiv 2410.18514; see docs/demo.md.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from pathlib import Path
from typing import Any

from unmask._version import __version__
from unmask.errors import UserError
from unmask.evaluation.stages import Stages, Stopped, run_together
from unmask.experiments.demo.options import DemoOptions
from unmask.files import write_whole
from unmask.settings import read_yaml
from unmask.statistics import ci_text
from unmask.terminal import say

SCHEMA_VERSION = 1
KINDS = ("mdm", "arm")
# What must be equal for the comparison to be one of objectives.
EQUAL = ("model", "context", "steps", "tokens", "flops", "flops_rule", "precision")
UNMASK = (sys.executable, "-m", "unmask")


def run_demo(options: DemoOptions) -> dict[str, Any]:
    """The summary; where a signal ended it, what was done is saved, and there is `signal` alone.

    Raises `UserError` for settings that do not fit, an `out` that cannot be written, and what a stage refuses.
    """
    out, recipes = options.out, {kind: options.recipe(kind) for kind in KINDS}
    check(recipes)
    try:
        out.mkdir(parents=True, exist_ok=True)
        stages = Stages(out / "stages.json")
        prepare(options, stages)
        train(options, recipes, stages)
        return finish(options, stages)
    except Stopped as stopped:
        say("demo: stopped; the same command goes on from here")
        return {"signal": stopped.number}
    except OSError as error:
        raise UserError(f"{error.filename or out} cannot be written: {error.strerror}; give another --out") from error


def check(recipes: dict[str, Path]) -> None:
    """Refuses settings that would fail only after the training."""
    fields = {}
    for kind, path in recipes.items():
        if not path.is_file():
            raise UserError(f"{path} does not exist; give --recipes a FOLDER with both recipes, or leave it out")
        fields[kind] = read_yaml(path)
        if not isinstance(fields[kind], dict):
            raise UserError(f"{path} is not a recipe: it must hold `key: value` lines")
    for name in EQUAL:
        values = [recipe.get(name) for recipe in fields.values()]
        if values[0] != values[1]:
            raise UserError(
                f"{name} is {values[0]} in {recipes['mdm']}, {values[1]} in {recipes['arm']}; make it equal"
            )


def prepare(options: DemoOptions, stages: Stages) -> None:
    """Text to tokens in OUT/data; quick where that is there."""
    before = dict(stages.records.get("prepare", {}))
    words = ["prepare", options.source, "--out", str(options.out / "data"), "--tokenizer", options.tokenizer]
    made = run_together({"prepare": [*UNMASK, *words, "--split", options.split, "--json"]}, stages)
    if before and not made["prepare"]["created"]:
        stages.records["prepare"] = before  # what the making took, not the looking


def train(options: DemoOptions, recipes: dict[str, Path], stages: Stages) -> None:
    """Both models at once, from where they are; one that is finished by the same recipe is left alone."""
    commands, facts = {}, {}
    for kind, recipe in recipes.items():
        run_folder = options.out / kind
        words = [str(recipe), "--data", str(options.out / "data"), "--out", str(run_folder), "--json"]
        if options.flops is not None:
            words += ["--flops", options.flops]
        asked = f"{recipe.read_text(encoding='utf-8')} {options.flops}"
        if options.precision is not None:
            words += ["--precision", options.precision]
            asked += f" {options.precision}"
        settings = hashlib.sha256(asked.encode()).hexdigest()
        there = any((run_folder / "checkpoints").glob("step-*/config.json"))
        if there and stages.records.get(kind, {}).get("finished") == settings:
            say(f"demo: {kind} is trained already: {run_folder}")
            continue
        resume = ["--resume"] if (run_folder / "recipe.yaml").is_file() else []
        commands[kind] = [*UNMASK, "train", *words, *resume]
        facts[kind] = {"finished": settings}
    if commands:
        run_together(commands, stages, facts=facts)


def finish(options: DemoOptions, stages: Stages) -> dict[str, Any]:
    """What comes after the training: comparison, samples, speed, pictures, summary and report."""
    import torch

    from unmask.evaluation.compare import compare, training_curve
    from unmask.experiments.demo.plots import picture
    from unmask.experiments.demo.report import render
    from unmask.experiments.demo.samples import measure_speed, write_samples
    from unmask.model.folder import load
    from unmask.model.number_types import processor_name
    from unmask.training.run_folder import VERSIONS, read_json

    torch.set_num_threads(1)
    out, data = options.out, options.out / "data"
    say("demo: evaluating both models on the same held-out text")
    with stages.measure("evaluate"):
        models = {kind: load(out / kind) for kind in KINDS}
        summary: dict[str, Any] = {"schema_version": SCHEMA_VERSION}
        summary |= compare(models, data, windows=options.windows, draws=options.draws, seed=options.seed)
        summary["curves"] = {kind: training_curve(out / kind, data) for kind in KINDS}
    say("demo: writing samples")
    with stages.measure("samples"):
        summary["samples"] = write_samples(models["mdm"], models["arm"], data, options.seed, options.source)
    with stages.measure("speed"):
        summary["speed"] = {**measure_speed(models["mdm"], models["arm"]), "processor": processor_name()}
    summary["training"] = {kind: training_facts(out / kind) for kind in KINDS}
    summary["data"] = data_facts(options, data)
    summary["versions"] = read_json(out / "mdm" / VERSIONS, "resume the run, which writes it anew") or {}
    summary["versions"] |= {"unmask": __version__, "system": platform.system(), "machine": platform.machine()}
    with stages.measure("pictures"):
        picture(summary, out / "picture.png")
    summary["stages"] = {
        name: {key: record[key] for key in ("seconds", "peak_memory_bytes")} for name, record in stages.records.items()
    }
    write_whole(out / "report.html", render(summary))
    write_whole(out / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    return summary


def training_facts(run: Path) -> dict[str, Any]:
    """Settings of a run and what it spent, from its own files."""
    from unmask.training.metrics import METRICS, read_records
    from unmask.training.precision import recorded
    from unmask.training.run_folder import read_settings

    recipe, number_type = read_settings(run), recorded(run)
    records = [record for record in read_records(run) if record["kind"] == "train"]
    if not records:
        raise UserError(f"{run / METRICS} has no training step; delete {run} to train it again")
    last = records[-1]
    spent = {name: last[name] for name in ("flops", "step", "tokens", "epoch", "skipped", "seconds")}
    chosen = ("seed", "context", "batch_size", "flops_rule", "model", "objective", "optimizer", "ema", "threads")
    spent["precision"] = recipe["precision"] if number_type is None else number_type.name
    return {**spent, **{name: recipe[name] for name in chosen}}


def data_facts(options: DemoOptions, folder: Path) -> dict[str, Any]:
    from unmask.data.manifest import Manifest

    manifest = Manifest.load(folder)
    facts: dict[str, Any] = {"source": options.source, "tokenizer": options.tokenizer, "split": options.split}
    facts["vocabulary"] = manifest.vocab_size
    for name, split in manifest.splits.items():
        facts |= {f"{name}_{what}": getattr(split, what) for what in ("documents", "tokens", "bytes")}
    return facts


def in_words(summary: dict[str, Any], out: Path) -> str:
    """The main numbers and where to look, for a terminal."""
    lines = ["", "bits per byte of held-out text (lower is better)"]
    for name in ("mdm", "arm", "unigram", "xz"):
        entry = summary[name]
        note = ""
        if entry.get("is_bound"):
            note = f" (upper bound; se {entry['bits_per_byte_se']:.4f}{ci_text(entry['bits_per_byte_interval'])})"
        lines.append(f"  {name:<8} {entry['bits_per_byte']:.3f}{note}")
    lines.append("one hidden token guessed right")
    for name in ("mdm", "arm", "unigram"):
        lines.append(f"  {name:<8} {summary['cloze'][name]['accuracy']:.1%}")
    phrases, sentences = summary["samples"]["phrases"], summary["samples"]["sentences"]
    if phrases or sentences:
        lines.append("gaps filled by the MDM")
    lines += [f"  {gap['title']}  ->  {gap['text']}" for gap in phrases]
    if not phrases:  # they are of another text
        lines += [f"  {gap['truth']}  ->  {gap['text']}" for gap in sentences]
    lines += [f"report:   {out / 'report.html'}", f"numbers:  {out / 'summary.json'}"]
    return "\n".join(lines)

