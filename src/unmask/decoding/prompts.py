"""From what a caller gives to rows of token ids: prompts, blanks in texts, seeds, the end of sequence.

rows = as_list(prompts); row = read_prompt(model, "The ____ of the Union", gap=2); row.ids, row.word_starts

What begins a document begins behind a clean end of sequence, which tells the model so, as `score` has it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral

import numpy as np
import torch

from unmask.errors import UserError
from unmask.model.folder import Model

# A blank takes the space before it along, since in most vocabularies a word's token holds that space, and then begins
# with a token that does: the text keeps its word boundary.
BLANK = re.compile(r"( ?)_{2,}")

Prompt = str | Sequence[int]
Seed = int | tuple[int, int]


@dataclass
class Row:
    """What stands in a row before its new tokens."""

    ids: list[int]  # masks are blanks
    word_starts: list[int] = field(default_factory=list)  # which of the masks stand for a space as well
    added: int = 0  # tokens at the beginning that the caller did not give
    bare: bool = False  # an end of sequence should have been added, and the model has none


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


def read_prompt(model: Model, prompt: Prompt | None, gap: int | None = None, name: str = "the prompt") -> Row:
    """The row of a prompt; `gap`: its gaps are to be filled. Ids are taken as they are, none of them as well."""
    if prompt is None:
        if model.kind == "arm":
            raise UserError(f'{name} is None, a bare canvas, which an autoregressive model does not have; give ""')
        return Row([])
    ids, word_starts = (model.encode(prompt), []) if gap is None else blanks(model, prompt, gap)
    begins_in_gap = gap is not None and isinstance(prompt, str) and ids[:1] == [model.mask_id]
    if ids and not begins_in_gap:
        return Row(ids, word_starts)
    before = start_ids(model)
    return Row([*before, *ids], [at + len(before) for at in word_starts], len(before), bare=not before)


def blanks(model: Model, prompt: Prompt, gap: int) -> tuple[list[int], list[int]]:
    """Token ids with `gap` masks for every blank of a text (ids are taken as they are), and which of the masks stand
    for a space as well."""
    if not isinstance(prompt, str):
        return model.encode(prompt), []
    assert model.mask_id is not None
    first, *rest = BLANK.split(prompt)
    ids, word_starts = model.encode(first), []
    for space, piece in zip(rest[::2], rest[1::2], strict=True):
        word_starts += [len(ids)] if space else []
        ids += [model.mask_id] * gap + encode_behind(model, piece)
    return ids, word_starts


def encode_behind(model: Model, piece: str) -> list[int]:
    """Token ids of a text that goes on behind another: some vocabularies (Llama) put a space of their own before the
    first word of what they are given, which would stand beside the one that is there."""
    if piece.startswith(" "):
        before, whole = model.encode("a"), model.encode(f"a{piece}")
        if whole[: len(before)] == before:
            return whole[len(before) :]
    return model.encode(piece)


def tokens_with_a_space(model: Model) -> torch.Tensor:
    """Bool [V]: tokens whose text begins with a space; all of them where the vocabulary has none such."""
    assert model.tokenizer is not None
    texts = (model.tokenizer.token_text(token) for token in range(model.config.vocab_size))
    found_V = torch.tensor([text.startswith(" ") for text in texts])
    return found_V if found_V.any() else ~found_V


def end_of_sequence(model: Model) -> int | None:
    return model.eos_id


def start_ids(model: Model) -> list[int]:
    """What stands before the first token of a text: the end of the document before, where the model has such a token;
    an autoregressive model cannot do without."""
    eos_id = end_of_sequence(model)
    if eos_id is None and model.kind == "arm":
        raise UserError("prompt is empty and the model has no end-of-sequence token to start from; give a prompt")
    return [] if eos_id is None else [eos_id]


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
