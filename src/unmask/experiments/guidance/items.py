"""Questions with several answers of which one is right, and rows of the same form to fine-tune on.

    pool = continuations(documents, tokenizer, Sizes(), Counts())     # of speeches and other prose
    pool = headwords(pairs, tokenizer, Sizes(), Counts())             # of a dictionary
    pool.rows, pool.tune, pool.test                                   # rows to learn; items to choose w on, and to test

continuation   which of some stretches follows; the others are of the same document, so that topic and style give
               nothing away, or of another one
headword       which word a gloss is of, among words of as many tokens

All answers of an item have as many tokens, so that their number tells nothing. What is learned, chosen on and tested on
lies apart: by document or headword, held out as `scaling.corpus` holds out what a sweep's models have not read. Items
are spread over the documents as evenly as their lengths allow, since a document counts as one in every interval.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unmask.errors import UserError
from unmask.model.tokenizers import Tokenizer
from unmask.scaling.corpus import LEAK_SHARE, held_out
from unmask.scaling.corpus_dedup import WORDS, quoted

WORD_STARTS = (" ", "\n")
TUNE_SHARE = 0.3  # of what is held out; w is chosen there
TRIES = 100  # draws for a wrong answer, of which those of the item's own document are in vain


@dataclass(frozen=True)
class Item:
    """A prompt with its answers as token ids; the first one is right. `cluster`: what it stands or falls with."""

    prompt: list[int]
    answers: list[list[int]]
    cluster: str


@dataclass(frozen=True)
class Pool:
    rows: list[dict[str, str]]  # prompt and completion
    tune: list[Item]
    test: list[Item]
    left_out: dict[str, int] = field(default_factory=dict)  # held out, but not asked: reason and count

    @property
    def chance(self) -> float:
        """The share of the test items that a blind guess has right."""
        return float(np.mean([1 / len(item.answers) for item in self.test]))

    def facts(self) -> dict[str, Any]:
        """JSON values; nothing of the texts. `effective_clusters`: how many of equal size would tell as much."""
        counts = {"rows": len(self.rows), "tune": len(self.tune), "test": len(self.test)}
        sizes = {name: Counter(item.cluster for item in getattr(self, name)) for name in ("tune", "test")}
        squares = sum(n**2 for n in sizes["test"].values())
        return {**counts, "chance": self.chance, "clusters": {name: len(own) for name, own in sizes.items()},
                "effective_clusters": round(counts["test"] ** 2 / squares, 1), "left_out": self.left_out,
                "items_sha256": digest((*self.tune, *self.test))}  # fmt: skip


def digest(items: Iterable[Item]) -> str:
    """Tells items from others."""
    content = "\0".join(f"{item.prompt}{item.answers}" for item in items)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Sizes:
    """Tokens of a continuation's prompt and answer; answers of an item, the right one included."""

    prompt: int = 40
    answer: int = 24
    choices: int = 4
    gloss: int = 60  # tokens of a gloss at most
    same: bool = True  # wrong continuations are of the same document


@dataclass(frozen=True)
class Counts:
    """At most so many; `share` and `seed` of what is held out must be those of the models' corpus."""

    rows: int = 30_000
    tune: int = 600
    test: int = 2_100
    share: float = 0.04
    seed: int = 0


@dataclass(frozen=True)
class Stretch:
    """A place in a document where a continuation begins; cut out of it only where it is asked for."""

    title: str
    keys: Sequence[str]
    ids_T: np.ndarray
    at: int
    sizes: Sizes

    @property
    def prompt(self) -> list[int]:
        return list(map(int, self.ids_T[self.at - self.sizes.prompt : self.at]))

    @property
    def answer(self) -> list[int]:
        return list(map(int, self.ids_T[self.at : self.at + self.sizes.answer]))

    def __str__(self) -> str:
        return f"{self.title}\0{self.at}"


def continuations(
    documents: Iterable[tuple[str, Sequence[str], str]], tokenizer: Tokenizer, sizes: Sizes, counts: Counts
) -> Pool:
    """documents: (title, keys that say what is held out together, text). Raises `UserError` where too few are held out.

    Stretches begin where a word does, one behind another without overlap of answers; prompts may overlap answers of
    earlier items. What the training text quotes is left out.
    """
    begins_V = np.array([tokenizer.token_text(token)[:1] in WORD_STARTS for token in range(tokenizer.vocab_size)])
    sides: dict[str, list[Stretch]] = {"train": [], "tune": [], "test": []}
    learned = []
    for title, keys, text in documents:
        side = side_of(keys, counts)
        ids_T = np.array(tokenizer.encode(text), dtype=np.int32)
        sides[side] += [Stretch(title, keys, ids_T, at, sizes) for at in starts(ids_T, begins_V, sizes)]
        learned += [text] if side == "train" else []
    rows = [
        {"prompt": tokenizer.decode(part.prompt), "completion": tokenizer.decode_behind(part.prompt, part.answer)}
        for part in drawn(sides["train"], counts.rows, "rows")
    ]
    fresh = not_quoted([*sides["tune"], *sides["test"]], learned, tokenizer)
    left_out = {"quoted in the training text": sum(len(sides[side]) for side in ("tune", "test")) - len(fresh)}
    made = {}
    for side, most in (("tune", counts.tune), ("test", counts.test)):
        there = [part for part in fresh if side_of(part.keys, counts) == side]
        own = Counter(part.title for part in there)
        among = {title: n if sizes.same else len(there) - n for title, n in own.items()}
        kept = [part for part in there if among[part.title] >= 2 * sizes.choices]
        made[side] = [
            Item(part.prompt, [part.answer, *wrong_answers(part, there, sizes)], part.title)
            for part in evenly(kept, most, side)
        ]
    return checked(Pool(rows, made["tune"], made["test"], left_out), "continuation", "documents")


def starts(ids_T: np.ndarray, begins_V: np.ndarray, sizes: Sizes) -> list[int]:
    """Where continuations begin: at tokens that begin a word, so far apart that they do not overlap."""
    places = np.flatnonzero(begins_V[ids_T])
    begins, at = [], sizes.prompt
    while (k := int(np.searchsorted(places, at))) < len(places) and places[k] + sizes.answer <= len(ids_T):
        begins.append(int(places[k]))
        at = int(places[k]) + sizes.answer
    return begins


def evenly(parts: Sequence[Stretch], most: int, salt: str) -> list[Stretch]:
    """So many, of each document the same number but where one has fewer."""
    of_title: dict[str, list[Stretch]] = {}
    for part in parts:
        of_title.setdefault(part.title, []).append(part)
    wanted, each = min(most, len(parts)), 0
    while sum(min(each, len(own)) for own in of_title.values()) < wanted:
        each += 1
    return drawn([part for own in of_title.values() for part in drawn(own, each, salt)], most, salt)


def wrong_answers(right: Stretch, parts: Sequence[Stretch], sizes: Sizes) -> list[list[int]]:
    """Drawn by a hash of the item from all stretches of its document, or of all others, so that few are met twice:
    an answer that is likely by itself would decide all its items at once."""
    if sizes.same:
        parts = [part for part in parts if part.title == right.title]
    taken = [right.answer]
    for attempt in range(TRIES * sizes.choices):
        if len(taken) == sizes.choices:
            break
        part = parts[int(place(f"{right}\0{attempt}"), 16) % len(parts)]
        if (sizes.same or part.title != right.title) and part.answer not in taken:
            taken.append(part.answer)
    return taken[1:]


def not_quoted(parts: Sequence[Stretch], learned: Sequence[str], tokenizer: Tokenizer) -> list[Stretch]:
    """Those that the training text does not hold, by the corpus' own measure: it quotes, and repeats itself."""
    texts = [tokenizer.decode([*item.prompt, *item.answer]) for item in parts]
    counts = quoted(texts, learned, WORDS) if parts else []
    return [part for part, (known, n) in zip(parts, counts, strict=True) if known <= LEAK_SHARE * n]


def headwords(pairs: Iterable[tuple[str, str]], tokenizer: Tokenizer, sizes: Sizes, counts: Counts) -> Pool:
    """pairs: (headword, gloss). Raises `UserError` where too few are held out."""
    train: list[tuple[str, str]] = []
    apart: dict[str, list[tuple[str, str]]] = {"tune": [], "test": []}
    for word, gloss in pairs:
        side = side_of([f"word {word.casefold()}"], counts)
        (train if side == "train" else apart[side]).append((word, gloss))
    known = {gloss.casefold() for _, gloss in train}
    left_out = {"with the gloss of a training word": 0, f"with a gloss of over {sizes.gloss} tokens": 0}
    sides: dict[str, list[tuple[str, list[int], list[int]]]] = {"tune": [], "test": []}
    for side, own in apart.items():
        for word, gloss in own:
            ids = tokenizer.encode(f"{gloss} =")
            if gloss.casefold() in known:
                left_out["with the gloss of a training word"] += 1
            elif len(ids) > sizes.gloss:
                left_out[f"with a gloss of over {sizes.gloss} tokens"] += 1
            else:
                sides[side].append((word, ids, tokenizer.encode(f"{gloss} = {word}")[len(ids) :]))
    asked = [(f"{gloss} =", f" {word}") for word, gloss in train]
    rows = [{"prompt": text, "completion": answer} for text, answer in drawn(asked, counts.rows, "rows")]
    made = {}
    for side, most in (("tune", counts.tune), ("test", counts.test)):
        of_length: dict[int, list[list[int]]] = {}
        for _, _, answer in sides[side]:
            of_length.setdefault(len(answer), []).append(answer)
        kept = [part for part in sides[side] if part[2] and len(of_length[len(part[2])]) >= 2 * sizes.choices]
        made[side] = [
            Item(prompt, [answer, *others(answer, of_length[len(answer)], sizes.choices, word)], word)
            for word, prompt, answer in drawn(kept, most, side)
        ]
    return checked(Pool(rows, made["tune"], made["test"], left_out), "headword", "headwords")


def side_of(keys: Sequence[str], counts: Counts) -> str:
    """train, tune or test: a function of what a document is about."""
    if not held_out(keys, counts.share, counts.seed):
        return "train"
    return "tune" if held_out([f"tune {key}" for key in keys], TUNE_SHARE, counts.seed) else "test"


def others(right: list[int], among: Sequence[list[int]], choices: int, key: str) -> list[list[int]]:
    """Wrong answers, drawn by a hash of the item; none equal to the right one or to another."""
    wrong = {tuple(answer) for answer in among} - {tuple(right)}
    picked = sorted(wrong, key=lambda answer: place(f"{key}\0{answer}"))[: choices - 1]
    return [list(answer) for answer in picked]


def drawn(parts: Sequence[Any], most: int, salt: str) -> list[Any]:
    """At most so many, by a hash of their content, in their own order."""
    if len(parts) <= most:
        return list(parts)
    order: Callable[[int], str] = lambda i: place(f"{salt}\0{i}\0{name_of(parts[i])}")  # noqa: E731
    return [parts[i] for i in sorted(sorted(range(len(parts)), key=order)[:most])]


def name_of(part: Any) -> str:
    return str(part[0] if isinstance(part, tuple) else part)


def place(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def checked(pool: Pool, task: str, what: str) -> Pool:
    for side in ("tune", "test"):
        items = getattr(pool, side)
        if len({item.cluster for item in items}) < 2 or any(len(item.answers) < 2 for item in items):
            raise UserError(f"task {task}: too few {what} are held out to {side} on; take more text or a larger share")
    if not pool.rows:
        raise UserError(f"task {task}: no {what} are left to learn from; hold out less")
    return pool
