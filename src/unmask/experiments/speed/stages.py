"""What is trained on the way: small bases for a quick try, the judge, and the fine-tuned models.

    bases = make_bases(plan, place)                          # --quick: from the made-up dictionary's training part
    judge = train_judge(plan, place)                         # from text that is no dictionary of the models' own
    folders = fine_tune(bases, plan, place)                  # {("mdm", 0): folder, ...}

Runs are those of a `Workplace`: done once, and gone on with after a stop.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unmask.data.options import PrepareOptions
from unmask.data.prepare import prepare
from unmask.experiments.speed.glosses import MADE_SHARE
from unmask.experiments.speed.made import made_glosses, made_prose
from unmask.experiments.speed.plan import Plan
from unmask.experiments.workplace import Workplace, write_lines
from unmask.model.folder import read_config, resolve
from unmask.scaling.corpus import CorpusOptions, gather, held_out

PROSE = 1500  # sentences of the made-up language that a base reads


def make_bases(plan: Plan, place: Workplace) -> dict[str, Path]:
    """By role, trained on the made-up dictionary without its held-out words, and on made-up prose."""
    data = place.out / "made-data"
    if not (data / "manifest.json").is_file():
        pairs = [(w, g) for w, g in made_glosses() if not held_out([f"word {w.casefold()}"], MADE_SHARE)]
        lines = [f"{word}, n.: {gloss}" for word, gloss in pairs]
        text = [*("\n".join(lines[i : i + 6]) for i in range(0, len(lines), 6)), *made_prose(PROSE)]
        _prepared(text, data, place.out / "made-text", plan.judge_tokenizer)
    recipes = {}
    for role, wanted in plan.bases.items():
        width, layers = (int(number) for number in str(wanted["size"]).split("x"))
        masked = {"masking": "fixed", "weighting": "ce"} if wanted["kind"] == "mdm" else {}
        recipes[f"base-{role}"] = {
            **{"data": str(data), "context": 64, "batch_size": 16, "tokens": wanted["tokens"]},
            "model": {"n_layer": layers, "n_head": max(1, width // 16), "n_embd": width, "rope_base": 100},
            "objective": {"kind": wanted["kind"], "random_length": 0, **masked},
            "optimizer": {"lr": 5e-3, "beta2": 0.98, "warmup": 20},
            "validation": {"windows": 8, "draws": 2},
            **{"log_every": 200, "precision": plan.precision},
        }
    place.train(recipes)
    return {role: place.out / "runs" / f"base-{role}" for role in plan.bases}


def packages_of(plan: Plan, place: Workplace) -> Path:
    return Path(plan.packages) if plan.packages else place.out / "packages"


def train_judge(plan: Plan, place: Workplace) -> Path:
    """An autoregressive model that reads what the others write, from other text than theirs."""
    data = place.out / "judge-data"
    if not (data / "manifest.json").is_file():
        text = place.out / "judge-text"
        if plan.judge_text:
            if not (text / "sources.json").is_file():
                gather(CorpusOptions(out=text, sources=list(plan.judge_text), packages=packages_of(plan, place)))
            spec = [str(text / "*.jsonl")]
            prepare(PrepareOptions(spec, data, tokenizer=plan.judge_tokenizer, split="field:split", workers=1))
        else:
            _prepared(made_prose(2 * PROSE, seed=2), data, text, plan.judge_tokenizer)
    place.train({"judge": {"data": str(data), "precision": plan.precision, **plan.judge}})
    return place.out / "runs" / "judge"


def _prepared(text: list[str], data: Path, folder: Path, tokenizer: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_lines(folder / "text.jsonl", ({"text": part} for part in text))
    prepare(PrepareOptions([str(folder / "text.jsonl")], data, tokenizer=tokenizer, split="random:0.1", workers=1))


def fine_tune(bases: Mapping[str, Path], plan: Plan, place: Workplace) -> dict[tuple[str, int], Path]:
    """Every base with every seed has learned to define words: run folders."""
    rows = place.out / "glosses"
    recipes: dict[str, dict[str, Any]] = {}
    names = {(role, seed): f"tuned-{role}-s{seed}" for role in bases for seed in place.settings.seeds}
    for (role, seed), name in names.items():
        masked = plan.bases[role]["kind"] == "mdm"
        recipes[name] = {
            **plan.finetune,
            **(plan.finetune_mdm if masked else {"objective": {"kind": "arm"}}),
            **{"data": str(rows / "train.jsonl"), "init": str(bases[role]), "seed": seed},
            "context": int(read_config(resolve(bases[role]))["model"]["block_size"]),
            # Texts are of one length; what pads a short prompt's row is in nobody's loss.
            "sft": {
                **{"template": "raw", "format": "pairs", "padding": "ignore"},
                "validation": str(rows / "validation.jsonl"),
            },
            **{"precision": plan.precision, "checkpoint": {"keep": 1}},
        }
    folders = place.train(recipes)
    return {key: folders[name] for key, name in names.items()}
