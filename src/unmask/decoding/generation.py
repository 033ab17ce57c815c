"""What `generate` returns for one prompt.

    generation.text, generation.tokens, generation.nfe, generation.tokens_per_pass
    json.dumps(generation.to_dict())          # and Generation.from_dict(...)

In Python a trace is a list of events {step, position, token, probability}; in JSON it is four columns, which take a
third of the room. A position that becomes a mask again is an event whose token is the mask (the model's vocabulary
size) with probability 0; a token that gives way to another is a later event at the same position.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from unmask.decoding.prompts import Stretch, filled_in
from unmask.decoding.state.canvas import Canvas
from unmask.errors import UserError
from unmask.model.folder import Model

SCHEMA_VERSION = 2
READABLE_VERSIONS = (1, 2)  # in 1 a trace was a list, and there were no times
BESIDE = ("tokens_per_pass", "prompt", "ids", "fill", "settings")  # what a printed row holds besides
COLUMNS: dict[str, type] = {"step": int, "position": int, "token": int, "probability": float}


@dataclass
class Generation:
    """One finished row. `tokens`, `positions`, `steps` and `probabilities` run in parallel, by position.

    Times are of this machine and take no part in comparisons: two equal generations wrote the same.
    """

    tokens: list[int]  # the new tokens only
    text: str | None  # of the new tokens up to the first end of sequence; with blanks, of the whole row
    nfe: int  # passes of the network this row took part in; a guided pass counts 2
    stopped: str  # "length", "eos", "stop" (a stop string begins in the last token) or "filled" (only blanks)
    positions: list[int]  # where the new tokens stand in `canvas`
    steps: list[int]  # the step that committed each token last; -1 for a token the caller forced
    probabilities: list[float]  # p(token) when it was committed, at temperature 1, guidance included
    canvas: list[int]  # prompt and new tokens, behind an end of sequence where the text begins with new ones
    seed: tuple[int, int]  # `generate(..., seed=[generation.seed])` draws this row again
    trace: list[dict[str, Any]] | None = None  # events in order, or None if they were not kept
    seconds: float | None = dataclasses.field(default=None, compare=False)  # wall time until this row was done
    seconds_to_first: float | None = dataclasses.field(default=None, compare=False)  # until its first token
    computed: int = 0  # token positions the network ran for this row; a guided pass counts twice

    @property
    def tokens_per_pass(self) -> float:
        """New tokens over passes of the network, guided passes counting 2; 0 if there was no pass."""
        return len(self.tokens) / self.nfe if self.nfe else 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON values; `from_dict` is the way back."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["seed"] = list(self.seed)
        if self.trace is not None:
            fields["trace"] = {name: [event[name] for event in self.trace] for name in COLUMNS}
        return {"schema_version": SCHEMA_VERSION, "tokens_per_pass": self.tokens_per_pass, **fields}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Generation:
        """What `to_dict` made, or a row that `unmask sample` printed, without what it says of prompt and settings.

        Raises `UserError` naming the field that is missing, unknown or misshapen.
        """
        known_fields = {field.name: field for field in dataclasses.fields(cls)}
        fields = {name: value for name, value in fields.items() if name not in BESIDE}
        if "settings_hash" in fields:  # of --prompts: the user's own keys may stand there too
            fields = {name: fields[name] for name in (*known_fields, "schema_version") if name in fields}
        version = fields.pop("schema_version", None)
        if version not in READABLE_VERSIONS:
            known = " and ".join(map(str, READABLE_VERSIONS))
            raise UserError(f"generation.schema_version is {version!r}; this release reads {known}")
        if unknown := sorted(set(fields) - set(known_fields)):
            raise UserError(f"generation.{unknown[0]} is unknown; the file is of another program or damaged")
        for name, field in known_fields.items():
            if name not in fields and field.default is dataclasses.MISSING:
                raise UserError(f"generation.{name} is missing; the file is of another program or damaged")
        for name, kind in (("tokens", int), ("positions", int), ("steps", int), ("canvas", int), ("seed", int)):
            check_numbers(name, fields[name], kind)
        check_numbers("probabilities", fields["probabilities"], float)
        if len({len(fields[name]) for name in ("tokens", "positions", "steps", "probabilities")}) > 1:
            raise UserError("generation.tokens, positions, steps and probabilities differ in length")
        if len(fields["seed"]) != 2:
            raise UserError(f"generation.seed is {fields['seed']!r}; it is a pair of whole numbers")
        fields["seed"] = tuple(fields["seed"])
        if fields.get("trace") is not None:
            fields["trace"] = events(fields["trace"])
        return cls(**fields)


def events(trace: Any) -> list[dict[str, Any]]:
    """A trace as JSON holds it (columns, or events in schema 1), checked, as a list of events."""
    if isinstance(trace, list) and all(isinstance(event, dict) for event in trace):
        trace = {name: [event.get(name) for event in trace] for name in COLUMNS}
    if not isinstance(trace, dict) or set(trace) != set(COLUMNS):
        raise UserError(f"generation.trace is not the columns {', '.join(COLUMNS)}")
    for name, kind in COLUMNS.items():
        check_numbers(f"trace.{name}", trace[name], kind)
    if len({len(column) for column in trace.values()}) > 1:
        raise UserError("generation.trace has columns of different lengths")
    return [dict(zip(COLUMNS, row, strict=True)) for row in zip(*(trace[name] for name in COLUMNS), strict=True)]


def check_numbers(name: str, values: Any, kind: type) -> None:
    """`kind` is int, or float for which whole numbers do as well."""
    allowed = (int,) if kind is int else (int, float)
    if not isinstance(values, list | tuple) or any(type(value) not in allowed for value in values):
        raise UserError(f"generation.{name} is not a list of {'whole ' if kind is int else ''}numbers")


def results(
    canvas: Canvas,
    model: Model,
    surplus: Sequence[int],
    rows: Sequence[int],
    stretches: Sequence[Sequence[Stretch]],
) -> list[Generation]:
    """Finished rows of a canvas. surplus: how many characters at the end of each slot's text belong to a stop string,
    the rest of which was never kept. stretches: what the text with gaps of each of the rows was made of."""
    width = canvas.tokens_BL.shape[1]
    eos_B = canvas.first_eos_B(model.eos_ids).tolist()
    found = []
    for row, of_row in zip(rows, stretches, strict=True):
        eos = eos_B[row]
        length, start = int(canvas.lengths_B[row]), int(canvas.starts_B[row])
        positions = canvas.new_BL[row].nonzero().flatten().tolist()
        tokens = canvas.tokens_BL[row, :length].tolist()
        blanks = bool(positions) and positions[0] < start
        stopped = canvas.ended[row] or ("eos" if eos < width else "length" if length > start else "filled")
        given = int(canvas.added_B[row])  # where what the caller gave begins
        kept = tokens[: eos + 1]  # an end that is a special token stands for no text, a full stop is a full stop
        if of_row:
            text: str | None = filled_in(model, kept, of_row)
        elif blanks:
            text = model.decode(kept[given:])
        else:
            text = model.decode_behind(kept[given:start], kept[start:])
        if text is not None:
            text = text[: max(len(text) - surplus[row], 0)]
        found.append(
            Generation(
                tokens=[tokens[p] for p in positions],
                text=text,
                nfe=int(canvas.nfe_B[row]),
                stopped=stopped,
                positions=positions,
                steps=canvas.step_BL[row, positions].tolist(),
                probabilities=canvas.probability_BL[row, positions].tolist(),
                canvas=tokens,
                seed=canvas.seeds[row],
                trace=canvas.trace[row],
                seconds=measured(canvas.finished_B[row]),
                seconds_to_first=measured(canvas.first_B[row]),
                computed=int(canvas.computed_B[row]),
            )
        )
    return found


def measured(seconds: torch.Tensor) -> float | None:
    """A time of the canvas, in which -1 stands for never."""
    return None if seconds < 0 else float(seconds)
