"""What is trained on the way: small bases for a quick try, the judge, and the fine-tuned models; each once.

    bases = make_bases(plan, out)                            # --quick: from the made-up dictionary's training part
    judge = train_judge(plan, out, packages)                 # from text that is no dictionary of the models' own
    runs = fine_tune("mdm", base, plan, out, seed=0)

A stage that is done leaves `done.json` in its folder; a stopped one goes on from its newest checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unmask.data.prepare import PrepareOptions, prepare
from unmask.evaluation.stages import Stopped
from unmask.experiments.speed.glosses import MADE_SHARE
from unmask.experiments.speed.made import made_glosses, made_prose
from unmask.experiments.speed.plan import Plan
from unmask.files import write_whole
from unmask.scaling.corpus import CorpusOptions, gather, held_out
from unmask.settings import read_json
from unmask.terminal import say
from unmask.training.loop import train
from unmask.training.recipe import Recipe, build

DONE = "done.json"
PROSE = 1500  # sentences of the made-up language for each of bases and judge


def trained(folder: Path, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a run, trained or gone on with unless it is done. Raises `Stopped` where a signal came."""
    done = folder / DONE
    if done.is_file():
        return dict(read_json(done))
    recipe: Recipe = build(Recipe, {**fields, "out": str(folder)}, "")
    say(f"speed: training {folder.name}")
    result = train(recipe, resume=(folder / "recipe.yaml").is_file())
    if result.signal:
        raise Stopped(result.signal)
    validation = result.validation or {}
    facts: dict[str, Any] = {"flops": result.flops, "tokens": result.tokens, "steps": result.steps}
    facts["seconds"] = round(result.seconds, 1)
    facts["validation"] = {key: validation.get(key) for key in ("loss", "se", "method")}
    write_whole(done, json.dumps(facts) + "\n")
    return facts


def make_bases(plan: Plan, out: Path, threads: int = 1) -> dict[str, Path]:
    """By role, trained on the made-up dictionary without its held-out words, and on made-up prose."""
    data = out / "made-data"
    if not (data / "manifest.json").is_file():
        pairs = [(w, g) for w, g in made_glosses() if not held_out([f"word {w.casefold()}"], MADE_SHARE)]
        lines = [f"{word}, n.: {gloss}" for word, gloss in pairs]
        text = [*("\n".join(lines[i : i + 6]) for i in range(0, len(lines), 6)), *made_prose(PROSE)]
        _prepared(text, data, out / "made-text", plan.judge_tokenizer)
    found = {}
    for role, wanted in plan.bases.items():
        width, layers = (int(number) for number in str(wanted["size"]).split("x"))
        objective = {"kind": wanted["kind"], "random_length": 0}
        if wanted["kind"] == "mdm":
            objective |= {"masking": "fixed", "weighting": "ce"}
        found[role] = out / "bases" / role
        fields = {
            **{"data": str(data), "context": 64, "batch_size": 16, "tokens": wanted["tokens"], "threads": threads},
            "model": {"n_layer": layers, "n_head": max(1, width // 16), "n_embd": width, "rope_base": 100},
            "objective": objective,
            "optimizer": {"lr": 5e-3, "beta2": 0.98, "warmup": 20},
            "validation": {"windows": 8, "draws": 2},
            **{"log_every": 200, "precision": "fp32", "device": "cpu"},
        }
        trained(found[role], fields)
    return found


def train_judge(plan: Plan, out: Path, packages: Path, threads: int = 1) -> Path:
    """An autoregressive model that reads what the others write, from other text than theirs."""
    data = out / "judge-data"
    if not (data / "manifest.json").is_file():
        if plan.judge_text:
            text = out / "judge-text"
            if not (text / "sources.json").is_file():
                gather(CorpusOptions(out=text, sources=list(plan.judge_text), packages=packages))
            spec = [str(text / "*.jsonl")]
            prepare(PrepareOptions(spec, data, tokenizer=plan.judge_tokenizer, split="field:split", workers=1))
        else:
            _prepared(made_prose(2 * PROSE, seed=2), data, out / "judge-text", plan.judge_tokenizer)
    trained(out / "judge", {"data": str(data), "precision": "fp32", "device": "cpu", "threads": threads, **plan.judge})
    return out / "judge"


def _prepared(text: list[str], data: Path, folder: Path, tokenizer: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "text.jsonl", "".join(json.dumps({"text": part}) + "\n" for part in text))
    prepare(PrepareOptions([str(folder / "text.jsonl")], data, tokenizer=tokenizer, split="random:0.1", workers=1))


def fine_tune(role: str, base: Path, plan: Plan, out: Path, seed: int, threads: int = 1) -> tuple[Path, dict[str, Any]]:
    """A base that has learned to define words, and what that took."""
    folder, rows = out / "fine-tuned" / f"{role}-s{seed}", out / "glosses"
    kind = plan.bases[role]["kind"]
    fields = {
        **plan.finetune,
        **(plan.finetune_mdm if kind == "mdm" else {"objective": {"kind": "arm"}}),
        **{"data": str(rows / "train.jsonl"), "init": str(base), "seed": seed, "threads": threads},
        "context": context_of(base),
        # Texts are of one length; what pads a short prompt's row is in nobody's loss.
        "sft": {
            **{"template": "raw", "format": "pairs", "padding": "ignore"},
            "validation": str(rows / "validation.jsonl"),
        },
        **{"precision": "fp32", "device": "cpu", "checkpoint": {"keep": 1}},
    }
    return folder, trained(folder, fields)


def context_of(base: Path) -> int:
    from unmask.model.folder import read_config, resolve

    return int(read_config(resolve(base))["model"]["block_size"])
