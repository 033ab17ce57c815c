"""From what a caller gives to rows of token ids: prompts, blanks in texts, seeds, the end of sequence.

rows = as_list(prompts); ids, word_starts = blanks(model, "The ____ of the Union", gap=2)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
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


def as_list(prompts: Prompt | Sequence[Prompt]) -> list[Prompt]:
    """One text, or one list of ids, counts as a list of one prompt; arrays and tensors of ids are lists of them.

    Raises `UserError` naming the first prompt that is neither text nor ids.
    """
    if isinstance(prompts, np.ndarray | torch.Tensor):
        prompts = prompts.tolist()
    if isinstance(prompts, str) or (len(prompts) and isinstance(prompts[0], Integral)):
        return [prompts]  # type: ignore[list-item]
    for number, prompt in enumerate(prompts):
        if not isinstance(prompt, str | Sequence | np.ndarray | torch.Tensor):
            raise UserError(f"prompt {number} is {prompt!r}; give a text or a list of token ids")
    return list(prompts)  # type: ignore[arg-type]


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
    if model.config.eos_id is not None:
        return model.config.eos_id
    return None if model.tokenizer is None else model.tokenizer.eos_id


def start_token(eos_id: int | None) -> int:
    """What an ARM continues when the prompt is empty: the end of a document before."""
    if eos_id is None:
        raise UserError("prompt is empty and the model has no end-of-sequence token to start from; give a prompt")
    return eos_id


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
