"""A byte-level BPE of a few hundred tokens, and rules of every kind, for what a text must keep to."""

from __future__ import annotations

from unmask.decoding import Generation
from unmask.model.tokenizers import Tokenizer

TEXT = "On 1790-01-08 the people of the United States; on 1791-12-31, Überfluß for €5 and no more. " * 5
BPE = Tokenizer.train_bpe(330, [TEXT])
DATE = r"\d{4}-\d{2}-\d{2}"
RULES = [
    {},
    {"order": "first-hitting"},
    {"order": "confidence", "quota": "even", "steps": 3},
    {"order": "confidence", "threshold": 0.1},
    {"order": "random", "block": 4, "steps": 4},
    {"order": "margin", "temperature": 0.0, "cache": "dual", "block": 3},
    {"order": "left-to-right", "quota": "even", "guidance": 1.0},
    {"order": "entropy", "revise": "p2", "steps": 6},
    {"order": "ancestral", "revise": "remdm-cap:0.3", "steps": 9},
    {"order": "confidence", "threshold": 0.2, "revise": "edit:0.1"},
]


def ended(g: Generation) -> list[int]:
    """Tokens up to the first end of sequence, behind which there is nothing else."""
    text = g.tokens[: g.tokens.index(0)] if 0 in g.tokens else g.tokens
    assert set(g.tokens[len(text) :]) <= {0}
    return text
