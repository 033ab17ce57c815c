"""Questions with several answers of which one is right, and rows of the same form to fine-tune on.

    pool = continuations(documents, tokenizer, Sizes(), Counts())     # of speeches and other prose
    pool = headwords(pairs, tokenizer, Sizes(), Counts())             # of a dictionary
    pool.rows, pool.tune, pool.test                                   # rows to learn; items to choose w on, and to test

continuation   which of some stretches follows; the others are of the same document, so that topic and style give
               nothing away, or of another one
headword       which word a gloss is of, among words of as many tokens

All answers of an item have as many tokens, so that their number tells nothing. What is learned, chosen on and tested on
lies apart: by document or headword, held out as `scaling.corpus` holds out what a sweep's models have not read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unmask.errors import UserError
from unmask.model.tokenizers import Tokenizer
from unmask.scaling.corpus import LEAK_SHARE, held_out
from unmask.scaling.corpus_dedup import WORDS, quoted

WORD_STARTS = (" ", "\n")
TUNE_SHARE = 0.3  # of what is held out; w is chosen there


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

    def facts(self) -> dict[str, Any]:
        """JSON values; nothing of the texts."""
        content = "\0".join(f"{item.prompt}{item.answers}" for item in (*self.tune, *self.test))
        clusters = {name: len({item.cluster for item in getattr(self, name)}) for name in ("tune", "test")}
        digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        counts = {"rows": len(self.rows), "tune": len(self.tune), "test": len(self.test)}
        return {**counts, "clusters": clusters, "items_sha256": digest}


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
        sides[side] += [Stretch(title, ids_T, at, sizes) for at in starts(ids_T, begins_V, sizes)]
        learned += [text] if side == "train" else []
    rows = [
        {"prompt": tokenizer.decode(part.prompt), "completion": tokenizer.decode_behind(part.prompt, part.answer)}
        for part in drawn(sides["train"], counts.rows, "rows")
    ]
    made = {}
    for side, most in (("tune", counts.tune), ("test", counts.test)):
        there = not_quoted(drawn(sides[side], 2 * most, f"some {side}"), learned, tokenizer)
        wrong = wrong_answers(sides[side], sizes)
        kept = [part for part in there if len(wrong[part.title]) >= 2 * sizes.choices]
        made[side] = [
            Item(p.prompt, [p.answer, *others(p.answer, wrong[p.title], sizes.choices, str(p))], p.title)
            for p in drawn(kept, most, side)
        ]
    return checked(Pool(rows, made["tune"], made["test"]), "continuation", "documents")


def starts(ids_T: np.ndarray, begins_V: np.ndarray, sizes: Sizes) -> list[int]:
    """Where continuations begin: at tokens that begin a word, so far apart that they do not overlap."""
    places = np.flatnonzero(begins_V[ids_T])
    begins, at = [], sizes.prompt
    while (k := int(np.searchsorted(places, at))) < len(places) and places[k] + sizes.answer <= len(ids_T):
        begins.append(int(places[k]))
        at = int(places[k]) + sizes.answer
    return begins


def wrong_answers(parts: Sequence[Stretch], sizes: Sizes, most: int = 200) -> dict[str, list[list[int]]]:
    """For each document some of its own stretches, or of those of the others."""
    of_title: dict[str, list[Stretch]] = {}
    for part in parts:
        of_title.setdefault(part.title, []).append(part)
    if sizes.same:
        return {title: [part.answer for part in drawn(own, most, "wrong")] for title, own in of_title.items()}
    pool = drawn(parts, most, "wrong")
    return {title: [part.answer for part in pool if part.title != title] for title in of_title}


def not_quoted(parts: Sequence[Stretch], learned: Sequence[str], tokenizer: Tokenizer) -> list[Stretch]:
    """Those that the training text does not hold, by the corpus' own measure: it quotes, and repeats itself."""
    texts = [tokenizer.decode([*item.prompt, *item.answer]) for item in parts]
    counts = quoted(texts, learned, WORDS) if parts else []
    return [part for part, (known, n) in zip(parts, counts, strict=True) if known <= LEAK_SHARE * n]


def headwords(pairs: Iterable[tuple[str, str]], tokenizer: Tokenizer, sizes: Sizes, counts: Counts) -> Pool:
    """pairs: (headword, gloss). Raises `UserError` where too few are held out."""
    train: list[tuple[str, str]] = []
    sides: dict[str, list[tuple[str, list[int], list[int]]]] = {"tune": [], "test": []}
    for word, gloss in pairs:
        asked, side = f"{gloss} =", side_of([f"word {word.casefold()}"], counts)
        if side == "train":
            train.append((asked, f" {word}"))
            continue
        ids = tokenizer.encode(asked)
        if len(ids) <= sizes.gloss:
            sides[side].append((word, ids, tokenizer.encode(f"{asked} {word}")[len(ids) :]))
    rows = [{"prompt": text, "completion": known} for text, known in drawn(train, counts.rows, "rows")]
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
    return checked(Pool(rows, made["tune"], made["test"]), "headword", "headwords")


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
