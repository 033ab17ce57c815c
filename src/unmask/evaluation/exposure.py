"""Whether a model was trained on the text that it is tested on, by the tokens of its own data, where these are at hand.

    refuse_read(model, texts, names)           # UserError where it was; else a few words on how that is known
    refuse_tuned(model, rows, names)           # the same of rows of a fine-tuning's own file

A run says in recipe.yaml what folder of tokens it read, and that folder's manifest names the tokenizer. With the
model's own tokenizer, stretches out of each text are looked for in the training split. A text counts as read where most
of its stretches stand there: a quotation does not make it so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unmask.data.manifest import FILE as MANIFEST
from unmask.data.records import read_records
from unmask.data.shards import TokenData
from unmask.errors import UserError
from unmask.model.folder import Model
from unmask.settings import read_yaml

RECIPE = "recipe.yaml"
STRETCH = 16  # tokens
PROBES = 8  # stretches of a text
AT_ONCE = 1 << 22  # training tokens that are looked through at once
MOST_READ = 0.02  # of the texts: two printings of a speech may share one


def refuse_read(model: Model, texts: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """What is known, in words. texts: token ids. Raises `UserError` naming a text that stands in the training split."""
    were_read = texts_read(model, texts)
    if were_read is None:
        return "its training tokens are not at hand"
    read = np.flatnonzero(were_read)
    if len(read) > MOST_READ * len(texts):
        raise UserError(
            f"{model.path} was trained on text that is tested here: {len(read)} of {len(texts)}, such as "
            f"{names[read[0]]}; give a model that has not read it, or other text"
        )
    return "not in its training tokens"


def refuse_tuned(model: Model, rows: Sequence[tuple[str, str]], names: Sequence[str]) -> None:
    """rows: prompt and completion. Raises `UserError` naming a row that stands in the file of a fine-tuning of the
    model, or of those that it started from; rows that a run held out of its own file stand there too."""
    for recipe in recipes_of(model.path):
        path = Path(str(recipe.get("data") or ""))
        if recipe.get("sft") is None or not path.is_file():
            continue
        texts = ([row.get(key) for key in ("prompt", "completion")] for _, row in read_records(str(path), str(path))
                 if isinstance(row, dict))  # fmt: skip
        known = {(prompt, answer) for prompt, answer in texts if isinstance(prompt, str) and isinstance(answer, str)}
        read = [name for row, name in zip(rows, names, strict=True) if row in known]
        if len(read) > MOST_READ * len(rows):
            raise UserError(
                f"{model.path} was fine-tuned on {path.name}, which holds {len(read)} of {len(rows)} rows that are "
                f"tested here, such as {read[0]}; give rows of another file"
            )


def texts_read(model: Model, texts: Sequence[Sequence[int]]) -> np.ndarray | None:
    """bool [texts]: those that stand in the training split; None where that cannot be told."""
    folders = data_folders(model)
    owners, probes = [], []
    for number, ids in enumerate(texts):
        if len(ids) < STRETCH:
            continue
        for start in np.unique(np.linspace(0, len(ids) - STRETCH, PROBES).astype(int)):
            owners.append(number)
            probes.append(ids[start : start + STRETCH])
    looked = [stretches_read(folder, model, probes) for folder in folders] if probes else []
    known = [read for read in looked if read is not None]
    if not known:
        return None
    hits = np.bincount(owners, np.any(known, axis=0), len(texts))
    return hits > 0.5 * np.maximum(1, np.bincount(owners, minlength=len(texts)))


def stretches_read(folder: Path, model: Model, stretches: Sequence[Sequence[int]]) -> np.ndarray | None:
    """bool [stretches], all of one length: those in a folder's training split; None where its tokenizer is another."""
    data, length = TokenData(str(folder), "train", verify=False), len(stretches[0])
    if model.tokenizer is None or data.manifest.tokenizer_hash != model.tokenizer.hash:
        return None
    wanted = sums(np.concatenate([np.asarray(ids, dtype=np.uint64) for ids in stretches]), length)[::length]
    known = np.zeros(len(stretches), dtype=bool)
    for start in range(0, data.n_tokens, AT_ONCE):
        tokens = data.read(start, min(AT_ONCE + length - 1, data.n_tokens - start)).astype(np.uint64)
        if len(tokens) >= length:
            known |= np.isin(wanted, sums(tokens, length))
    return known


def recipes_of(path: Path | None) -> list[dict[str, Any]]:
    """The recipes of the run that a path lies in and of those that it started from, as far as they are there."""
    recipes: list[dict[str, Any]] = []
    while path is not None and len(recipes) < 10:
        places = (path, *path.resolve().parents[:2])
        folder = next((place for place in places if (place / RECIPE).is_file()), None)
        recipe = read_yaml(folder / RECIPE) if folder is not None else None
        if not isinstance(recipe, dict):
            break
        recipes.append(recipe)
        path = Path(recipe["init"]) if recipe.get("init") else None
    return recipes


def data_folders(model: Model) -> list[Path]:
    """The prepared folders that a model and those it started from were trained on, as far as they are there."""
    return [folder for recipe in recipes_of(model.path) if (folder := data_folder(recipe)) is not None]


def data_folder(recipe: Mapping[str, Any]) -> Path | None:
    """The prepared folder that a recipe names; None where it is not there."""
    folder = Path(str(recipe.get("data") or ""))
    return folder if (folder / MANIFEST).is_file() else None


def sums(tokens_T: np.ndarray, length: int = STRETCH) -> np.ndarray:
    """uint64: a sum of every stretch of so many tokens (uint64), which tells them apart."""
    total = np.zeros(len(tokens_T) - length + 1, dtype=np.uint64)
    for i in range(length):
        total = total * np.uint64(0x9E3779B97F4A7C15) + tokens_T[i : i + len(total)] + np.uint64(1)
    return total
