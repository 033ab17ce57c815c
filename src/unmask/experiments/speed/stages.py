"""What is trained on the way: small bases for a quick try, the judge, and the fine-tuned models.

    check_trained(plan)                                      # before a folder is begun
    bases = make_bases(plan, place)                          # --quick: from the made-up dictionary's training part
    judge, folders = train_all(bases, plan, place)           # folders: {("mdm", 0): folder, ...}
    equal = choose_equal(folders, split, plan, place)        # the candidate for arm-equal, by validation words

Runs are those of a `Workplace`: done once, and gone on with after a stop. The judge and the fine-tuning wait for
nothing of each other, so they are trained in one call.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unmask.data.options import PrepareOptions
from unmask.data.prepare import prepare
from unmask.experiments.recipe_check import check_recipes
from unmask.experiments.speed.glosses import MADE_SHARE, Gloss
from unmask.experiments.speed.made import made_glosses, made_prose
from unmask.experiments.speed.plan import EQUAL, LARGE, Plan
from unmask.experiments.workplace import Workplace, write_lines
from unmask.files import file_sha256
from unmask.likelihood import score
from unmask.model.folder import WEIGHTS, Model, load, read_config, resolve
from unmask.scaling.corpus import CorpusOptions, gather, held_out

PROSE = 1500  # sentences of the made-up language that a base reads
Tuned = dict[tuple[str, int], Path]  # by role and seed


def check_trained(plan: Plan) -> None:
    """Raises `UserError` for settings of a run that cannot be, before anything is made."""
    recipes = {} if plan.judge_run else {"judge": judge_recipe(plan, Path("data"))}
    for role in plan.bases:
        own = tuning_recipe(role, plan, Path("rows"))
        recipes[f"fine-tuning of {role}"] = {**own, "init": "base", "context": plan.length}
    check_recipes(recipes)


def make_bases(plan: Plan, place: Workplace) -> dict[str, Path]:
    """By role, trained on the made-up dictionary without its held-out words, and on made-up prose."""
    data = place.out / "made-data"
    if not (data / "manifest.json").is_file():
        pairs = [(w, g) for w, g in made_glosses() if not held_out([f"word {w.casefold()}"], MADE_SHARE)]
        lines = [f"{word}, n.: {gloss}" for word, gloss in pairs]
        text = [*("\n".join(lines[i : i + 6]) for i in range(0, len(lines), 6)), *made_prose(PROSE)]
        _prepared(text, data, place.out / "made-text", plan.judge_tokenizer)
    tokens = {role: wanted["tokens"] for role, wanted in plan.bases.items() if role != EQUAL}
    tokens |= {f"{EQUAL}-{i}": count for i, count in enumerate(plan.bases.get(EQUAL, {}).get("tokens", ()))}
    recipes = {}
    for role, count in tokens.items():
        wanted = plan.bases[EQUAL if role.startswith(EQUAL) else role]
        width, layers = (int(number) for number in str(wanted["size"]).split("x"))
        masked = {"masking": "fixed", "weighting": "ce"} if wanted["kind"] == "mdm" else {}
        recipes[f"base-{role}"] = {
            **{"data": str(data), "context": 64, "batch_size": 16, "tokens": count},
            "model": {"n_layer": layers, "n_head": max(1, width // 16), "n_embd": width, "rope_base": 100},
            "objective": {"kind": wanted["kind"], "random_length": 0, **masked},
            "optimizer": {"lr": 5e-3, "beta2": 0.98, "warmup": 20},
            "validation": {"windows": 8, "draws": 2},
            **{"log_every": 200, "precision": plan.precision},
        }
    place.train(recipes)
    return {role: place.out / "runs" / f"base-{role}" for role in tokens}


def packages_of(plan: Plan, place: Workplace) -> Path:
    return Path(plan.packages) if plan.packages else place.out / "packages"


def judge_data(plan: Plan, place: Workplace) -> Path:
    """Tokens of other text than the dictionary's, on which the judge is trained."""
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
    return data


def judge_recipe(plan: Plan, data: Path) -> dict[str, Any]:
    return {"data": str(data), "precision": plan.precision, **plan.judge}


def _prepared(text: list[str], data: Path, folder: Path, tokenizer: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_lines(folder / "text.jsonl", ({"text": part} for part in text))
    prepare(PrepareOptions([str(folder / "text.jsonl")], data, tokenizer=tokenizer, split="random:0.1", workers=1))


def train_all(bases: Mapping[str, Path], plan: Plan, place: Workplace) -> tuple[Path | None, Tuned]:
    """(the judge, where the plan names none; every base with every seed has learned to define words): run folders.

    Of the candidates for arm-equal only the first seed, by which `choose_equal` chooses.
    """
    seeds = place.settings.seeds
    names = {
        (role, seed): f"tuned-{role}-s{seed}"
        for role in bases
        for seed in (seeds[:1] if role.startswith(EQUAL) else seeds)
    }
    recipes = {name: _tuning(role, seed, bases[role], plan, place) for (role, seed), name in names.items()}
    if not plan.judge_run:
        recipes = {"judge": judge_recipe(plan, judge_data(plan, place)), **recipes}
    folders = place.train(recipes)
    return folders.get("judge"), {key: folders[name] for key, name in names.items()}


def tuning_recipe(role: str, plan: Plan, rows: Path) -> dict[str, Any]:
    """Of a base's fine-tuning, but for the base."""
    return {
        **plan.finetune,
        **shorter(role, plan),
        **(plan.finetune_mdm if plan.kind(role) == "mdm" else {"objective": {"kind": "arm"}}),
        "data": str(rows / "train.jsonl"),
        # Texts are of one length; what pads a short prompt's row is in nobody's loss.
        "sft": {
            **{"template": "raw", "format": "pairs", "padding": "ignore"},
            "validation": str(rows / "validation.jsonl"),
        },
        **{"precision": plan.precision, "checkpoint": {"keep": 1}},
    }


def shorter(role: str, plan: Plan) -> dict[str, Any]:
    """What a candidate for arm-equal is fine-tuned for, where it has epochs of its own: however little a base has
    learned before, as many epochs as the others' leave it better than a masked model."""
    epochs = plan.bases.get(EQUAL, {}).get("epochs")
    number = role.removeprefix(f"{EQUAL}-")
    return {"epochs": epochs[int(number) % len(epochs)], "steps": 0} if epochs and number.isdecimal() else {}


def _tuning(role: str, seed: int, base: Path, plan: Plan, place: Workplace) -> dict[str, Any]:
    context = int(read_config(resolve(base))["model"]["block_size"])
    rows = tuning_recipe(role, plan, place.out / "glosses")
    return {**rows, "init": str(base), "seed": seed, "context": context}


def choose_equal(
    bases: Mapping[str, Path], tuned: Tuned, words: Sequence[Gloss], plan: Plan, place: Workplace
) -> dict[str, Any] | None:
    """{"chosen": candidate, "bits": {model: bits/byte of the validation words}}: the one nearest to mdm-large, first
    seed; None without candidates. No word of the survey or the test is looked at."""
    seed = place.settings.seeds[0]
    candidates = [role for role in bases if role.startswith(EQUAL)]
    if not candidates:
        return None
    sums = {role: str(read_sum(tuned[role, seed])) for role in (*candidates, LARGE)}

    def ask() -> dict[str, Any]:
        bits = {role: bits_of(load(tuned[role, seed], place.settings.device), words, plan) for role in sums}
        return {"bits": bits, "chosen": min(candidates, key=lambda role: abs(bits[role] - bits[LARGE]))}

    found: dict[str, Any] = place.kept("arm-equal", ask, weights=sums, draws=plan.draws)
    return found


def tune_equal(base: Path, chosen: str, tuned: Tuned, plan: Plan, place: Workplace) -> Tuned:
    """The chosen candidate with the other seeds too: all of its folders, as of the role arm-equal."""
    seeds = place.settings.seeds
    recipes = {f"tuned-{chosen}-s{seed}": _tuning(chosen, seed, base, plan, place) for seed in seeds[1:]}
    folders = place.train(recipes)
    return {(EQUAL, seeds[0]): tuned[chosen, seeds[0]],
            **{(EQUAL, seed): folders[f"tuned-{chosen}-s{seed}"] for seed in seeds[1:]}}  # fmt: skip


def read_sum(run: Path) -> str:
    return file_sha256(resolve(run) / WEIGHTS)


def nats_of(model: Model, words: Sequence[Gloss], plan: Plan) -> list[list[float]]:
    """-log p of true glosses [templates, words]: exact (ARM), or the bound."""
    by_template = []
    for template in plan.templates:
        given = [(plan.prompt(template, gloss.word), gloss.text) for gloss in words]
        by_template.append([-s.logprob for s in score(model, given, draws=plan.draws)])
    return by_template


def bits_of(model: Model, words: Sequence[Gloss], plan: Plan) -> float:
    """Bits per byte over all templates."""
    n_bytes = sum(len(gloss.text.encode()) for gloss in words) * len(plan.templates)
    return sum(map(sum, nats_of(model, words, plan))) / n_bytes / math.log(2)
