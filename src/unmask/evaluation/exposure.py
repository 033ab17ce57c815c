"""Whether a model was trained on the text that it is tested on, by the tokens of its own data, where these are at hand.

    refuse_read(model, texts, names)           # UserError where it was; else a few words on how that is known

A run says in recipe.yaml what folder of tokens it read, and that folder's manifest names the tokenizer. With the
model's own tokenizer, stretches out of each text are looked for in the training split. A text counts as read where most
of its stretches stand there: a quotation does not make it so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unmask.data.manifest import FILE as MANIFEST
from unmask.data.shards import TokenData
from unmask.errors import UserError
from unmask.model.folder import Model
from unmask.settings import read_yaml

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


def texts_read(model: Model, texts: Sequence[Sequence[int]]) -> np.ndarray | None:
    """bool [texts]: those that stand in the training split; None where that cannot be told."""
    folders = data_folders(model.path)
    if model.tokenizer is None or not folders:
        return None
    owners, probes = [], []
    for number, ids in enumerate(texts):
        if len(ids) < STRETCH:
            continue
        for start in np.unique(np.linspace(0, len(ids) - STRETCH, PROBES).astype(int)):
            owners.append(number)
            probes.append(np.asarray(ids[start : start + STRETCH], dtype=np.uint64))
    if not probes:
        return None
    wanted, known = sums(np.concatenate(probes))[::STRETCH], np.zeros(len(probes), dtype=bool)
    looked = False
    for folder in folders:
        data = TokenData(str(folder), "train", verify=False)
        if data.manifest.tokenizer_hash != model.tokenizer.hash:
            continue
        looked = True
        for start in range(0, data.n_tokens, AT_ONCE):
            tokens = data.read(start, min(AT_ONCE + STRETCH - 1, data.n_tokens - start)).astype(np.uint64)
            if len(tokens) >= STRETCH:
                known |= np.isin(wanted, sums(tokens))
    if not looked:
        return None
    hits = np.bincount(owners, known, len(texts))
    return hits > 0.5 * np.maximum(1, np.bincount(owners, minlength=len(texts)))


def data_folders(path: Path | None) -> list[Path]:
    """The prepared folders that a run, and those that it started from, were trained on, as far as they are there."""
    folders: list[Path] = []
    while path is not None and len(folders) < 10:
        places = (path, *path.resolve().parents[:2])
        folder = next((place for place in places if (place / "recipe.yaml").is_file()), None)
        if folder is None:
            break
        recipe = read_yaml(folder / "recipe.yaml")
        fields = recipe if isinstance(recipe, dict) else {}
        if (data := Path(str(fields.get("data") or ""), MANIFEST)).is_file():
            folders.append(data.parent)
        path = Path(fields["init"]) if fields.get("init") else None
    return folders


def sums(tokens_T: np.ndarray) -> np.ndarray:
    """uint64: a sum of every stretch of `STRETCH` tokens (uint64), which tells them apart."""
    total = np.zeros(len(tokens_T) - STRETCH + 1, dtype=np.uint64)
    for i in range(STRETCH):
        total = total * np.uint64(0x9E3779B97F4A7C15) + tokens_T[i : i + len(total)] + np.uint64(1)
    return total
