"""A tokenizer as others write it."""

from __future__ import annotations

import tokenizers


def write_foreign(folder, *, special=("<s>", "</s>", "<|im_end|>"), vocab=("we", "the", "people")):
    """A word-level tokenizer of the Hugging Face kind, which adds <s> and truncates unless told not to."""
    names = ["<unk>", *special, *vocab]
    inner = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>")
    )
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    inner.add_special_tokens(["<unk>", *special])
    inner.post_processor = tokenizers.processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    inner.enable_truncation(2)
    inner.enable_padding(length=8)
    folder.mkdir(exist_ok=True)
    inner.save(str(folder / "tokenizer.json"))
    return folder
