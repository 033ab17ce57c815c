"""Decoding traces as files: what was written when, readable without the model.

    save_trace("out.json", generations, model)
    trace = load_trace("out.json")            # trace.generations, trace.texts, trace.settings
    write_html("out.html", trace)             # see page.py

    unmask sample RUN --prompt "My fellow" --trace out.json

A file holds the generations in full, the text of every token that appears in them, the kind of model and the settings
it was called with. It appears under its name only when it is whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unmask._version import __version__
from unmask.decoding.generation import Generation
from unmask.errors import UserError
from unmask.files import write_whole
from unmask.model.folder import Model

SCHEMA_VERSION = 1


@dataclass
class Trace:
    """Generations of one call, with what it takes to show them."""

    generations: list[Generation]
    kind: str  # of the model: "mdm" or "arm"
    mask_id: int  # the token of a trace's events that stands for "a mask again"
    eos_id: int | None
    texts: dict[int, str]  # of every token in the generations, the mask left out
    settings: dict[str, Any] = field(default_factory=dict)  # JSON values, as the caller gave them
    eos_ids: tuple[int, ...] = ()  # all tokens that end a text; (): `eos_id` alone
    rows: list[dict[str, Any]] | None = None  # the generations as `unmask sample --json` prints them

    @classmethod
    def of(cls, generations: Sequence[Generation], model: Model, settings: Mapping[str, Any] | None = None) -> Trace:
        """Raises `UserError` when there is nothing to show, or a generation without its trace."""
        if not generations:
            raise UserError("there is no generation to show; give at least one")
        mask_id = model.config.blank_id
        appear: set[int] = set()
        for number, generation in enumerate(generations):
            if generation.trace is None:
                raise UserError(f"generation {number} has no trace; generate it with trace=True")
            appear.update(generation.canvas, (event["token"] for event in generation.trace))
        texts = {token: token_text(model, token) for token in sorted(appear - {mask_id})}
        eos_id = model.eos_ids[0] if model.eos_ids else None
        return cls(list(generations), model.kind, mask_id, eos_id, texts, dict(settings or {}), eos_ids=model.eos_ids)

    def __post_init__(self) -> None:
        if not self.eos_ids and self.eos_id is not None:
            self.eos_ids = (self.eos_id,)

    def to_dict(self) -> dict[str, Any]:
        """JSON values; `from_dict` is the way back."""
        return {
            "schema_version": SCHEMA_VERSION,
            "unmask_version": __version__,
            "kind": self.kind,
            "mask_id": self.mask_id,
            "eos_id": self.eos_id,
            **({"eos_ids": list(self.eos_ids)} if len(self.eos_ids) > 1 else {}),
            "settings": self.settings,
            "texts": {str(token): text for token, text in self.texts.items()},
            "generations": self.rows or [generation.to_dict() for generation in self.generations],
        }

    @classmethod
    def from_dict(cls, fields: Any) -> Trace:
        """Raises `UserError` naming what is not as `to_dict` writes it."""
        if not isinstance(fields, dict) or "generations" not in fields:
            raise UserError("it is not a decoding trace (no `generations`)")
        if fields.get("schema_version") != SCHEMA_VERSION:
            raise UserError(f"schema_version is {fields.get('schema_version')!r}, this release reads {SCHEMA_VERSION}")
        texts, settings, eos_id = fields.get("texts"), fields.get("settings"), fields.get("eos_id")
        if not isinstance(texts, dict) or not all(k.isdecimal() and isinstance(v, str) for k, v in texts.items()):
            raise UserError("`texts` is not a mapping from token ids to texts")
        if not isinstance(settings, dict):
            raise UserError("`settings` is not a mapping")
        if fields.get("kind") not in ("mdm", "arm") or type(fields.get("mask_id")) is not int:
            raise UserError("`kind` (mdm or arm) or `mask_id` is missing")
        if eos_id is not None and type(eos_id) is not int:
            raise UserError(f"`eos_id` is {eos_id!r}, not a token id")
        eos_ids = fields.get("eos_ids", [])
        if not isinstance(eos_ids, list) or any(type(token) is not int for token in eos_ids):
            raise UserError(f"`eos_ids` is {eos_ids!r}, not a list of token ids")
        rows = fields["generations"]
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            raise UserError("`generations` is not a list of results")
        trace = cls(
            [Generation.from_dict(row) for row in rows],
            fields["kind"],
            fields["mask_id"],
            eos_id,
            {int(token): text for token, text in texts.items()},
            settings,
            eos_ids=tuple(eos_ids),
        )
        trace.check()
        return trace

    def check(self) -> None:
        """Raises `UserError` for a row without a trace, tokens without a text, and positions below 0."""
        for number, generation in enumerate(self.generations):
            if generation.trace is None:
                raise UserError(f"generation {number} has no trace")
            tokens = {*generation.canvas, *(event["token"] for event in generation.trace)}
            if missing := tokens - set(self.texts) - {self.mask_id}:
                raise UserError(f"generation {number} has token {min(missing)}, which `texts` lacks")
            last = len(generation.canvas) - 1
            if any(not 0 <= position <= last for position in generation.positions):
                raise UserError(f"generation {number} has a position outside 0..{last}")
            if any(event["position"] < 0 for event in generation.trace):
                raise UserError(f"generation {number} has an event at a position below 0")


def save_trace(
    path: str | Path,
    generations: Sequence[Generation],
    model: Model,
    settings: Mapping[str, Any] | None = None,
    rows: list[dict[str, Any]] | None = None,
) -> Path:
    """Writes generations of one call to a JSON file and returns its path; an old file is replaced.

    `settings` are what the page is to say about the call, `rows` the generations as `unmask sample --json` prints them,
    with their prompts. Raises `UserError` for a generation without a trace and a file that cannot be written.
    """
    trace = Trace.of(generations, model, settings)
    trace.rows = rows
    return write_whole(path, json.dumps(trace.to_dict(), ensure_ascii=False) + "\n")


def load_trace(path: str | Path) -> Trace:
    """What `save_trace` wrote. Raises a one-line `UserError` that names the file, whatever else it holds."""
    try:
        return Trace.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; give a file that --trace wrote") from error
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} cannot be read as JSON: {reason}; give a file that --trace wrote") from error
    except UserError as error:
        raise UserError(f"{path}: {error}; give a file that --trace wrote") from error


def token_text(model: Model, token: int) -> str:
    """A token's own text, or without a tokenizer its number behind a space."""
    return f" {token}" if model.tokenizer is None else model.tokenizer.token_text(token)


def visible(text: str) -> str:
    """Text whose control characters are spelled out: it can neither steer a terminal nor turn a line around."""
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)
