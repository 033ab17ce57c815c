"""Dictionaries as packages hold them: entries with headwords and glosses, cleaned of their editors' marks.

    for entry in gcide_entries(text): entry.headword, entry.gloss           # "Coagulative", "Having the power to ..."
    for entry in foldoc_entries(text): entry.words, entry.date
    for entry in wordnet_entries(line for line in file): entry.words, entry.text

GCIDE (Webster 1913 and later additions) and FOLDOC are in dictd's layout: a head at the margin, its text indented.
WordNet's data files have a synset a line, its gloss behind a bar (wndb(5)).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    words: tuple[str, ...]  # what it defines, the first one its headword
    part: str  # of speech, as the dictionary abbreviates it; "" where it names none
    senses: tuple[str, ...]  # paragraphs of running text, the first one the definition
    date: str | None = None

    @property
    def headword(self) -> str:
        return self.words[0]

    @property
    def text(self) -> str:
        """The whole entry as a document."""
        head = ", ".join(self.words) + (f", {self.part}" if self.part else "")
        if len(self.senses) == 1:
            return f"{head}: {self.senses[0]}"
        return "\n".join((head, *self.senses))

    @property
    def gloss(self) -> str:
        """Its first definition without number, labels, examples and sources; "" where nothing of that is left."""
        text = _LABELS.sub("", self.senses[0]) if self.senses else ""
        text = re.split(r'; as[,:]|\s--\s?[A-Z]|; "|\s"', text)[0]
        text = _BRACKETED.sub("", text)
        return re.sub(r"\s+([.;,:])", r"\1", " ".join(text.split())).strip(" ;,:")


_LABELS = re.compile(r"^((\d+\.|\([^)]*\))\s*)+")
_BRACKETED = re.compile(r"\[[^\][]*\]")

# ---------------------------------------------------------------------- GCIDE

_TAG = re.compile(
    r"\s*\[[^\][]*(?:Webster|WordNet|PJC|RDH|Century Dict|\bAS\b|RHUD|MW10|AHD|Stormonth|Nares)[^\][]*\]|\s*\[break\]"
)
_MARK = re.compile(r"\[([\"'`^~=,.\-*|/!_(vu0]{1,2})([A-Za-z]{1,2})\]|\[([A-Za-z])([\"'`^~=,\-])\]")
_LIGATURES = {"[ae]": "ae", "[AE]": "Ae", "[oe]": "oe", "[OE]": "Oe", "[eth]": "th", "[thorn]": "th", "[deg]": "°"}
_COMBINING = {"'": "\u0301", "`": "\u0300", "^": "\u0302", '"': "\u0308", "~": "\u0303", ",": "\u0327"}
_SOUND = re.compile(r"\((?![A-Z][a-z]+[ .&)])[^()]*\)")
_PARTS = re.compile(
    r"\b(v\. ?t\. & i|v\. ?i\. & t|v\. ?t|v\. ?i|v\. impers|p\. p|p\. a|p\. pr|vb\. n|n\. pl|n|a|adv|prep|conj|interj"
    r"|pron|imp|prefix|suffix|v|prop\. a|prop\. n|adj|phr)\."
)


def gcide_entries(text: str, of_1913: bool = False) -> Iterator[Entry]:
    """Its entries in order, without pronunciations, etymologies and marks of sources.

    of_1913: those alone in which every mark of a source is Webster's of 1913, so that nobody wrote in them later.
    Entries without text, such as forms that only refer to others by an empty body, are left out.
    """
    for lines in _blocks(text):
        if "\\" not in lines[0]:
            continue  # about the dictionary itself
        if of_1913 and {" ".join(mark.split()) for mark in _TAG.findall("\n".join(lines))} != {"[1913 Webster]"}:
            continue
        if (entry := _gcide_entry(lines)) is not None:
            yield entry


def _gcide_entry(lines: list[str]) -> Entry | None:
    n = 1
    while n < len(lines) and lines[n].strip() and _goes_on("\n".join(lines[:n]), lines[n]):
        n += 1
    head = _plain(" ".join(line.strip() for line in lines[:n]))
    named = [part.strip(" ,;") for part in head.split("\\")[::2]]
    last, words = named[-1], tuple(dict.fromkeys(_without_brackets(part) for part in named[:-1] if part))
    last = _SOUND.sub("", _without_brackets(last))
    part, label = _PARTS.search(last), re.search(r"\([A-Z][^()]*\)\s*$", last)
    paragraphs = _paragraphs(lines[n:])
    if label is not None and paragraphs:
        paragraphs[0] = f"{label[0].strip()} {paragraphs[0]}"
    if not words or not words[0] or not paragraphs:
        return None
    return Entry(words, part[0] if part else "", tuple(paragraphs))


def _goes_on(head: str, following: str) -> bool:
    """Whether a head is not at its end: something is open, or another spelling follows."""
    plain = _MARK.sub("", head)
    return (
        head.count("\\") % 2 == 1
        or plain.count("[") > plain.count("]")
        or plain.count("(") > plain.count(")")
        or head.rstrip().endswith((",", "&"))
        or following.lstrip().startswith(("\\", "["))
    )


def _paragraphs(lines: list[str]) -> list[str]:
    """Running text of indented paragraphs, marks of sources gone."""
    paragraphs = []
    for lines_of_one in _split(lines):
        text = _TAG.sub("", _plain(" ".join(line.strip() for line in lines_of_one)))
        text = " ".join(re.sub(r"[{}\\]", "", text).split())
        text = re.sub(r" ([.,;])(?= |$)", r"\1", text)
        if any(c.isalnum() for c in text):
            paragraphs.append(text)
    return paragraphs


def _plain(text: str) -> str:
    """ASCII spellings of accents and ligatures as the letters they mean."""
    for written, meant in _LIGATURES.items():
        text = text.replace(written, meant)

    def letter(match: re.Match[str]) -> str:
        mark, base = (match[1], match[2]) if match[1] else (match[4], match[3])
        return unicodedata.normalize("NFC", base + _COMBINING.get(mark, "")) if len(base) == 1 else base

    return _MARK.sub(letter, text)


def _without_brackets(text: str) -> str:
    while (shorter := _BRACKETED.sub("", text)) != text:
        text = shorter
    return re.sub(r"[{}|]", "", text).strip(" ,;")


# ---------------------------------------------------------------------- FOLDOC

_DATE = re.compile(r"^\(?((?:19|20)\d\d-\d\d-\d\d)\)?\.?$")
_ADDRESS = re.compile(r"\{?\((?:https?|ftp|news|mailto|telnet|gopher)[^)]*\)\}?|\{?(?:https?|ftp)://\S+")


def foldoc_entries(text: str) -> Iterator[Entry]:
    """Entries in order, each with the day of its last revision where it has one."""
    for lines in _blocks(text):
        n = 0
        while n < len(lines) and lines[n] and not lines[n][0].isspace():
            n += 1
        heads, date, kept = tuple(line.strip() for line in lines[:n]), None, []
        for paragraph in _paragraphs([_ADDRESS.sub("", line) for line in lines[n:]]):
            if dated := _DATE.match(paragraph):
                date = dated[1]
            else:
                kept.append(paragraph)
        if kept and not heads[0].startswith("00-"):
            yield Entry(heads, "", tuple(kept), date)


def _blocks(text: str) -> Iterator[list[str]]:
    """An entry's lines: from a head at the margin behind a blank line to the next one."""
    block: list[str] = []
    blank = True
    for line in text.splitlines():
        if blank and line and not line[0].isspace() and line[0] != "{":
            if block:
                yield block
            block = []
        if block or line.strip():
            block.append(line)
        blank = not line.strip()
    if block:
        yield block


def _split(lines: list[str]) -> Iterator[list[str]]:
    """Paragraphs: ended by a blank line or by a mark of a source that stands alone."""
    held: list[str] = []
    for line in [*lines, ""]:
        if line.strip() and not _TAG.fullmatch(line.rstrip()):
            held.append(line)
        elif held:
            yield held
            held = []


# ---------------------------------------------------------------------- WordNet

_KINDS = {"n": "n.", "v": "v.", "a": "adj.", "s": "adj.", "r": "adv."}


def wordnet_entries(lines: Iterable[str]) -> Iterator[Entry]:
    """A synset a line: its words, and its gloss with examples."""
    for line in lines:
        if line.startswith(" "):  # the licence
            continue
        fields, _, gloss = line.partition("|")
        parts = fields.split()
        count = int(parts[3], 16)
        words = [re.sub(r"\((a|p|ip)\)$", "", word).replace("_", " ") for word in parts[4 : 4 + 2 * count : 2]]
        if gloss := " ".join(gloss.split()):
            yield Entry(tuple(dict.fromkeys(words)), _KINDS[parts[2]], (gloss,))
