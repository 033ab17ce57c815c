"""Conversations as text: which template's words stand around each turn, and which parts a model learns to write.

    render([Turn("user", "Hi"), Turn("assistant", "Hello.")], template("vicuna"))
    # [Part("A chat ... USER: Hi ASSISTANT:", False, False), Part(" Hello.", True, True)]

A template is five plain strings, `{content}` standing for the turn's text; no template language and nothing that runs.
The white space before an answer belongs to the answer, where most tokenizers put it, so that a prompt for sampling is
the text up to there. An end-of-sequence token follows each answer. Special tokens that a template's words spell
(``<|im_start|>``) are their ids where the tokenizer has them; what a turn spells is text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from unmask.errors import UserError, nearest

SLOT = "{content}"
ROLES = {"system": "system", "user": "user", "assistant": "assistant", "human": "user", "gpt": "assistant"}


@dataclass(frozen=True)
class Template:
    """The words around the turns of a conversation."""

    system: str  # a system turn
    default_system: str  # what stands first in a conversation without one
    user: str
    lead: str  # before each answer; no part of it
    answer: str


@dataclass(frozen=True)
class TemplateFields:
    """A template's strings in a recipe; null takes the named template's."""

    system: str | None = None
    default_system: str | None = None
    user: str | None = None
    lead: str | None = None
    answer: str | None = None


_VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions. "
)
TEMPLATES = {
    # Nothing added: prompts that say themselves where the answer begins.
    "raw": Template(SLOT, "", SLOT, "", SLOT),
    # A line break after each prompt.
    "plain": Template(f"{SLOT}\n", "", f"{SLOT}\n", "", SLOT),
    # FastChat's v1.1, which the paper took for ShareGPT.
    "vicuna": Template(f"{SLOT} ", _VICUNA, f"USER: {SLOT} ", "ASSISTANT:", f" {SLOT}"),
    # Its special tokens are text to a base model's tokenizer, which has none of them.
    "chatml": Template(
        f"<|im_start|>system\n{SLOT}<|im_end|>\n",
        "",
        f"<|im_start|>user\n{SLOT}<|im_end|>\n",
        "<|im_start|>assistant\n",
        SLOT,
    ),
}


def template(name: str, changes: TemplateFields | None = None) -> Template:
    """A built-in template with some of its strings replaced. Raises `UserError` naming the field."""
    if name not in TEMPLATES:
        raise UserError(
            f"sft.template is {name!r}{nearest(name, TEMPLATES)}; give one of {', '.join(TEMPLATES)}, "
            "or your own strings in sft.strings"
        )
    given = {} if changes is None else {k: v for k, v in vars(changes).items() if v is not None}
    for field in ("system", "user", "answer"):
        if field in given and given[field].count(SLOT) != 1:
            raise UserError(f"sft.strings.{field} is {given[field]!r}; it must hold {SLOT} once")
    return dataclasses.replace(TEMPLATES[name], **given)


@dataclass(frozen=True)
class Turn:
    role: str  # system, user or assistant
    content: str


@dataclass(frozen=True)
class Part:
    """A stretch of text between two changes of what is learned."""

    text: str
    learned: bool  # scored, and noised in masked diffusion
    ends: bool  # an end-of-sequence token follows, which is learned where the text is
    words: tuple[tuple[str, bool], ...] = dataclasses.field(default=(), compare=False)  # see `pieces`

    @property
    def pieces(self) -> tuple[tuple[str, bool], ...]:
        """The text in parts, each with whether it is the template's own; else it is a turn's."""
        return self.words or ((self.text, False),)

    @classmethod
    def of(cls, words: Sequence[tuple[str, bool]], learned: bool, ends: bool) -> Part:
        return cls("".join(text for text, _ in words), learned, ends, tuple(words))


def filled(string: str, content: str) -> list[tuple[str, bool]]:
    """A template's string with a turn's text in it, as `Part.pieces`."""
    before, slot, behind = string.partition(SLOT)
    return [(before, True), (content, False), (behind, True)] if slot else [(before, True)]


def render(turns: Sequence[Turn], words: Template, learn: str = "all") -> list[Part]:
    """The parts of a conversation up to its last answer, prompts and answers in turn.

    learn: which answers are learned: `all`, the `last` one, or the `first` one, after which the conversation is cut.
    Empty where there is no answer.
    """
    answers = [i for i, turn in enumerate(turns) if turn.role == "assistant"]
    if not answers:
        return []
    end = answers[0] if learn == "first" else answers[-1]
    before = [] if turns[0].role == "system" else [(words.default_system, True)]
    parts: list[Part] = []
    for index, turn in enumerate(turns[: end + 1]):
        if turn.role == "assistant":
            parts.append(Part.of([*before, (words.lead, True)], False, False))
            parts.append(Part.of(filled(words.answer, turn.content), learn != "last" or index == end, True))
            before = []
        else:
            before += filled(words.system if turn.role == "system" else words.user, turn.content)
    return parts
