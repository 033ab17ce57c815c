"""A split's documents once more, by label: `validation-sotu`, `validation-brown`, ... beside `validation`.

    writer = LabelledWriter(folder, "validation", "uint16", shard_tokens, eos_id)
    writer.expect("sotu", n_bytes)      # for each document, in order
    writer.write(ids)                   # the split's ids, in parts of any size
    writer.close(); writer.splits()

So a loss can be told by source, on tokens that stand together and not scattered over the split. No text spells the
end-of-sequence token, so that token says where a document ends.
"""

from __future__ import annotations

import re
from collections import deque
from pathlib import Path

import numpy as np

from unmask.data.manifest import Split
from unmask.data.shards import ShardWriter
from unmask.errors import UserError

MOST = 100  # labels: each has a file open
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


class LabelledWriter:
    """Writes each document to the shards of its label."""

    def __init__(self, folder: Path, split: str, dtype: str, shard_tokens: int, eos_id: int) -> None:
        self._folder, self._split, self._dtype, self._shard_tokens = folder, split, dtype, shard_tokens
        self._eos_id = eos_id
        self._expected: deque[str] = deque()
        self._writers: dict[str, ShardWriter] = {}
        self._documents: dict[str, int] = {}
        self._bytes: dict[str, int] = {}

    def expect(self, label: str, n_bytes: int) -> None:
        """The next document's label. Raises `UserError` for one that cannot name files, and for too many of them."""
        if label not in self._writers:
            if not _NAME.fullmatch(label):
                raise UserError(
                    f"--by: {label[:60]!r} cannot name a split; use letters, digits, dots, dashes (at most 64)"
                )
            if len(self._writers) == MOST:
                raise UserError(f"--by: over {MOST} different values; name a field that has fewer")
            name = f"{self._split}-{label}"
            self._writers[label] = ShardWriter(self._folder, name, self._dtype, self._shard_tokens)
        self._expected.append(label)
        self._documents[label] = self._documents.get(label, 0) + 1
        self._bytes[label] = self._bytes.get(label, 0) + n_bytes

    def write(self, ids: np.ndarray) -> None:
        ends = np.flatnonzero(ids == self._eos_id) + 1
        parts = np.split(ids, ends)
        for i, part in enumerate(parts):
            if part.size:
                self._writers[self._expected[0]].write(part)
            if i < ends.size:
                self._expected.popleft()

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()

    def splits(self) -> dict[str, Split]:
        """What stands in the manifest of each label's split, in the order of their names."""
        return {
            f"{self._split}-{label}": Split(self._documents[label], writer.n_tokens, self._bytes[label], writer.shards)
            for label, writer in sorted(self._writers.items())
        }
