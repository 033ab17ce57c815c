"""The models that are fine-tuned: given, found in a sweep, or made small; and whether they have read the held-out text.

    bases = find_bases(*given_bases(["runs/sweep"], plan), plan)     # {"arm": path, "mdm": path, "mdm-large": path}
    refuse_exposed("mdm", bases["mdm"], split.held_out)     # "held out by its corpus"

What a run was trained on is told by its recipe.yaml and by the manifest of the folder that this names: where that is
text of `unmask.scaling.corpus`, its sources.json holds the split, and else the training tokens are looked through.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unmask.data.manifest import FILE as MANIFEST
from unmask.data.records import read_records
from unmask.data.shards import TokenData
from unmask.errors import UserError
from unmask.experiments.speed.glosses import GCIDE, Gloss
from unmask.experiments.speed.plan import Plan
from unmask.model.folder import Model, load
from unmask.scaling.corpus import held_out
from unmask.settings import read_json, read_yaml

RECIPE = "recipe.yaml"
SHINGLE = 24  # tokens of a gloss that are looked for
PREFIX = 40  # characters of a gloss by which a row is known
MOST_FOUND = 0.05  # of the held-out glosses, whose shingle may stand elsewhere by chance or quotation
AT_ONCE = 4_000_000  # tokens looked through


def find_bases(given: dict[str, str | None], sweep: str | None, plan: Plan) -> dict[str, Path]:
    """Paths by role: those given, and of the others the sweep's first seed of that kind, size and budget.

    Raises `UserError` where one cannot be had, and for a model of the wrong kind.
    """
    bases: dict[str, Path] = {}
    for role, wanted in plan.bases.items():
        if given.get(role):
            bases[role] = Path(str(given[role]))
        elif sweep is not None:
            bases[role] = _of_sweep(Path(sweep), wanted)
        else:
            raise UserError(
                f"--base {role}=RUN is missing: give the run of {_named(wanted)}, or --base FOLDER of `unmask scale "
                "run`; or try --quick, which makes its own"
            )
    check_kinds(bases, plan)
    return bases


def given_bases(bases: Sequence[str], plan: Plan) -> tuple[dict[str, str | None], str | None]:
    """`--base ROLE=RUN` and `--base SWEEP` apart. Raises `UserError` for what is neither, or given twice."""
    given: dict[str, str | None] = {}
    sweep = None
    for words in bases:
        role, equals, path = words.partition("=")
        if equals and role in plan.bases and role not in given:
            given[role] = path
        elif Path(words).is_dir() and (Path(words) / "runs").is_dir() and sweep is None:
            sweep = words
        else:
            roles = ", ".join(f"{role}=RUN" for role in plan.bases)
            raise UserError(f"--base {words} is not understood; give {roles}, each once, or one folder of a sweep")
    return given, sweep


def check_kinds(bases: dict[str, Path], plan: Plan) -> None:
    """Raises `UserError` for a model of the wrong kind, without a tokenizer, or of another tokenizer than the rest."""
    first: tuple[Path, Model] | None = None
    words = {"mdm": "a masked diffusion model", "arm": "an autoregressive model"}
    for role, path in bases.items():
        model, kind = load(path), plan.bases[role]["kind"]
        if model.kind != kind:
            raise UserError(f"--base {role}={path} is {words[model.kind]}; give {words[kind]}")
        if model.tokenizer is None:
            raise UserError(f"--base {role}={path} has no tokenizer.json, which text needs; add it")
        if first is not None and first[1].tokenizer is not None and model.tokenizer.hash != first[1].tokenizer.hash:
            raise UserError(f"--base {role}={path} has another tokenizer than {first[0]}; give bases of one corpus")
        first = first or (path, model)


def _named(wanted: Any) -> str:
    return f"{wanted['kind']} {wanted['size']} at {float(wanted.get('flops') or 0):g} FLOPs"


def _of_sweep(sweep: Path, wanted: Any) -> Path:
    """The run of that name whose checkpoint is there; of several seeds the first."""
    if not (sweep / "runs").is_dir():
        raise UserError(f"--base {sweep} has no folder runs; give the --out of `unmask scale run`")
    name = f"{wanted['kind']}-{wanted['size']}-{float(wanted['flops']):g}".replace("e+", "e")
    runs = [run for run in sorted((sweep / "runs").glob(f"{name}-s*")) if (run / "checkpoints").is_dir()]
    if not runs:
        there = ", ".join(sorted(run.name for run in (sweep / "runs").iterdir())[:6]) or "none"
        raise UserError(f"--base {sweep} has no finished run {name}-s*; its runs: {there}; or name one, ROLE=RUN")
    return runs[0]


# ------------------------------------------------------------------ what they have read


def corpus_split(paths: Iterable[Path]) -> tuple[float, int] | None:
    """(share, seed) by which the corpus of the first run that tells was held out; None where none tells."""
    for path in paths:
        for _, facts in _corpora(_settings(path)):
            return float(facts["held_out_share"]), int(facts["seed"])
    return None


def refuse_exposed(role: str, path: Path, glosses: Sequence[Gloss]) -> str:
    """In words how a base's text and the held-out glosses lie to each other. Raises `UserError` where it read them."""
    told = []
    for settings in _chain(path):
        refused = f"--base {role}={path} was trained on text that is tested here"
        if settings.get("sft"):
            if word := _in_rows(settings["data"], glosses):
                raise UserError(f"{refused}: {settings['data']} holds the gloss of {word!r}; give a base without it")
            told.append("fine-tuned on other rows")
            continue
        corpora = _corpora(settings)
        for split, facts in corpora:
            if GCIDE not in facts["sources"]:
                continue
            share, seed = float(facts["held_out_share"]), int(facts["seed"])
            read = [g.word for g in glosses if not held_out([f"word {g.word.casefold()}"], share, seed)]
            if split != "field:split" or read:
                why = f"e.g. {read[0]!r}, by its sources.json" if read else f"its split is {split}, not field:split"
                raise UserError(f"{refused} ({why}); give a base of a corpus that holds it out")
        if corpora:
            told.append("held out by its corpus")
            continue
        share_found = _in_tokens(settings.get("data"), path, glosses)
        if share_found is not None and share_found > MOST_FOUND:
            raise UserError(f"{refused}: {share_found:.0%} of the glosses stand in {settings['data']}; give another")
        told.append("its training text is not at hand" if share_found is None else "not in its training tokens")
    return "; ".join(told) or "unknown: no recipe.yaml beside it"


def _settings(path: Path) -> dict[str, Any]:
    """The recipe of the run that a path lies in; nothing where there is none."""
    for folder in (path, *path.resolve().parents[:2]):
        if (folder / RECIPE).is_file():
            settings = read_yaml(folder / RECIPE)
            return settings if isinstance(settings, dict) else {}
    return {}


def _chain(path: Path) -> list[dict[str, Any]]:
    """The recipes of a run and of those that it started from."""
    runs: list[dict[str, Any]] = []
    following: Path | None = path
    while following is not None and len(runs) < 10 and (settings := _settings(following)):
        runs.append(settings)
        following = Path(settings["init"]) if settings.get("init") else None
    return runs


def _corpora(settings: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(the split asked for, sources.json) of each gathered text that a run's data was prepared from."""
    manifest = Path(str(settings.get("data", "")), MANIFEST)
    if not manifest.is_file():
        return []
    asked = read_json(manifest).get("settings", {})
    files = [Path(name) for spec in asked.get("sources", []) for name in sorted(glob.glob(str(spec))) or [str(spec)]]
    folders = dict.fromkeys(file if file.is_dir() else file.parent for file in files)
    facts = [read_json(folder / "sources.json") for folder in folders if (folder / "sources.json").is_file()]
    return [(str(asked.get("split")), fact) for fact in facts if {"sources", "seed", "held_out_share"} <= set(fact)]


def _in_rows(spec: str, glosses: Sequence[Gloss]) -> str | None:
    """A held-out word whose gloss (or its beginning) a fine-tuning file has, if that is at hand."""
    known = {gloss.text.strip()[:PREFIX]: gloss.word for gloss in glosses}
    for name in glob.glob(spec) or [spec]:
        for _, row in read_records(name, name) if Path(name).is_file() else ():
            texts = [text for text in row.values() if isinstance(text, str)] if isinstance(row, dict) else []
            for text in texts:
                if (word := known.get(text.strip()[:PREFIX])) is not None:
                    return word
    return None


def _in_tokens(data: Any, path: Path, glosses: Sequence[Gloss]) -> float | None:
    """The share of the glosses of which a stretch stands in the training tokens; None where these are not at hand."""
    if not data or not Path(str(data), MANIFEST).is_file():
        return None
    train, model = TokenData(str(data), "train", verify=False), load(path)
    if model.tokenizer is None or train.manifest.tokenizer_hash != model.tokenizer.hash:
        return None
    middle = [g.ids[max(0, (len(g.ids) - SHINGLE) // 2) :][:SHINGLE] for g in glosses]
    length = min(len(ids) for ids in middle)
    wanted = _sums(np.concatenate([np.array(ids[:length], dtype=np.uint64) for ids in middle]), length)[::length]
    read = np.zeros(len(glosses), dtype=bool)
    for start in range(0, train.n_tokens, AT_ONCE):
        tokens = train.read(start, min(AT_ONCE + length - 1, train.n_tokens - start)).astype(np.uint64)
        if len(tokens) >= length:
            read |= np.isin(wanted, _sums(tokens, length))
    return float(read.mean())


def _sums(tokens_T: np.ndarray, length: int) -> np.ndarray:
    """uint64: a sum of every stretch of so many tokens, which tells them apart."""
    total = np.zeros(len(tokens_T) - length + 1, dtype=np.uint64)
    for i in range(length):
        total = total * np.uint64(0x100000001B3) + tokens_T[i : i + len(total)]
    return total
