"""`unmask eval RUN --tasks temporal`: bits per byte of dated text, decade by decade.

    unmask eval runs/mdm --tasks temporal --data later.jsonl --out later.json
    scored = score_documents(model, texts, windows=12, draws=8)         # a `Scored` for each

`data` holds `text` and `date` a record (1961, 1961-01 or 1961-01-30). Of each document some windows are scored, evenly
spread and as long as the model's context allows, each behind a clean end-of-sequence token: the same tokens for both
kinds of model, and for an MDM the same masks whatever the model (noise is keyed by the text). How much worse a model
gets with the years is the paper's temporal shift (arXiv 2410.18514); what of that is the model's and what the text's is
told only by another model on the same text (`unmask experiment temporal`). A run whose own training tokens hold the
text is refused.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unmask.data.records import read_records
from unmask.errors import UserError
from unmask.evaluation.exposure import refuse_read
from unmask.evaluation.request_store import Store, answered, request_key
from unmask.likelihood.estimators import Estimator
from unmask.likelihood.pairs import Pair
from unmask.likelihood.rolling import text_ids
from unmask.likelihood.scoring import score_pairs
from unmask.model.folder import Model
from unmask.model.placement import noted
from unmask.statistics import ci_text, ratio
from unmask.terminal import say

WINDOWS, DRAWS = 12, 8
LEAST_TOKENS = 16  # of a window: below that its beginning is nearly all of it
AT_ONCE = 16  # documents between two looks at the store
NAMED = 5
VERSION = 1


@dataclass(frozen=True)
class Dated:
    """A document and the year it is of; `name` is for messages."""

    text: str
    year: int
    name: str

    @property
    def decade(self) -> int:
        return self.year // 10 * 10


@dataclass(frozen=True)
class Scored:
    """Nats of some windows of a document, and their bytes. An MDM's are a bound."""

    nats: float
    n_bytes: int
    n_tokens: int

    @property
    def bits_per_byte(self) -> float:
        return self.nats / math.log(2) / self.n_bytes


@dataclass(frozen=True)
class TemporalOptions:
    """data: records with text and date. windows: of a document. limit: documents of each decade."""

    data: str = ""
    windows: int = WINDOWS
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.data:
            raise UserError("the task temporal needs --data FILE, records with `text` and `date`")
        if self.windows < 1:
            raise UserError(f"--windows is {self.windows}; give at least 1")


@dataclass
class Skipped:
    """Records that cannot be used, by reason."""

    rows: dict[str, list[str]] = field(default_factory=dict)

    def add(self, why: str, name: str) -> None:
        self.rows.setdefault(why, []).append(name)

    def to_dict(self) -> dict[str, Any]:
        return {why: {"count": len(names), "rows": names[:NAMED]} for why, names in self.rows.items()}

    def __str__(self) -> str:
        return ", ".join(f"{len(names)} {why} ({', '.join(names[:NAMED])})" for why, names in self.rows.items())


# ------------------------------------------------------------------ documents


def read_dated(path: str | Path, skipped: Skipped) -> list[Dated]:
    """The documents of a file of records. Raises `UserError` where it has none, naming why."""
    path, dated = Path(path), []
    if not path.is_file():
        raise UserError(f"{path} does not exist; give records with `text` and `date`, such as JSON lines")
    for where, row in read_records(str(path), str(path)):
        name = f"{path.name}{where}"
        text, date = (row.get(key) if isinstance(row, dict) else None for key in ("text", "date"))
        if not isinstance(text, str) or not text.strip():
            skipped.add("without text", name)
        elif (year := year_of(date)) is None:
            skipped.add("without a date", name)
        else:
            dated.append(Dated(text, year, str(row.get("title") or name)))
    if not dated:
        raise UserError(f"{path} has no document to score: {skipped or 'it is empty'}; give `text` and `date`")
    return dated


def year_of(date: Any) -> int | None:
    """Of 1961, "1961", "1961-01" or "1961-01-30"."""
    digits = str(date)[:4]
    plain = isinstance(date, int | str) and not isinstance(date, bool) and str(date)[4:5] in ("", "-")
    return int(digits) if plain and len(digits) == 4 and digits.isascii() and digits.isdigit() else None


def windows_of(ids: Sequence[int], length: int, count: int) -> list[list[int]]:
    """At most `count` stretches of `length` tokens, evenly spread and never overlapping; a short text is one."""
    if len(ids) <= length:
        return [list(ids)] if len(ids) >= min(length, LEAST_TOKENS) else []
    there = len(ids) // length
    places = np.unique(np.linspace(0, there - 1, min(count, there)).astype(int))
    return [list(ids[place * length : (place + 1) * length]) for place in places.tolist()]


def score_documents(
    model: Model,
    texts: Sequence[str],
    windows: int = WINDOWS,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Scored | None]:
    """What some windows of each text cost; None for a text too short to have one.

    Raises `UserError` for a model without a tokenizer or an end-of-sequence token.
    """
    if model.tokenizer is None or model.start_id is None:
        lacking = "tokenizer" if model.tokenizer is None else "end-of-sequence token"
        raise UserError(f"{model.path or 'the model'} has no {lacking}, which scoring whole texts needs; add it")
    parts = [windows_of(text_ids(model, text), model.config.block_size - 1, windows) for text in texts]
    pairs = [
        Pair(np.array([model.start_id, *ids], dtype=np.int64), 1, 0, model.tokenizer.n_bytes(ids), 0)
        for windows_of_one in parts
        for ids in windows_of_one
    ]
    estimator = Estimator("mc-fixed", draws)
    scores = score_pairs(model, pairs, estimator, seed=seed) if pairs else []
    scored: list[Scored | None] = []
    start = 0
    for windows_of_one in parts:
        own = slice(start, start := start + len(windows_of_one))
        nats = -sum(score.logprob for score in scores[own])
        n_bytes, n_tokens = sum(p.n_bytes or 0 for p in pairs[own]), sum(p.n_tokens for p in pairs[own])
        scored.append(Scored(nats, n_bytes, n_tokens) if n_bytes else None)
    return scored


# ------------------------------------------------------------------ the task


def temporal_task(model: Model, store: Store, options: TemporalOptions) -> dict[str, Any]:
    """The task's entry of a result of `unmask eval`: bits per byte of each decade and of all, and every document.

    Raises `UserError` for data that cannot be used, and for a run whose training tokens hold it.
    """
    skipped = Skipped()
    documents = some_of_each(read_dated(options.data, skipped), options.limit)
    known = "the model has no tokenizer"
    if model.tokenizer is not None:
        known = refuse_read(model, [text_ids(model, d.text) for d in documents], [d.name for d in documents])
    scored = kept_scores(model, store, documents, options)
    for document, score in zip(documents, scored, strict=True):
        if score is None:
            skipped.add("too short to score", document.name)
    if skipped.rows:
        say(f"eval: temporal: left out {skipped}")
    both = [(document, score) for document, score in zip(documents, scored, strict=True) if score is not None]
    if not both:
        raise UserError(f"{options.data} has no document to score: {skipped}; give longer texts")
    arm = model.kind == "arm"
    decades = sorted({document.decade for document, _ in both})
    metrics = {"bits_per_byte": figure([score for _, score in both])}
    for decade in decades:
        metrics[f"{decade}s"] = figure([score for document, score in both if document.decade == decade])
    items = [
        {"id": number, "hash": request_key(document.text)[:16], "name": document.name, "year": document.year,
         "nats": score.nats, "bytes": score.n_bytes, "tokens": score.n_tokens, "bits_per_byte": score.bits_per_byte}
        for number, (document, score) in enumerate(both)
    ]  # fmt: skip
    return {
        "task": "temporal", "variant": "documents", "split": Path(options.data).stem, "source": Path(options.data).name,
        "n": len(items), "metrics": metrics, "skipped": skipped.to_dict(), "exposure": known,
        "protocol": {
            "task": "temporal", "version": VERSION, "fewshot": 0, "windows": options.windows,
            "window": model.config.block_size - 1, "items": request_key([item["hash"] for item in items]),
            "estimator": {"method": "exact" if arm else "mc-fixed", "draws": 0 if arm else DRAWS},
            "guidance": 0.0, "seed": options.seed, "until_se": None, **noted(model.dtype),
        },
        "items": items,
    }  # fmt: skip


def kept_scores(
    model: Model, store: Store, documents: Sequence[Dated], options: TemporalOptions
) -> list[Scored | None]:
    """The documents' scores, as they come into the store, so that a stopped evaluation goes on."""
    keys = [request_key("temporal", document.text, options.windows, options.seed) for document in documents]

    def rows(part: list[int]) -> list[list[float]]:
        scored = score_documents(model, [documents[i].text for i in part], options.windows, DRAWS, options.seed)
        return [[] if one is None else [one.nats, one.n_bytes, one.n_tokens] for one in scored]

    kept = answered(store, keys, rows, AT_ONCE, ("temporal", "documents"))
    return [Scored(float(row[0]), int(row[1]), int(row[2])) if row else None for row in kept]


def some_of_each(documents: Sequence[Dated], limit: int | None) -> list[Dated]:
    """The first so many of each decade."""
    counts: dict[int, int] = {}
    chosen = []
    for document in documents:
        counts[document.decade] = counts.get(document.decade, 0) + 1
        if limit is None or counts[document.decade] <= limit:
            chosen.append(document)
    return chosen


def figure(scored: Sequence[Scored]) -> dict[str, Any]:
    """Bits over bytes with the interval over documents (Monte Carlo error included, since documents differ by it)."""
    bits = ratio([score.nats / math.log(2) for score in scored], [score.n_bytes for score in scored]).to_dict()
    return {"value": bits["value"], "se": None if len(scored) < 2 else bits["se"], "interval": bits["interval"]}


def in_words(name: str, task: dict[str, Any]) -> str:
    """A line a decade."""
    years = Counter(f"{item['year'] // 10 * 10}s" for item in task["items"])
    lines = [f"{name}: {task['n']} documents of {task['source']}, {task['exposure']}"]
    for metric, value in task["metrics"].items():
        n = years.get(metric, task["n"])
        lines.append(f"{name:<12} {metric:<14} {value['value']:.4f}{ci_text(value['interval'])}  n {n}")
    return "\n".join(lines)
