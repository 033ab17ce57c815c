"""Headwords with their glosses, cut to a fixed number of tokens, split by headword as the bases' text was.

    pairs, skipped = read_pairs("gcide", packages)               # or a file: a Debian package, or JSON lines
    split = split_glosses(pairs, skipped, tokenizer, plan, share=0.04, seed=0)
    write_rows(split, plan, Path("glosses"))                     # train.jsonl, validation.jsonl, test.jsonl

All texts have exactly `length` tokens with their end, so that entropies and times are of equal lengths. A headword is
held out where `scaling.corpus.held_out` says so for the corpus that the bases have read (arXiv 2410.18514's speed claim
was measured on prompts of a chat; ours are dictionary entries, which models of our size can write).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unmask.data.records import read_records
from unmask.errors import UserError
from unmask.experiments.speed.made import made_glosses
from unmask.experiments.speed.plan import Plan
from unmask.experiments.workplace import write_lines
from unmask.model.tokenizers import Tokenizer
from unmask.scaling.corpus import held_out
from unmask.scaling.corpus_packages import obtain
from unmask.scaling.corpus_sources import gcide_glosses
from unmask.scaling.corpus_table import SOURCES

MADE, GCIDE = "made", "gcide"
NAMED = 5  # rows named for each reason
MADE_SHARE = 0.15  # held out of the made-up dictionary, which is small
Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class Gloss:
    word: str
    text: str  # with its leading space
    ids: tuple[int, ...]


@dataclass
class Split:
    """survey: the words on which settings are tried and chosen; test: those of the headline."""

    train: list[Gloss]
    validation: list[Gloss]
    survey: list[Gloss]
    test: list[Gloss]
    skipped: dict[str, dict[str, Any]] = field(default_factory=dict)  # reason: {"count", "rows"}

    @property
    def held_out(self) -> list[Gloss]:
        return [*self.survey, *self.test]

    def report(self) -> dict[str, Any]:
        """JSON values; nothing of the dictionary's text."""
        counts = {name: len(getattr(self, name)) for name in ("train", "validation", "survey", "test")}
        digest = hashlib.sha256("\0".join(g.word + g.text for g in self.held_out).encode("utf-8", "surrogatepass"))
        skipped = {why: left_out["count"] for why, left_out in self.skipped.items()}
        return {**counts, "skipped": skipped, "held_out_sha256": digest.hexdigest()}


def read_pairs(dictionary: str, packages: Path) -> tuple[Pairs, dict[str, list[str]]]:
    """(headword, gloss) of `gcide` (obtained into `packages`), `made`, or a file; and the rows left out, by reason.

    Raises `UserError` naming how to get or make what is missing.
    """
    if dictionary == MADE:
        return made_glosses(), {}
    if dictionary == GCIDE:
        try:
            packages.mkdir(parents=True, exist_ok=True)
            return list(gcide_glosses(obtain(SOURCES[GCIDE].package, packages))), {}
        except UserError as error:
            raise UserError(f"the dictionary {error}; or give --data FILE, JSON lines of word and gloss") from error
    path = Path(dictionary)
    if not path.is_file():
        raise UserError(f"--data {path} does not exist; give JSON lines of word and gloss, or leave it out for gcide")
    if path.suffix == ".deb":
        return list(gcide_glosses(path)), {}
    return _lines(path)


def _lines(path: Path) -> tuple[Pairs, dict[str, list[str]]]:
    glosses: dict[str, str] = {}
    skipped: dict[str, list[str]] = {}
    for where, row in read_records(str(path), str(path)):
        word, gloss = (row.get(key) if isinstance(row, dict) else None for key in ("word", "gloss"))
        name = f"{path.name}{where}"
        if not isinstance(word, str) or not isinstance(gloss, str):
            skipped.setdefault("without the texts `word` and `gloss`", []).append(name)
        elif not word.strip() or not gloss.strip():
            skipped.setdefault("with an empty word or gloss", []).append(name)
        elif word.strip() in glosses:
            skipped.setdefault("whose word stood before", []).append(name)
        else:
            glosses[word.strip()] = " ".join(gloss.split())
    if not glosses:
        why = ", ".join(f"{len(rows)} {reason}" for reason, rows in skipped.items()) or "it is empty"
        raise UserError(f"{path} has no row with a word and its gloss: {why}")
    return list(glosses.items()), skipped


def split_glosses(
    pairs: Pairs, skipped: dict[str, list[str]], tokenizer: Tokenizer, plan: Plan, share: float, seed: int
) -> Split:
    """Raises `UserError` where too few headwords are held out, or too few glosses are long enough."""
    left: dict[str, list[str]] = {why: list(rows) for why, rows in skipped.items()}
    train: list[Gloss] = []
    aside: list[Gloss] = []
    for word, gloss in pairs:
        ids = tokenizer.encode(" " + gloss)[: plan.written]
        if len(ids) < plan.written:
            left.setdefault(f"shorter than {plan.length} tokens", []).append(word)
            continue
        text = tokenizer.decode(ids)
        if tokenizer.encode(text) != ids:  # cut within a letter, or where a prefix has other tokens
            left.setdefault("that cannot be cut there", []).append(word)
            continue
        side = aside if held_out([f"word {word.casefold()}"], share, seed) else train
        side.append(Gloss(word, text, tuple(ids)))
    known = {gloss.text.casefold() for gloss in train}
    fresh = [gloss for gloss in aside if gloss.text.casefold() not in known]
    if len(fresh) < len(aside):
        twice = [gloss.word for gloss in aside if gloss.text.casefold() in known]
        left["held out, but word for word in the training part"] = twice
    fresh.sort(key=lambda gloss: hashlib.sha256(f"{seed}\0{gloss.word}".encode("utf-8", "surrogatepass")).digest())
    wanted = plan.validation_words + plan.survey_words + plan.test_words
    if len(fresh) < wanted or not train:
        kept = f"{len(train):,} glosses of {plan.length} tokens to train on and {len(fresh):,} held out"
        raise UserError(f"the dictionary gives {kept}, and {wanted:,} held out are needed; give a larger one")
    a, b = plan.validation_words, plan.validation_words + plan.survey_words
    counted = {why: {"count": len(rows), "rows": rows[:NAMED]} for why, rows in left.items()}
    return Split(train, fresh[:a], fresh[a:b], fresh[b:wanted], counted)


def write_rows(split: Split, plan: Plan, folder: Path) -> None:
    """Prompts and completions as JSON lines; the model adds the end. A word to train on stands behind one of the
    templates, drawn by the word, any other behind all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    templates = list(plan.templates)
    for name in ("train", "validation", "test"):
        rows = []
        for gloss in getattr(split, name):
            drawn = hashlib.sha256(gloss.word.encode("utf-8", "surrogatepass")).digest()[0] % len(templates)
            for template in templates[drawn : drawn + 1] if name == "train" else templates:
                rows.append({"prompt": plan.prompt(template, gloss.word), "completion": gloss.text})
        write_lines(folder / f"{name}.jsonl", rows)
