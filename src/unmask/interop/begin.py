"""The begin token of a published tokenizer: whether one stands before every text, and a tokenizer.json that says so.

    begin_token("SmolLM2-135M", tokenizer)            # its id, or None
    framed(tokenizer, bos=1)                          # tokenizer.json as text; transformers then puts <s> before a text

A model has learned with a begin token or without one, and reads a text in another way where that changes. So the model
folder records it (`bos`), an import takes it from where transformers would, and an export hands it on.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from unmask.errors import UserError
from unmask.model.special_tokens import declared, side_files
from unmask.model.tokenizers import Tokenizer


def begin_token(path: str | Path, tokenizer: Tokenizer) -> int | None:
    """The token that transformers puts before a text with the tokenizer at `path`, a folder or a tokenizer.json:
    `add_bos_token` of its tokenizer_config.json decides, or else the post-processor of tokenizer.json.

    Raises `UserError` for an `add_bos_token` without a `bos_token` that the vocabulary holds.
    """
    sides = side_files(Path(path) if Path(path).is_dir() else Path(path).parent)
    flag = declared(sides, "add_bos_token")
    if flag is True:
        name = declared(sides, "bos_token")
        token = library(tokenizer).token_to_id(name) if isinstance(name, str) else None
        if token is None:
            raise UserError(f"{path}: add_bos_token is true, but its bos_token {name!r} is no token; mend either")
        return token
    before, _ = frame(tokenizer)
    if flag is False or not before:
        return None
    if len(before) > 1:
        names = ", ".join(tokenizer.token_text(token) for token in before)
        warnings.warn(f"{path} puts {names} before every text; only the first of them is taken", stacklevel=3)
    return before[0]


def library(tokenizer: Tokenizer) -> Any:
    """The same as an object of the `tokenizers` library, which reads all of the file."""
    from tokenizers import Tokenizer as Inner

    return Inner.from_str(tokenizer.to_json())


def name_of(tokenizer: Tokenizer, token: int) -> str:
    """A token's name in the vocabulary, which for one of text need not be the text it stands for."""
    return str(library(tokenizer).id_to_token(token))


def frame(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The tokens that the file's own post-processor puts before a text and behind it, which we leave out."""
    inner = library(tokenizer)
    inner.no_truncation()
    inner.no_padding()
    bare, whole = inner.encode("a", add_special_tokens=False).ids, inner.encode("a").ids
    at = next((n for n in range(len(whole)) if whole[n : n + len(bare)] == bare), 0)
    return whole[:at], whole[at + len(bare) :]


def framed(tokenizer: Tokenizer, bos: int | None) -> str:
    """tokenizer.json that puts `bos`, and nothing else, before a text, and nothing behind it; one that does so already
    keeps its post-processor. Our mark of the end of sequence goes: tokenizer_config.json tells it instead."""
    fields = json.loads(tokenizer.to_json())
    for token in fields.get("added_tokens") or []:
        token.pop("eos", None)
    if frame(tokenizer) != ([] if bos is None else [bos], []):
        old = fields.get("post_processor") or {}
        # What only moves offsets stays.
        kept = [processor for processor in old.get("processors", [old]) if processor.get("type") == "ByteLevel"]
        processors = kept if bos is None else [*kept, template(name_of(tokenizer, bos), bos)]
        several = {"type": "Sequence", "processors": processors}
        fields["post_processor"] = several if len(processors) > 1 else processors[0] if processors else None
    return json.dumps(fields, ensure_ascii=False)


def template(name: str, token: int) -> dict[str, Any]:
    """A post-processor that puts one token before every text."""
    begin, first = {"SpecialToken": {"id": name, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    again, second = {"SpecialToken": {"id": name, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}
    return {
        "type": "TemplateProcessing",
        "single": [begin, first],
        "pair": [begin, first, again, second],
        "special_tokens": {name: {"id": name, "ids": [token], "tokens": [name]}},
    }
