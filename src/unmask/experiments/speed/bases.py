"""The models that are fine-tuned: given, found in a sweep, or made small; and whether they have read the held-out text.

    bases = find_bases(*given_bases(["runs/sweep"], plan), plan)     # {"arm": path, "mdm": path, "mdm-large": path}
    refuse_exposed("mdm", bases["mdm"], split.held_out)     # "held out by its corpus"

What a run was trained on is told by its recipe.yaml and by the manifest of the folder that this names: where that is
text of `unmask.scaling.corpus`, its sources.json holds the split, and else the training tokens are looked through.
"""

from __future__ import annotations

import glob
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from unmask.data.manifest import FILE as MANIFEST
from unmask.data.records import read_records
from unmask.errors import UserError
from unmask.evaluation.exposure import data_folder, recipes_of, stretches_read
from unmask.experiments.speed.glosses import GCIDE, Gloss
from unmask.experiments.speed.plan import EQUAL, Plan
from unmask.model.folder import Model, load
from unmask.scaling.corpus import held_out
from unmask.scaling.sweep import RESULTS, read_results
from unmask.settings import read_json
from unmask.terminal import say

MOST_NAMED = 240  # characters
SHINGLE = 24  # tokens of a gloss that are looked for
PREFIX = 40  # characters of a gloss by which a row is known
MOST_FOUND = 0.05  # of the held-out glosses, whose shingle may stand elsewhere by chance or quotation


def find_bases(given: Mapping[str, Sequence[str]], sweep: str | None, plan: Plan) -> dict[str, Path]:
    """Paths by role: those given, and of the others the sweep's finished run of that kind, size and budget, least seed.

    The candidates for `arm-equal`, which nobody need have, are called arm-equal-0, arm-equal-1, ...

    Raises `UserError` where one cannot be had, and for a model of the wrong kind.
    """
    bases: dict[str, Path] = {}
    for role, wanted in plan.bases.items():
        if role == EQUAL:
            bases |= candidates(given.get(role, ()), sweep, wanted)
        elif given.get(role):
            bases[role] = Path(given[role][0])
        elif sweep is not None:
            bases[role] = _of_sweep(Path(sweep), wanted, float(wanted["flops"]))
        else:
            raise UserError(
                f"--base {role}=RUN is missing: give the run of {_named(wanted)}, or --base FOLDER of `unmask scale "
                "run`; or try --quick, which makes its own"
            )
    check_kinds(bases, plan)
    return bases


def given_bases(bases: Sequence[str], plan: Plan) -> tuple[dict[str, list[str]], str | None]:
    """`--base ROLE=RUN` and `--base SWEEP` apart; `arm-equal` may be given several times. Raises `UserError` for what
    is neither, or given twice."""
    given: dict[str, list[str]] = {}
    sweep = None
    for words in bases:
        role, equals, path = words.partition("=")
        if equals and role in plan.bases and (role not in given or role == EQUAL):
            given.setdefault(role, []).append(path)
        elif Path(words).is_dir() and (Path(words) / "runs").is_dir() and sweep is None:
            sweep = words
        else:
            roles = ", ".join(f"{role}=RUN" for role in plan.bases)
            raise UserError(f"--base {words} is not understood; give {roles}, each once, or one folder of a sweep")
    return given, sweep


def check_kinds(bases: Mapping[str, Path], plan: Plan) -> None:
    """Raises `UserError` for a model of the wrong kind, without a tokenizer, or of another tokenizer than the rest."""
    first: tuple[Path, Model] | None = None
    words = {"mdm": "a masked diffusion model", "arm": "an autoregressive model"}
    for role, path in bases.items():
        model, kind = load(path), plan.kind(role)
        if model.kind != kind:
            raise UserError(f"--base {role}={path} is {words[model.kind]}; give {words[kind]}")
        if model.tokenizer is None:
            raise UserError(f"--base {role}={path} has no tokenizer.json, which text needs; add it")
        if first is not None and first[1].tokenizer is not None and model.tokenizer.hash != first[1].tokenizer.hash:
            raise UserError(f"--base {role}={path} has another tokenizer than {first[0]}; give bases of one corpus")
        first = first or (path, model)


def candidates(given: Sequence[str], sweep: str | None, wanted: Mapping[str, Any]) -> dict[str, Path]:
    """Those given, or of the sweep as many as have finished; each once for every number of epochs."""
    paths = [Path(path) for path in given]
    if not paths and sweep is not None:
        for flops in wanted["flops"]:
            try:
                paths.append(_of_sweep(Path(sweep), wanted, float(flops)))
            except UserError as error:
                say(f"speed: no candidate for {EQUAL} at {flops:g} FLOPs: {error}")
    return {f"{EQUAL}-{i}": path for i, path in enumerate(path for path in paths for _ in wanted["epochs"] or [0])}


def _named(wanted: Any) -> str:
    return f"{wanted['kind']} {wanted['size']} at {float(wanted.get('flops') or 0):g} FLOPs"


def _of_sweep(sweep: Path, wanted: Mapping[str, Any], flops: float) -> Path:
    """The run that stands in the sweep's results as finished, under the plan's own name: not a trunk's branch, nor one
    of another learning rate or type. Of several seeds the least; a run in training is never one."""
    if not (sweep / "runs").is_dir() or not (sweep / RESULTS).is_file():
        raise UserError(f"--base {sweep} has no runs with their {RESULTS}; give the --out of `unmask scale run`")
    stem = f"{wanted['kind']}-{wanted['size']}-{flops:g}".replace("e+", "e")
    rows = list(read_results(sweep / RESULTS).values())
    finished = {
        int(row["seed"]): str(row["name"])
        for row in rows
        if (row.get("objective"), row.get("size"), row.get("state")) == (wanted["kind"], wanted["size"], "finished")
        and math.isclose(float(row["flops"]), flops) and row["name"] == f"{stem}-s{row['seed']}"
    }  # fmt: skip
    if not finished:
        named = ", ".join(str(row["name"]) for row in rows if row.get("state") == "finished") or "none"
        there = named if len(named) < MOST_NAMED else f"{named[:MOST_NAMED].rpartition(',')[0]}, ..."
        raise UserError(f"--base {sweep} has no finished run {stem}-s*; finished: {there}; or name one, ROLE=RUN")
    kept = {seed: sweep / "runs" / name for seed, name in finished.items() if (sweep / "runs" / name).is_dir()}
    if not kept:  # results are kept longer than weights
        name = finished[min(finished)]
        mend = f"train it by `unmask scale run PLAN --out ANOTHER --only {name}` and name it, ROLE=RUN"
        raise UserError(f"--base {sweep} has the result of {name} without its weights; {mend}")
    return kept[min(kept)]


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
        given = f"--base {role}=" if " " not in role else f"{role} "  # "the judge"
        refused = f"{given}{path} was trained on text that is tested here"
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
