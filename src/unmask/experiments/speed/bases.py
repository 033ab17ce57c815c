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

from unmask.data.manifest import FILE as MANIFEST
from unmask.data.records import read_records
from unmask.errors import UserError
from unmask.evaluation.exposure import data_folder, recipes_of, stretches_read
from unmask.experiments.speed.glosses import GCIDE, Gloss
from unmask.experiments.speed.plan import Plan
from unmask.model.folder import Model, load
from unmask.scaling.corpus import held_out
from unmask.settings import read_json

SHINGLE = 24  # tokens of a gloss that are looked for
PREFIX = 40  # characters of a gloss by which a row is known
MOST_FOUND = 0.05  # of the held-out glosses, whose shingle may stand elsewhere by chance or quotation


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
        for settings in recipes_of(path)[:1]:
            for _, facts in _corpora(settings):
                return float(facts["held_out_share"]), int(facts["seed"])
    return None


def refuse_exposed(role: str, path: Path, glosses: Sequence[Gloss]) -> str:
    """In words how a base's text and the held-out glosses lie to each other. Raises `UserError` where it read them."""
    parts = []
    for settings in recipes_of(path):
        refused = f"--base {role}={path} was trained on text that is tested here"
        if settings.get("sft"):
            if word := _in_rows(settings["data"], glosses):
                raise UserError(f"{refused}: {settings['data']} holds the gloss of {word!r}; give a base without it")
            parts.append("fine-tuned on other rows")
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
            parts.append("held out by its corpus")
            continue
        share_found = _in_tokens(settings, path, glosses)
        if share_found is not None and share_found > MOST_FOUND:
            raise UserError(f"{refused}: {share_found:.0%} of the glosses stand in {settings['data']}; give another")
        parts.append("its training text is not at hand" if share_found is None else "not in its training tokens")
    return "; ".join(parts) or "unknown: no recipe.yaml beside it"


def _corpora(settings: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(the split asked for, sources.json) of each gathered text that a run's data was prepared from."""
    if (data := data_folder(settings)) is None:
        return []
    asked = read_json(data / MANIFEST).get("settings", {})
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


def _in_tokens(settings: dict[str, Any], path: Path, glosses: Sequence[Gloss]) -> float | None:
    """The share of the glosses of which a stretch stands in the training tokens; None where these are not at hand."""
    if (folder := data_folder(settings)) is None:
        return None
    middle = [g.ids[max(0, (len(g.ids) - SHINGLE) // 2) :][:SHINGLE] for g in glosses]
    length = min(len(ids) for ids in middle)
    read = stretches_read(folder, load(path), [ids[:length] for ids in middle])
    return None if read is None else float(read.mean())
