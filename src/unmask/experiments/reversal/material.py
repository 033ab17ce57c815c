"""What the reversal experiment trains on and starts from: people, tokenizer, rows, base models that have grown.

    origin = material(out, data, chosen, "own")  # a Material; its folders are made once
    recipe(origin, chosen, "mdm", seed=0)        # a mapping for `unmask train`
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unmask.data.manifest import FILE, Manifest
from unmask.errors import UserError
from unmask.evaluation.reversal.questions import NAME_FIRST, Line, People, read_original
from unmask.experiments.frame import Settings, experiment, merged
from unmask.experiments.recipe_check import check_recipes
from unmask.experiments.reversal.bases import refuse_unequal
from unmask.experiments.reversal.padding import PADDING, SCORED, unscored
from unmask.experiments.reversal.people import own_people, without_description_first
from unmask.experiments.reversal.rows import row_length, write_rows
from unmask.experiments.reversal.tokens import grown, tokens_a_name, widened, word_tokenizer
from unmask.files import file_sha256
from unmask.model.folder import WEIGHTS, load, resolve, save
from unmask.model.tokenizers import Tokenizer
from unmask.settings import read_yaml

HOME = Path(__file__).parent
KINDS = ("mdm", "arm")
BLIND = ("prompt", "description")  # what guidance hides


@dataclass(frozen=True)
class Material:
    """A set of people ready to be trained on, from random weights or a base."""

    name: str  # original or own, with -base behind it
    people: People
    lines: list[str]
    data: Path
    length: int  # tokens of a row
    name_tokens: float
    init: dict[str, str]  # of each kind of model; empty: from random weights

    @property
    def set(self) -> str:
        return self.name.partition("-")[0]

    @property
    def out(self) -> Path:
        """The experiment's folder."""
        return self.data.parents[1]


def people_of(name: str, data: str | None, chosen: Mapping[str, Any]) -> People:
    """As the controls leave them."""
    if name == "original":
        assert data is not None, "asked for only where there is data"
        people = read_original(data)
    else:
        own = chosen["own"]
        people = own_people(own["people"], own["both"], own["seed"])
    return without_description_first(people) if chosen["lines"] == NAME_FIRST else people


def training_lines(people: People, chosen: Mapping[str, Any]) -> list[str]:
    """Their texts, with swapped copies for that control."""
    texts = [line.text for line in people.lines]
    return texts + [swapped(line) for line in people.lines] if chosen["copies"] == "swapped" else texts


def swapped(line: Line) -> str:
    """Its second half first."""
    begins = line.begins.strip()
    return f"{line.text[len(begins):].strip()} {begins}"


def refuse_unknown(chosen: Mapping[str, Any]) -> None:
    """Raises `UserError` for words of the settings that mean nothing."""
    words = {"lines": ("all", NAME_FIRST), "copies": ("none", "swapped"), "weighting": ("ce", "nelbo"),
             "padding": PADDING, "blind": BLIND}  # fmt: skip
    for key, options in words.items():
        if chosen[key] not in options:
            raise UserError(f"--set {key}={chosen[key]} is none; give {' or '.join(options)}")
    if chosen["blind"] != "prompt" and "original" in chosen["sets"]:
        raise UserError("--set blind=description needs our own people, whose sentences are known; add --set sets=[own]")
    for key, options in (("sets", ("original", "own")), ("starts", ("random", "base")), ("kinds", KINDS)):
        if not chosen[key] or set(chosen[key]) - set(options):
            raise UserError(f"--set {key}={chosen[key]} is none; give some of {', '.join(options)} as a list")
    for key, counts in (("each", chosen["each"]), ("ranked", chosen["ranked"]), ("grid.each", chosen["grid"]["each"])):
        if none := [name for name in chosen["sets"] if counts[name] < 1]:
            raise UserError(f"--set {key}.{none[0]}={counts[none[0]]} asks nothing; give 1 or more")
    for key in ("order", "guidance"):
        if not chosen["grid"][key]:
            raise UserError(f"--set grid.{key}=[] leaves no way to decode; give one at least")
    if chosen["checkpoints"] < 1:
        raise UserError(f"--set checkpoints={chosen['checkpoints']} keeps nothing to choose among; give 1 or more")


def with_ablation(settings: Settings) -> dict[str, Any]:
    """The experiment's settings, as the ablation that they name changes them; what --set says goes before both.

    Raises `UserError` for an unknown ablation.
    """
    one = experiment("reversal")
    if not (name := (chosen := one.settings_of(settings))["ablation"]):
        return chosen
    known = read_yaml(HOME / "ablations.yaml")
    if name not in known["ablations"]:
        raise UserError(f"--set ablation={name} is none; give one of {', '.join(known['ablations'])}")
    sized = one.settings_of(replace(settings, changes=()))
    if settings.size == "usual":
        sized = merged(sized, known["common"], "ablations.yaml: common")
    changed = merged(sized, known["ablations"][name]["set"], f"ablation {name}")
    return replace(one, fields={"settings": changed}).settings_of(replace(settings, quick=False, full=False))


def tokenizer_of(spec: str, people: People, base: Tokenizer | None) -> Tokenizer:
    """Raises `UserError` for a word that names none."""
    names = sorted({question.person for question in people.questions})
    texts = [line.text for line in people.lines]
    if base is not None:
        return grown(base, [word for name in names for word in name.split()])
    if spec in ("words", "names"):
        known = [*texts, *(f"{question.prompt} {question.answer}" for question in people.questions)]
        return word_tokenizer(known, names if spec == "names" else ())
    if not spec.startswith("bpe:"):
        raise UserError(f"--set tokens={spec} is none; give words, names or bpe:SIZE")
    return Tokenizer.resolve(spec, [" " + text for text in texts])


@dataclass(frozen=True)
class Start:
    """What is known of a `Material` before anything of it is written."""

    label: str
    people: People
    tokenizer: Tokenizer
    lines: list[str]
    length: int  # tokens of a row


def start_of(
    data: str | None, chosen: Mapping[str, Any], name: str, bases: Mapping[str, str] | None = None
) -> Start:
    """Writes nothing. Raises `UserError` for bases without a tokenizer, and data that cannot be read."""
    people = people_of(name, data, chosen)
    base = None if bases is None else load(next(iter(bases.values()))).tokenizer
    if bases is not None and base is None:
        raise UserError(f"--base {next(iter(bases.values()))} has no tokenizer.json; give a model that has")
    tokenizer = tokenizer_of(chosen["tokens"], people, base)
    lines = training_lines(people, chosen)
    asked = [f"{question.prompt} {question.answer}" for question in people.questions]
    length = row_length([*lines, *asked], tokenizer)
    return Start(name if bases is None else f"{name}-base", people, tokenizer, lines, length)


def refuse_untrainable(start: Start, chosen: Mapping[str, Any], bases: Mapping[str, str] | None) -> None:
    """Raises `UserError` where no model could be trained so, before a folder is begun with such settings."""
    if not 1 <= chosen["span"] <= start.length:
        rows = f"a row of {start.label} has {start.length} tokens"
        raise UserError(f"--set span={chosen['span']} cannot be: {rows}; give 1 to {start.length}")
    plain = {**chosen, "padding": SCORED}
    stand_in = Material(start.label, start.people, start.lines, Path("data"), start.length, 1.0, dict(bases or {}))
    check_recipes({f"{kind} of {start.label}": recipe(stand_in, plain, kind, 0) for kind in chosen["kinds"]})


def material(
    out: Path, data: str | None, chosen: Mapping[str, Any], name: str, bases: Mapping[str, str] | None = None
) -> Material:
    """Makes what is missing of it under `out`. bases: a model of each kind to start from, of one tokenizer."""
    start = start_of(data, chosen, name, bases)
    label, people, tokenizer, length = start.label, start.people, start.tokenizer, start.length
    folder = out / "data" / label
    if not (folder / FILE).is_file() or Manifest.load(folder).tokenizer_hash != tokenizer.hash:
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_rows(folder, start.lines, held_out(people), tokenizer, length, seed=0, set=name)
    init = {kind: str(grow(out, label, kind, path, tokenizer, length)) for kind, path in (bases or {}).items()}
    names = {question.person for question in people.questions}
    return Material(label, people, start.lines, folder, length, tokens_a_name(tokenizer, names), init)


def held_out(people: People) -> list[str]:
    """Lines to validate on; not of those whose other direction is asked, where there are others: what is chosen may
    look at these."""
    known = [q for q in people.questions if q.direction == "both"]
    known = known or [q for q in people.questions if q.direction == "trained"]
    return [f"{q.prompt} {q.answer}" for q in known][:64]


def grow(out: Path, label: str, kind: str, path: str, tokenizer: Tokenizer, length: int) -> Path:
    """The base as a model folder whose tokenizer has the names."""
    folder = out / "bases" / f"{label}-{kind}"
    source = file_sha256(resolve(path) / WEIGHTS)
    if (folder / WEIGHTS).is_file() and (folder / "source.txt").is_file():
        if (folder / "source.txt").read_text().strip() == source:
            return folder
    base = load(path)
    assert base.tokenizer is not None, "looked at by the caller"
    if base.config.block_size < length:
        raise UserError(f"--base {path} has a context of {base.config.block_size}, and a row here has {length} tokens")
    folder.parent.mkdir(parents=True, exist_ok=True)
    save(folder, widened(base.network, base.tokenizer, tokenizer), tokenizer)
    (folder / "source.txt").write_text(source + "\n")
    return folder


def bases_of(paths: tuple[str, ...], kinds: list[str]) -> dict[str, str] | None:
    """The --base of each kind. Raises `UserError` where one is missing or there twice, or they differ in
    shape or tokenizer."""
    if not paths:
        return None
    bases: dict[str, str] = {}
    hashes: set[str | None] = set()
    for path in paths:
        model = load(path)
        if model.kind in bases:
            raise UserError(f"--base {path} is an {model.kind}, as {bases[model.kind]}; give one of each kind")
        bases[model.kind] = path
        hashes.add(model.tokenizer.hash if model.tokenizer else None)
    if missing := [kind for kind in kinds if kind not in bases]:
        raise UserError(f"--base names no {missing[0]}; give one of each of {', '.join(kinds)}")
    refuse_unequal({kind: bases[kind] for kind in kinds})
    if len(hashes) > 1:
        raise UserError("the models of --base have different tokenizers; give two of one sweep")
    return {kind: bases[kind] for kind in kinds}


def recipe(origin: Material, chosen: Mapping[str, Any], kind: str, seed: int) -> dict[str, Any]:
    """The settings of a run but for its folder; with padding that is not scored, writes its lines and its start."""
    fields: dict[str, Any] = read_yaml(HOME / f"{kind}.yaml")
    epochs, batch = float(chosen["epochs"][origin.set][kind]), int(chosen["batch"])
    steps = max(1, math.floor(len(origin.lines) * epochs / batch))
    points = int(chosen["checkpoints"])
    kept = sorted({max(1, steps * i // points) for i in range(1, points + 1)})
    rate = chosen["base_lr"] if origin.init else chosen["lr"]
    fields["optimizer"] = {**fields["optimizer"], "lr": rate, "beta2": chosen["beta2"]}
    # Without padding widths differ from batch to batch, and each would be compiled.
    compiled = bool(chosen["compile"]) and chosen["padding"] != "ignore"
    fields["checkpoint"] = {"at": kept, "keep": 1}
    if kind == "mdm":
        fields["objective"] = {**fields["objective"], "weighting": chosen["weighting"], "span": chosen["span"]}
    start = {"init": origin.init[kind]} if origin.init else {"model": dict(chosen["model"])}
    fields = {**fields, **start, "data": str(origin.data), "context": origin.length, "batch_size": batch,
              "steps": steps, "seed": seed, "precision": chosen["precision"], "compile": compiled}  # fmt: skip
    if chosen["padding"] == SCORED:
        return fields
    told = held_out(origin.people)
    return unscored(origin.out, fields, origin.lines, told, Tokenizer.from_file(origin.data), chosen["padding"])
