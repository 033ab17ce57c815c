"""A prepared data folder of random tokens: the shape of a corpus without one.

    random_corpus(Path("data"), vocab_size=32000, n_tokens=1 << 20)
    TokenData("data", "train")

How fast a step is hardly depends on which tokens it sees, so a benchmark needs no text. They are drawn as frequent as
words are (Zipf's law: the k-th in proportion to 1/k), so that losses fall as a model learns them, and two ways to train
can be told apart. Reading them goes through the same memory-mapped shards as text.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unmask.data.manifest import FILE, Manifest, Split
from unmask.data.shards import ShardWriter, narrowest_dtype


def random_corpus(folder: Path, vocab_size: int, n_tokens: int, seed: int = 0) -> None:
    """Writes `n_tokens` tokens as the training split of a new folder, and a sixteenth as many for validation."""
    folder.mkdir(parents=True)
    dtype, generator = narrowest_dtype(vocab_size), np.random.default_rng(seed)
    splits = {}
    for name, count in (("train", n_tokens), ("validation", n_tokens // 16)):
        writer = ShardWriter(folder, name, dtype, count)
        writer.write(vocab_size ** generator.random(count) - 1)  # rounded down: log-uniform, so p(k) is about 1/k
        writer.close()
        splits[name] = Split(documents=1, tokens=count, bytes=4 * count, shards=writer.shards)
    manifest = Manifest(
        settings={"random": seed}, fingerprint="random", tokenizer_hash="none", vocab_size=vocab_size, eos_id=0,
        dtype=dtype, splits=splits, duplicates=0, empty=0, skipped=[], versions={},
    )  # fmt: skip
    (folder / FILE).write_text(manifest.to_json(), encoding="utf-8")
