"""What `generate` returns for one prompt.

generation.text, generation.tokens, generation.nfe
json.dumps(generation.to_dict())          # and Generation.from_dict(...)
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from unmask.decoding.canvas import Canvas
from unmask.errors import UserError
from unmask.model.folder import Model

SCHEMA_VERSION = 1


@dataclass
class Generation:
    """One finished row. `tokens`, `positions`, `steps` and `probabilities` run in parallel, by position."""

    tokens: list[int]  # the new tokens only
    text: str | None  # of the new tokens up to the first end of sequence; with blanks, of the whole row
    nfe: int  # passes of the network this row took part in; a guided pass counts 2
    stopped: str  # "length", "eos" (one was written behind the prompt) or "filled" (there were only blanks)
    positions: list[int]  # where the new tokens stand in `canvas`
    steps: list[int]  # the step that committed each token
    probabilities: list[float]  # p(token) when it was committed, at temperature 1, guidance included
    canvas: list[int]  # prompt and new tokens
    seed: tuple[int, int]  # `generate(..., seed=[generation.seed])` draws this row again
    trace: list[dict[str, Any]] | None = None  # {step, position, token, probability} as committed

    def to_dict(self) -> dict[str, Any]:
        """JSON values; `from_dict` is the way back."""
        return {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self), "seed": list(self.seed)}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Generation:
        fields = dict(fields)
        version = fields.pop("schema_version", None)
        if version != SCHEMA_VERSION:
            raise UserError(f"generation.schema_version is {version!r}; this release reads {SCHEMA_VERSION}")
        return cls(**{**fields, "seed": tuple(fields["seed"])})


def results(canvas: Canvas, model: Model, eos_id: int | None) -> list[Generation]:
    """The finished rows of a canvas."""
    width = canvas.tokens_BL.shape[1]
    eos_B = [width] * len(canvas.tokens_BL) if eos_id is None else canvas.first_eos_B(eos_id).tolist()
    found = []
    for row, eos in enumerate(eos_B):
        length, start = int(canvas.lengths_B[row]), int(canvas.starts_B[row])
        positions = canvas.new_BL[row].nonzero().flatten().tolist()
        tokens = canvas.tokens_BL[row, :length].tolist()
        blanks = bool(positions) and positions[0] < start
        stopped = "eos" if eos < width else "length" if length > start else "filled"
        found.append(
            Generation(
                tokens=[tokens[p] for p in positions],
                text=model.decode(tokens[:eos]) if blanks else continuation(model, tokens[:eos], start),
                nfe=int(canvas.nfe_B[row]),
                stopped=stopped,
                positions=positions,
                steps=canvas.step_BL[row, positions].tolist(),
                probabilities=canvas.probability_BL[row, positions].tolist(),
                canvas=tokens,
                seed=canvas.seeds[row],
                trace=None if canvas.trace is None else canvas.trace[row],
            )
        )
    return found


def continuation(model: Model, tokens: list[int], start: int) -> str | None:
    """The text of the tokens from `start` on, as it stands behind the others.

    Decoded alone, the tokens of many vocabularies (sentencepiece) lose the space that parts them from the prompt.
    """
    whole, prompt = model.decode(tokens), model.decode(tokens[:start])
    if whole is not None and prompt is not None and whole.startswith(prompt):
        return whole[len(prompt) :]
    return model.decode(tokens[start:])  # the prompt ends within a character
