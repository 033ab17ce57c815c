"""Padding out of the loss, an ablation: the same lines by fine-tuning's recipe, which scores a line and one end token.

    unscored(out, fields, lines, held_out, tokenizer, "seen")    # a recipe for `unmask train`, of one that scores it

The rows of `rows.py` are windows of pretraining, in which every token is scored. Here a line is the answer to an empty
prompt (an end token), so that fine-tuning's `padding` decides: `seen`, end tokens to the row's end that are masked as
ever and never scored; `ignore`, no padding at all, so that no canvas is longer than its line. An autoregressive model
looks back alone, and both are the same to it. Weights begin as those of the run with scored padding: by the seed, or
the base's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unmask.experiments.reversal.tokens import text_of
from unmask.experiments.workplace import write_lines
from unmask.model.folder import WEIGHTS, save
from unmask.model.tokenizers import Tokenizer
from unmask.model.transformer import Transformer
from unmask.training.recipe import build
from unmask.training.recipe_fields import Recipe
from unmask.training.setup import model_config

SCORED = "scored"
PADDING = (SCORED, "seen", "ignore")  # all but the first are `sft.padding`


def unscored(
    out: Path, fields: dict[str, Any], lines: Sequence[str], held_out: Sequence[str], tokenizer: Tokenizer, padding: str
) -> dict[str, Any]:
    """A recipe that says the same of the lines but for their padding; writes what it trains on and begins with.

    fields: the recipe with scored padding, whose `data` is a prepared folder (the lines come to lie beside it).
    """
    assert tokenizer.eos_id is not None, "a tokenizer with an end token"
    data = Path(fields["data"])
    paths = {name: data.with_name(f"{data.name}-{name}.jsonl") for name in ("train", "validation")}
    for name, texts in (("train", lines), ("validation", held_out)):
        write_lines(paths[name], map(conversation, texts))
    changed = {key: value for key, value in fields.items() if key != "model"}
    changed["init"] = fields.get("init") or str(random_start(out, fields, tokenizer))
    changed["sft"] = {
        "format": "messages", "template": "raw", "padding": padding, "validation": str(paths["validation"]),
        "strings": {"default_system": tokenizer.token_text(tokenizer.eos_id), "answer": text_of("{content}")},
    }  # fmt: skip
    return {**changed, "data": str(paths["train"])}


def conversation(text: str) -> dict[str, Any]:
    """A line as an answer before which nobody has said anything."""
    return {"messages": [{"role": "assistant", "content": text.strip()}]}


def random_start(out: Path, fields: dict[str, Any], tokenizer: Tokenizer) -> Path:
    """A model folder with the random weights that training by `fields` would begin with."""
    recipe = build(Recipe, {**fields, "out": str(out)}, "")
    config = model_config(recipe, tokenizer.vocab_size, tokenizer.eos_id)
    folder = out / "starts" / f"{Path(fields['data']).name}-{config.kind}-{recipe.seed}"
    if not (folder / WEIGHTS).is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        save(folder, Transformer(config, seed=recipe.seed), tokenizer)
    return folder
