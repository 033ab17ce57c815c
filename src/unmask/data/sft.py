"""Prompt-answer and chat data for fine-tuning: JSON lines to token ids with the answers marked.

    examples = read_examples("gsm8k/train.jsonl", SFTFields(format="gsm8k"), tokenizer, eos_id, context=256)
    examples.ids(0), examples.learned(0)        # int64 [T], bool [T]: True where the model learns to write

A line holds `prompt` and `completion`, or `messages`, a list of `role` and `content` (`sft.fields` renames them all;
`records.py` tells of files). `format: gsm8k` makes the two examples of arXiv 2410.18514: question to thought, and
question with thought to "#### answer". A prompt has the tokens that it has when it is completed, the answer behind it
those of the running text. What cannot be used is counted and skipped with its reason; a line that is not JSON is an
error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unmask.data.chat import ROLES, Part, Template, Turn, render, template
from unmask.data.finding import Tell, files_of
from unmask.data.order import WindowSampler
from unmask.data.records import read_records
from unmask.data.sft_fields import FieldNames, SFTFields
from unmask.errors import UserError
from unmask.model.pieces import Pieces
from unmask.model.tokenizers import Tokenizer

SCHEMA_VERSION = 1
NAMED = 10  # skipped rows that are named for each reason
TOO_LONG, NO_PROMPT, NO_ANSWER = "longer than the context", "without a prompt", "without an answer"


@dataclass(frozen=True, eq=False)
class Examples:
    """Token ids of all examples in one array, with where each begins, its row, and what was left out."""

    flat: np.ndarray  # int32 ids
    flat_learned: np.ndarray  # bool, of the same length
    starts: np.ndarray  # int64 [n + 1]
    rows: np.ndarray  # int64 [n]: the row each comes from, from 0
    n_rows: int
    skipped: dict[str, list[str]] = field(default_factory=dict)  # reason: names of rows, such as train.jsonl:17
    left_out: list[str] = field(default_factory=list)  # lines on what of the folder was not read

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.starts)

    def ids(self, index: int) -> np.ndarray:
        return self.flat[self.starts[index] : self.starts[index + 1]].astype(np.int64)

    def learned(self, index: int) -> np.ndarray:
        return self.flat_learned[self.starts[index] : self.starts[index + 1]]

    def learned_counts(self) -> np.ndarray:
        """int64 [n]: tokens of each example that are learned."""
        return np.diff(np.concatenate([[0], np.cumsum(self.flat_learned)])[self.starts])

    def turns(self, index: int) -> Iterator[tuple[list[int], list[int]]]:
        """What comes before each learned answer, and the answer."""
        ids, edges = self.ids(index), np.flatnonzero(np.diff(np.r_[0, self.learned(index).astype(np.int8), 0]))
        for start, end in edges.reshape(-1, 2):
            yield ids[:start].tolist(), ids[start:end].tolist()

    def take(self, chosen: np.ndarray) -> Examples:
        """Some of the examples; what was skipped stays with the whole."""
        where = np.concatenate([np.arange(self.starts[i], self.starts[i + 1]) for i in chosen])
        starts = np.concatenate([[0], np.cumsum(self.lengths[chosen])])
        rows = self.rows[chosen]
        return Examples(self.flat[where], self.flat_learned[where], starts, rows, len(np.unique(rows)))

    def split(self, share: float, seed: int) -> tuple[Examples, Examples]:
        """Training and held-out examples: whole rows, which ones is a function of the seed and their number."""
        held_out = WindowSampler(self.n_rows, seed).windows(self.rows) < max(1, round(share * self.n_rows))
        if held_out.all() or not held_out.any():
            raise UserError(
                f"sft.validation_share {share} of {self.n_rows} rows leaves one side without examples; "
                "change it, or name held-out rows in sft.validation"
            )
        return self.take(np.flatnonzero(~held_out)), self.take(np.flatnonzero(held_out))

    @property
    def digest(self) -> str:
        """SHA-256 of the tokens and their marks."""
        hasher = hashlib.sha256(self.starts.astype("<i8").tobytes())
        hasher.update(self.flat.astype("<i4").tobytes())
        hasher.update(self.flat_learned.tobytes())
        return hasher.hexdigest()

    def report(self) -> dict[str, Any]:
        """JSON values: counts, and the first rows skipped for each reason."""
        skipped = {
            why: {"count": len(names), "rows": list(dict.fromkeys(names))[:NAMED]}
            for why, names in self.skipped.items()
        }
        return {
            "rows": self.n_rows,
            "examples": len(self),
            "tokens": int(self.starts[-1]),
            "learned_tokens": int(self.flat_learned.sum()),
            "skipped": skipped,
            "sha256": self.digest,
        }

    def summary(self) -> str:
        """The same in one line."""
        left_out = _reasons(self.skipped)
        return (
            f"{len(self):,} examples of {self.n_rows:,} rows, {int(self.starts[-1]):,} tokens, "
            f"{int(self.flat_learned.sum()):,} of them learned" + (f"; skipped {left_out}" if left_out else "")
            + "".join(f"; {line}" for line in self.left_out)
        )


def read_examples(
    spec: str, fields: SFTFields, tokenizer: Tokenizer, eos_id: int, context: int, bos: int | None = None
) -> Examples:
    """All usable examples of a file, a folder or a glob; `bos`, a begin token, stands before each.

    Raises `UserError` for what cannot be read, a line that is not JSON, and where no row can be used.
    """
    words = template(fields.template, fields.strings)
    ids: list[np.ndarray] = [np.zeros(0, np.int32)]
    learned: list[np.ndarray] = [np.zeros(0, bool)]
    lengths: list[int] = []
    rows: list[int] = []
    skipped: dict[str, list[str]] = {}
    left_out: list[str] = []
    row = -1
    for row, (name, record) in enumerate(read_rows(spec, left_out.append)):  # noqa: B007
        try:
            made = [_tokens(parts, tokenizer, eos_id, bos) for parts in _conversations(record, fields, words)]
        except _Unusable as reason:
            skipped.setdefault(str(reason), []).append(name)
            continue
        for tokens, marks in made:
            if len(tokens) > context or marks[0]:
                skipped.setdefault(NO_PROMPT if marks[0] else TOO_LONG, []).append(name)
                continue
            ids.append(tokens)
            learned.append(marks)
            lengths.append(len(tokens))
            rows.append(row)
    if not rows:
        why = _reasons(skipped) or "it is empty"
        raise UserError(f"{spec} has no row to learn from: {why}; check sft.format, sft.fields and context {context}")
    starts = np.cumsum([0, *lengths], dtype=np.int64)
    return Examples(np.concatenate(ids), np.concatenate(learned), starts, np.array(rows), row + 1, skipped, left_out)


def read_rows(spec: str, tell: Tell | None = None) -> Iterator[tuple[str, Any]]:
    """(``file:line``, the value) of every record of a file, a folder or a glob; see `records.py`.

    tell: is given a line for what of a folder is left out. Raises `UserError` naming file and line.
    """
    for file in files_of(spec, tell):
        for where, record in read_records(file.path, str(file.path)):
            yield f"{file.path.name}{where}", record


class _Unusable(Exception):
    """Why a row is skipped."""


def _reasons(skipped: dict[str, list[str]]) -> str:
    parts = []
    for why, names in skipped.items():
        rows = list(dict.fromkeys(names))  # a row may have given two examples
        parts.append(f"{len(names):,} {why} ({', '.join(rows[:3])}{', ...' if len(rows) > 3 else ''})")
    return ", ".join(parts)


def _text(record: dict[str, Any], name: str) -> str:
    if name not in record:
        raise _Unusable(f"without a field '{name}'")
    text = "" if record[name] is None else record[name]
    if not isinstance(text, str):
        raise _Unusable(f"whose '{name}' is not text")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # JSON can spell it
        raise _Unusable(f"whose '{name}' holds half of a surrogate pair, which UTF-8 cannot") from error
    return text


def _conversations(record: Any, fields: SFTFields, words: Template) -> Iterator[list[Part]]:
    """The examples of a row as parts of text. Raises `_Unusable` with the reason."""
    if not isinstance(record, dict):
        raise _Unusable("that are no JSON object")
    names, gsm8k = fields.fields, fields.format == "gsm8k"
    if fields.format == "messages" or fields.format == "auto" and names.messages in record:
        if not (parts := render(_turns(record, names), words, fields.learn)):
            raise _Unusable(NO_ANSWER)
        yield parts
        return
    prompt = _text(record, names.prompt or ("question" if gsm8k else "prompt"))
    answer = _text(record, names.completion or ("answer" if gsm8k else "completion"))
    if not prompt.strip():
        raise _Unusable(NO_PROMPT)
    if not answer.strip():
        raise _Unusable(NO_ANSWER)
    if not gsm8k:
        yield render([Turn("user", prompt), Turn("assistant", answer)], words)
        return
    thought, mark, number = answer.rpartition("####")
    if not mark or not thought.strip() or not number.strip():
        raise _Unusable(NO_ANSWER)
    first = render([Turn("user", prompt), Turn("assistant", thought.strip())], words)
    yield first
    given = [*(piece for part in first for piece in part.pieces), ("\n", False)]
    yield [Part.of(given, False, False), Part(f"#### {number.strip()}", True, True)]


def _turns(record: dict[str, Any], names: FieldNames) -> Sequence[Turn]:
    messages = record.get(names.messages)
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise _Unusable(f"whose '{names.messages}' is not a list of objects")
    turns = []
    for message in messages:
        role, content = _text(message, names.role), _text(message, names.content)
        if role not in ROLES:
            raise _Unusable(f"with the unknown role '{role}'")
        turns.append(Turn(ROLES[role], content))
    if any(turn.role == "assistant" and not turn.content.strip() for turn in turns):
        raise _Unusable(NO_ANSWER)
    return turns


def _tokens(
    parts: list[Part], tokenizer: Tokenizer, eos_id: int, bos: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """int32 ids and which are learned."""
    pieces, ids, marks = Pieces(tokenizer), list[int](), list[bool]()
    for part in parts:
        part_ids, text = list[int](), ""
        for words, own in part.pieces:
            for piece in tokenizer.specials.split(words) if own else [words]:
                if isinstance(piece, str):
                    text += piece
                else:
                    part_ids, text = part_ids + pieces.add(text) + pieces.token(piece), ""
        part_ids += pieces.add(text)
        part_ids += pieces.token(eos_id) if part.ends else []
        ids += part_ids
        marks += [part.learned] * len(part_ids)
    if bos is not None and ids[0] != bos:
        ids, marks = [bos, *ids], [marks[0], *marks]
    return np.array(ids, dtype=np.int32), np.array(marks, dtype=bool)
