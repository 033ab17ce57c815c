"""From what a caller gives to rows of token ids: prompts, blanks in texts, seeds, the end of sequence.

rows = as_list(prompts); row = read_prompt(model, "The ____ of the Union", gap=2); row.ids, row.word_starts

What begins a document begins behind a clean end of sequence, or the model's begin token, which tells the model so, as
`score` has it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from numbers import Integral

import numpy as np
import torch

from unmask.errors import UserError
from unmask.model.folder import Model
from unmask.model.tokenizers import Tokenizer

# A blank takes the space before it along, since in most vocabularies a word's token holds that space, and then begins
# with a token that does: the text keeps its word boundary.
BLANK = re.compile(r"( ?)_{2,}")

Prompt = str | Sequence[int]
Seed = int | tuple[int, int]


@dataclass(frozen=True)
class Stretch:
    """Part of a text with gaps: its tokens' places, and the text that the caller gave for them; None: a gap."""

    start: int
    end: int
    text: str | None
    space: bool = False  # the gap also stands for the caller's space in front of it


@dataclass(frozen=True)
class Row:
    """What stands in a row before its new tokens, and what it was made of."""

    ids: list[int]  # masks are blanks
    stretches: tuple[Stretch, ...] = ()  # of a text with gaps
    added: int = 0  # tokens at the beginning that stand for nothing of the caller's
    bare: bool = False  # a start should have been added, and the model has no token for it

    @property
    def word_starts(self) -> list[int]:
        """Which of the masks stand for a space as well."""
        return [stretch.start for stretch in self.stretches if stretch.space]


def as_list(prompts: Prompt | Sequence[Prompt | None] | None) -> list[Prompt | None]:
    """One text, one list of ids or None counts as a list of one prompt; arrays and tensors of ids are lists of them.

    Raises `UserError` naming the first prompt that is neither text nor ids nor None.
    """
    if prompts is None:
        return [None]
    if isinstance(prompts, np.ndarray | torch.Tensor):
        prompts = prompts.tolist()
    if not isinstance(prompts, Sequence):
        raise UserError(f"prompts is {prompts!r}; give a text, a list of token ids, or a list of these")
    if isinstance(prompts, str) or (len(prompts) and isinstance(prompts[0], Integral)):
        return [prompts]
    for number, prompt in enumerate(prompts):
        if prompt is not None and not isinstance(prompt, str | Sequence | np.ndarray | torch.Tensor):
            raise UserError(f"prompt {number} is {prompt!r}; give a text or a list of token ids")
    return list(prompts)  # type: ignore[arg-type]


def read_prompt(
    model: Model, prompt: Prompt | None, gap: int | None = None, name: str = "the prompt", special_tokens: bool = False
) -> Row:
    """The row of a prompt; `gap`: its gaps are to be filled. Ids are taken as they are, none of them as well."""
    if prompt is None:
        if model.kind == "arm":
            raise UserError(f'{name} is None, a bare canvas, which an autoregressive model does not have; give ""')
        return Row([])
    if gap is None or not isinstance(prompt, str):
        row = Row(model.encode(prompt, special_tokens))
        return row if row.ids else behind_start(model, row)
    row = blanks(model, prompt, gap, special_tokens)
    return row if row.stretches[0].end else behind_start(model, row)


def behind_start(model: Model, row: Row) -> Row:
    """A row in which a document begins."""
    before = start_ids(model)
    by = len(before)
    moved = (replace(stretch, start=stretch.start + by, end=stretch.end + by) for stretch in row.stretches)
    return Row([*before, *row.ids], tuple(moved), by, bare=not before)


def blanks(model: Model, prompt: str, gap: int, special_tokens: bool = False) -> Row:
    """A text with `gap` masks for every blank; behind its begin token where it does not begin with a blank."""
    assert model.mask_id is not None
    pieces = model.pieces()
    first, *rest = BLANK.split(prompt)
    if not first and rest and rest[0] and pieces.tokenizer.drops_first_space:
        first, rest[0] = " ", ""  # a gap's first space would be taken for the tokenizer's own
    found = pieces.add(first, special_tokens)
    ids = model.begun(found) if found else []
    stretches = [Stretch(len(ids) - len(found), len(ids), first)]
    for space, text in zip(rest[::2], rest[1::2], strict=True):
        pieces.gap()
        found = pieces.add(text, special_tokens)
        start, end = len(ids), len(ids) + gap
        stretches += [Stretch(start, end, None, bool(space)), Stretch(end, end + len(found), text)]
        ids += [model.mask_id] * gap + found
    return Row(ids, tuple(stretches))


def filled_in(model: Model, tokens: Sequence[int], stretches: Sequence[Stretch]) -> str:
    """The text of a row with gaps: the caller's own between them, byte for byte, whatever its tokens spell. Tokens
    behind the last stretch go on from there."""
    parts, first = [], stretches[0].start  # a token that was put before it stands for no text
    for stretch in (*stretches, Stretch(stretches[-1].end, len(tokens), None)):
        text = stretch.text
        if text is None:
            text = model.decode_behind(tokens[first : stretch.start], tokens[stretch.start : stretch.end]) or ""
            text = f" {text}" if stretch.space and not text.startswith(" ") else text
        parts.append(text)
    return "".join(parts)


def tokens_with_a_space(model: Model) -> torch.Tensor:
    """Bool [V]: tokens whose text begins with a space; all of them where the vocabulary has none such."""
    assert model.tokenizer is not None
    return spaced_tokens(model.tokenizer, model.config.vocab_size)


@lru_cache(maxsize=8)
def spaced_tokens(tokenizer: Tokenizer, vocab_size: int) -> torch.Tensor:
    """Kept for the next call: a vocabulary takes tens of milliseconds."""
    texts = (tokenizer.token_text(token) for token in range(vocab_size))
    found_V = torch.tensor([text.startswith(" ") for text in texts])
    return found_V if found_V.any() else ~found_V


def start_ids(model: Model) -> list[int]:
    """What stands before the first token of a text: the model's begin token, or the end of the document before, where
    it has either; an autoregressive model cannot do without."""
    if model.start_id is None and model.kind == "arm":
        raise UserError("prompt is empty and the model has no end-of-sequence token to start from; give a prompt")
    return [] if model.start_id is None else [model.start_id]


def row_seeds(seed: int | Sequence[Seed], rows: int) -> list[tuple[int, int]]:
    """(seed, row) of each row."""
    if isinstance(seed, Integral):
        return [(int(seed), row) for row in range(rows)]
    try:
        pairs = [(int(s), 0) if isinstance(s, Integral) else (int(s[0]), int(s[1])) for s in seed]  # type: ignore
    except (TypeError, ValueError, IndexError):
        raise UserError(f"seed is {seed!r}; give a whole number, or one number or pair per prompt") from None
    if len(pairs) != rows:
        raise UserError(f"seed has {len(pairs)} entries for {rows} prompts; give one number, or one entry per prompt")
    return pairs
