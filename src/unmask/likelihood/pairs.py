"""(context, continuation) pairs, text or token ids, to the tokens a model scores.

    Pair.make(model, "My fellow ", "Americans", index=0)

Two texts are encoded together, as they stand in running text: trailing white space of the context first moves to the
continuation, where most tokenizers put it, and scoring begins at the first token that differs from the context's own.
A token that straddles the border is scored whole, and `n_bytes` counts the bytes of all that is scored, its part of the
context among them. (lm-evaluation-harness begins behind as many tokens as the context has by itself, so that such a
token is given away.)
Before an empty context stands a clean end-of-sequence token, or the model's begin token, where it has one: it tells
that a text begins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from unmask.errors import UserError
from unmask.model.folder import Model

Tokens = str | Sequence[int]


@dataclass(frozen=True, eq=False)
class Pair:
    """Tokens with the first `start` of them given; `prompt` of these are the user's (a start that was added is not)."""

    ids_T: np.ndarray
    start: int
    prompt: int
    n_bytes: int | None  # of the scored tokens; None where nothing tells
    dropped: int  # context tokens cut off on the left

    @property
    def n_tokens(self) -> int:
        return len(self.ids_T) - self.start

    @property
    def key(self) -> int:
        """What its noise is keyed by, so that neither batch nor order of the pairs matters: the context, so that the
        answers of a multiple choice have common random numbers; without a context, the text itself."""
        known_T = self.ids_T[: self.start] if self.prompt else self.ids_T
        digest = hashlib.sha256(np.int64(self.start).tobytes() + known_T.tobytes())
        return int.from_bytes(digest.digest()[:8], "little")

    @classmethod
    def make(
        cls, model: Model, context: Tokens, continuation: Tokens, index: int | str, special_tokens: bool = False
    ) -> Pair:
        """Raises `UserError` naming the pair by `index` (a number, or words) where it cannot be scored."""
        name = index if isinstance(index, str) else f"pair {index}"
        if len(continuation) == 0:
            raise UserError(f"{name} has an empty continuation; give at least one token to score")
        context_ids, ids, n_bytes, prompt = _encode(model, context, continuation, name, special_tokens)
        if not ids:
            raise UserError(f"{name}: the continuation has no token of its own; give more text")
        room = model.config.block_size - len(ids)
        if room < min(1, len(context_ids)):
            most = model.config.block_size - min(1, len(context_ids))
            raise UserError(
                f"{name}: the continuation has {len(ids)} tokens, the context of {model.config.block_size} "
                f"holds {most}; split it"
            )
        return cls._of(context_ids, ids, n_bytes, prompt, room)

    @classmethod
    def make_pieces(
        cls, model: Model, context: Tokens, continuation: Tokens, index: int | str, special_tokens: bool = False
    ) -> list[Pair]:
        """One pair, or several where the continuation does not fit: pieces of half the model's context, each given the
        tokens before it. Their log-likelihoods add up; a continuation without a token has no pieces."""
        name = index if isinstance(index, str) else f"pair {index}"
        context_ids, ids, n_bytes, prompt = _encode(model, context, continuation, name, special_tokens)
        if not ids:
            return []
        block = model.config.block_size
        if len(ids) + min(1, len(context_ids)) <= block:
            return [cls._of(context_ids, ids, n_bytes, prompt, block - len(ids))]
        half = max(1, block // 2)
        pieces = []
        for start in range(0, len(ids), half):
            piece = ids[start : start + half]
            own = model.tokenizer.n_bytes(piece) if model.tokenizer is not None and start else None
            pieces.append(cls._of(context_ids + ids[:start], piece, own, prompt, block - len(piece)))
        if n_bytes is not None:  # the first piece's are what the others leave: a tokenizer may put a space before it
            first = max(0, n_bytes - sum(piece.n_bytes or 0 for piece in pieces[1:]))
            pieces[0] = replace(pieces[0], n_bytes=first)
        return pieces

    @classmethod
    def _of(cls, context_ids: list[int], ids: list[int], n_bytes: int | None, prompt: int, room: int) -> Pair:
        kept = context_ids[max(0, len(context_ids) - room) :]
        dropped = len(context_ids) - len(kept)
        all_ids = np.array([*kept, *ids], dtype=np.int64)
        return cls(all_ids, len(kept), max(0, prompt - dropped), n_bytes, dropped)


def _encode(
    model: Model, context: Tokens, continuation: Tokens, name: str, special_tokens: bool
) -> tuple[list[int], list[int], int | None, int]:
    """Token ids of the context (at least what stands before a text, where there is such a token) and of what is scored
    (none of an empty continuation), its bytes, and how many tokens of the context are the user's."""
    n_bytes: int | None
    if isinstance(context, str) and isinstance(continuation, str):
        context_ids, ids, n_bytes = _encode_jointly(model, context, continuation, special_tokens)
    else:
        context_ids = model.encode(context, special_tokens) if len(context) else []
        if isinstance(continuation, str):
            pieces = model.pieces()
            pieces.given(context_ids)
            ids = pieces.add(continuation, special_tokens)
            n_bytes = len(continuation.encode())
        else:
            ids = model.encode(continuation)
            n_bytes = model.tokenizer.n_bytes(ids) if model.tokenizer else None
    if model.mask_id in ids:
        raise UserError(f"{name}: the continuation holds the mask ({model.mask_id}); give clean tokens")
    prompt, start_id = len(context_ids), model.start_id
    if not context_ids:
        if start_id is None and model.kind == "arm":
            raise UserError(f"{name} has no context and the model no eos_id to begin with; give a context")
        context_ids = [] if start_id is None else [start_id]
        if isinstance(continuation, str) and model.config.bos is not None:
            ids = ids[ids[:1] == [model.config.bos] :]  # a begin token that it spells stands there already
    return context_ids, ids, n_bytes, prompt


def make_pairs(model: Model, pairs: Sequence[tuple[Tokens, Tokens]], special_tokens: bool = False) -> list[Pair]:
    """A `Pair` of each (context, continuation). Raises `UserError` naming the first that is none."""
    made = []
    for index, pair in enumerate(pairs):
        if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2:
            raise UserError(f"pair {index} is not a (context, continuation); give two texts or two lists of token ids")
        try:
            made.append(Pair.make(model, *pair, index=index, special_tokens=special_tokens))
        except (TypeError, ValueError) as error:
            raise UserError(f"pair {index} holds neither texts nor lists of token ids; give either") from error
    return made


def _encode_jointly(
    model: Model, context: str, continuation: str, special_tokens: bool
) -> tuple[list[int], list[int], int]:
    bare = context.rstrip()
    continuation = context[len(bare) :] + continuation
    whole = model.pieces().add(bare + continuation, special_tokens)
    alone = model.pieces().add(bare, special_tokens)
    shared = 0
    # Where a token straddles the border it is scored: the context must not give away what it completes to.
    for given, token in zip(alone, whole, strict=False):
        if given != token:
            break
        shared += 1
    n_bytes = len(continuation.encode())
    if shared < len(alone) and whole[shared:]:  # what the straddling token takes of the context is scored too
        assert model.tokenizer is not None
        all_of_it = len(bare.encode())
        n_bytes += min(all_of_it, model.tokenizer.n_bytes(alone[shared:])) if shared else all_of_it
    return model.begun(whole[:shared]) if shared else [], whole[shared:], n_bytes
