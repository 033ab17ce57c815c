"""What lies in a prepared folder."""

from __future__ import annotations

import hashlib

import numpy as np

from unmask.data.shards import TokenData


def folder_hash(folder):
    """Of all files a user sees, by name."""
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def documents(folder, split):
    """The texts of a split, decoded."""
    data = TokenData(folder, split)
    ids, tokenizer = data.read(0, data.n_tokens), data.tokenizer()
    ends = np.flatnonzero(ids == data.eos_id)
    assert len(ends) == data.n_documents and ends[-1] == data.n_tokens - 1  # each document is ended, none begun
    return [tokenizer.decode(part[:-1]) for part in np.split(ids, ends + 1)[:-1]]
