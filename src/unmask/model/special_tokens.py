"""Special tokens: which a tokenizer has, where a text spells them, and what the files beside it say of begin and end.

    Specials(fields["added_tokens"]).split("<|im_start|>user\\nHi<|im_end|>")    # [1, "user\\nHi", 2]
    declared(files, "eos_token")                                             # "</s>"

A special token stands for no text. In a text they are found only where somebody asks for it: a document that spells
``<|im_end|>`` does not end there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from unmask.errors import UserError
from unmask.files import parse_json


class Specials:
    """The special ones among a tokenizer.json's added tokens."""

    def __init__(self, added_tokens: Sequence[Mapping[str, Any]]) -> None:
        tokens = [token for token in added_tokens if token["special"] and token["content"].strip()]
        self.ids = {token["content"].strip(): int(token["id"]) for token in tokens}
        parts = []
        for token in sorted(tokens, key=lambda token: -len(token["content"])):  # the longest first
            before, behind = (r"\s*" if token.get(side) else "" for side in ("lstrip", "rstrip"))
            parts.append(before + re.escape(token["content"]) + behind)  # some take the white space beside them along
        self.pattern = re.compile("|".join(parts)) if parts else None

    def split(self, text: str) -> list[str | int]:
        """`text` in parts: texts that are not empty, and the ids of the special tokens between them."""
        parts: list[str | int] = []
        at = 0
        for match in self.pattern.finditer(text) if self.pattern is not None else ():
            parts += [text[at : match.start()], self.ids[match[0].strip()]]
            at = match.end()
        return [part for part in (*parts, text[at:]) if part != ""]


def declared(files: Iterable[Path], name: str) -> Any:
    """What the first of some tokenizer_config.json or special_tokens_map.json that has an entry `name` says there: a
    token by its text, another value as it is; None where none has it."""
    for file in files:
        try:
            entry = parse_json(file.read_text(encoding="utf-8")).get(name)
        except (OSError, ValueError, AttributeError) as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise UserError(f"{file} is not a JSON object: {reason}") from error
        entry = entry.get("content") if isinstance(entry, dict) else entry
        if entry is not None:
            return entry
    return None


def side_files(folder: Path) -> list[Path]:
    """Those files beside a tokenizer.json."""
    names = ("tokenizer_config.json", "special_tokens_map.json")
    return [folder / name for name in names if (folder / name).is_file()]


def marked(fields: dict[str, Any], eos: str, vocab: Mapping[str, int], where: str) -> str:
    """A tokenizer.json that says which token ends a sequence, by a key of its entry under added_tokens that the library
    ignores. Raises `UserError` for a token that `vocab` lacks."""
    added = fields.setdefault("added_tokens", [])
    entry = next((token for token in added if token["content"] == eos), None)
    if entry is None:
        if eos not in vocab:
            raise UserError(f"{where}: its configuration names the eos_token {eos!r}, which the vocabulary lacks")
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        entry = {"id": vocab[eos], "content": eos, **flags, "special": True}
        added.append(entry)
    for token in added:
        token.pop("eos", None)
    entry["eos"] = True
    return json.dumps(fields, ensure_ascii=False)
