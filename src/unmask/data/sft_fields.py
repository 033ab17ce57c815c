"""Fine-tuning as keys of a recipe; no heavy import, since `unmask train --help` lists them.

    sft: {format: gsm8k, padding: ignore, packing: true}

What they mean stands in `sft.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from unmask.data.chat import TEMPLATES, TemplateFields, template
from unmask.errors import UserError
from unmask.options import Options, option


@dataclass(frozen=True)
class FieldNames(Options):
    """The keys of a line."""

    prompt: str | None = option(None, "key of the prompt; null: prompt, for gsm8k question")
    completion: str | None = option(None, "key of the answer; null: completion, for gsm8k answer")
    messages: str = option("messages", "key of a conversation")
    role: str = option("role", "key of who speaks")
    content: str = option("content", "key of what is said")


@dataclass(frozen=True)
class SFTFields(Options):
    """Fine-tuning in a recipe: what the data is, and what of it is in the loss."""

    prefix = "sft."

    format: str = option(
        "auto",
        "auto: messages where a line has them, else pairs",
        one_of=("auto", "pairs", "messages", "gsm8k"),
    )
    fields: FieldNames = field(default_factory=FieldNames)
    template: str = option("plain", f"words around the turns: {', '.join(TEMPLATES)}")
    strings: TemplateFields = field(default_factory=TemplateFields)  # replace the template's
    learn: str = option(
        "all", "which answers of a conversation, of which the rest is dropped", one_of=("all", "last", "first")
    )
    validation: str = option("", "a file of held-out lines")
    validation_share: float = option(0.05, "of the lines of data, where no held-out ones are given", least=0, below=1)
    padding: str = option(
        "longest",
        "end-of-sequence tokens, noised and scored, to the batch's longest or the context; seen: to the context, "
        "noised and not scored; ignore: none",
        one_of=("longest", "context", "seen", "ignore"),
    )
    divisor: str = option(
        "tokens",
        "of the loss: tokens, all that could be noised in the batch (the paper); sequence, each its own (LLaDA)",
        one_of=("tokens", "sequence"),
    )
    prompt_dropout: float = option(
        0.0, "share of examples whose prompt is hidden by masks, for supervised guidance", least=0, below=1
    )
    bucket_batches: int = option(0, "batches whose examples are sorted by length together; 0: as shuffled", least=0)
    packing: bool = option(False, "several examples in a window, attention within each")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.validation and not self.validation_share:
            raise UserError("sft.validation_share is 0 and sft.validation names no file; hold something out")
        if self.packing and self.padding != "ignore":
            raise UserError(f"sft.packing leaves no room for padding: {self.padding}; set sft.padding: ignore")
        template(self.template, self.strings)  # raises where it is not one
