"""Packed token ids on disk: written once by `unmask prepare`, memory-mapped by everyone else.

    data = TokenData("data/sotu", "train")
    data.read(start=0, count=256)      # int64[256], wherever the shards' borders lie

A split is one long row of tokens, each document followed by the end-of-sequence token, cut into files of
little-endian unsigned integers (the narrowest that holds the vocabulary). Opening checks every file's size
and, unless told not to, its SHA-256 against the manifest; a file found good is remembered by inode, size
and times, so only the first opening reads it all.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import time
from pathlib import Path
from typing import BinaryIO

import numpy as np

from unmask.data.manifest import DTYPES, Manifest, Shard
from unmask.errors import UserError, nearest
from unmask.files import file_sha256, parse_json, write_whole
from unmask.model.tokenizers import Tokenizer

VERIFIED_FILE = ".verified.json"
# A file changed this shortly before it is checked could change again without a new time stamp.
SETTLED_SECONDS = 2.0


def narrowest_dtype(vocab_size: int) -> str:
    """The name of the smallest unsigned integer that holds every id below `vocab_size`."""
    return next(name for name, width in DTYPES.items() if vocab_size <= 1 << 8 * width)


class ShardWriter:
    """Appends token ids to ``{split}-00000.bin``, ``{split}-00001.bin``, ... of `shard_tokens` each."""

    def __init__(self, folder: Path, split: str, dtype: str, shard_tokens: int) -> None:
        self._folder, self._split, self._shard_tokens = folder, split, shard_tokens
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._file: BinaryIO | None = None
        self._count = 0
        self._hash = hashlib.sha256()
        self.shards: list[Shard] = []
        self.n_tokens = 0

    def write(self, ids: np.ndarray) -> None:
        ids = ids.astype(self._dtype)
        while ids.size:
            if self._file is None:
                self._file = open(self._folder / f"{self._split}-{len(self.shards):05d}.bin", "xb")  # noqa: SIM115
            part, ids = np.split(ids, [self._shard_tokens - self._count])
            data = part.tobytes()
            self._file.write(data)
            self._hash.update(data)
            self._count += part.size
            self.n_tokens += part.size
            if self._count == self._shard_tokens:
                self.close()

    def close(self) -> None:
        """Ends the shard at hand; its bytes are on disk before the manifest that names it."""
        if self._file is None:
            return
        file, self._file = self._file, None
        with file:
            file.flush()
            os.fsync(file.fileno())
        self.shards.append(Shard(Path(file.name).name, self._count, self._hash.hexdigest()))
        self._count, self._hash = 0, hashlib.sha256()


class TokenData:
    """One split of a prepared folder, memory-mapped; a file that is not as written is a `UserError`."""

    def __init__(self, folder: str | Path, split: str = "train", *, verify: bool = True) -> None:
        self.folder, self.split = Path(folder), split
        self.manifest = Manifest.load(folder)
        if (facts := self.manifest.splits.get(split)) is None:
            names = self.manifest.splits
            raise UserError(f"split '{split}' is not one of {', '.join(names)}{nearest(split, names)}")
        self.n_tokens, self.n_bytes, self.n_documents = facts.tokens, facts.bytes, facts.documents
        self.vocab_size, self.eos_id = self.manifest.vocab_size, self.manifest.eos_id
        check_shards(self.folder, self.manifest, split, verify=verify)
        dtype = np.dtype(self.manifest.dtype).newbyteorder("<")
        self._maps = [np.memmap(self.folder / shard.file, dtype=dtype, mode="r") for shard in facts.shards]
        self._starts = np.cumsum([0] + [shard.tokens for shard in facts.shards])

    def __len__(self) -> int:
        return self.n_tokens

    def __reduce__(self) -> tuple:
        # To another process go the names; pickling a memory map would send what it maps.
        return functools.partial(TokenData, verify=False), (self.folder, self.split)

    def read(self, start: int, count: int) -> np.ndarray:
        """Tokens start .. start + count of the split as int64; a range that is not there is an IndexError."""
        start, end = int(start), int(start) + int(count)
        if start < 0 or count < 0 or end > self.n_tokens:
            raise IndexError(f"tokens {start}..{end} of {self.n_tokens} in {self.folder} ({self.split})")
        out = np.empty(end - start, dtype=np.int64)
        shard = int(np.searchsorted(self._starts, start, side="right")) - 1
        while start < end:
            stop = min(end, int(self._starts[shard + 1]))
            base = int(self._starts[shard])
            out[start - end + out.size : stop - end + out.size] = self._maps[shard][start - base : stop - base]
            start, shard = stop, shard + 1
        return out

    def tokenizer(self) -> Tokenizer:
        """The tokenizer the ids belong to, from the folder's ``tokenizer.json``."""
        tokenizer = Tokenizer.from_file(self.folder)
        if tokenizer.hash != self.manifest.tokenizer_hash:
            raise UserError(f"{self.folder / 'tokenizer.json'} is not the one of the data; prepare it again")
        return tokenizer


def check_shards(folder: Path, manifest: Manifest, split: str, *, verify: bool = True) -> None:
    """Compares a split's files with the manifest: sizes always, checksums if `verify` and not done before."""
    record = folder / VERIFIED_FILE
    known = _read_record(record) if verify else {}
    verified = dict(known)
    for shard in manifest.splits[split].shards:
        path = folder / shard.file
        try:
            stat = path.stat()
            if stat.st_size != shard.tokens * DTYPES[manifest.dtype]:
                raise UserError(
                    f"{path} is truncated or altered: {stat.st_size} bytes where the manifest says "
                    f"{shard.tokens * DTYPES[manifest.dtype]}; prepare the data again with --force"
                )
            stamp = [shard.sha256, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
            if not verify or known.get(shard.file) == stamp:
                continue
            started = time.time()
            digest = file_sha256(path)
        except FileNotFoundError as error:
            raise UserError(f"{path} is missing; prepare the data again with --force") from error
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error
        if digest != shard.sha256:
            raise UserError(
                f"{path} is altered: its checksum is not the manifest's; prepare the data again with --force"
            )
        if started - max(stat.st_mtime, stat.st_ctime) > SETTLED_SECONDS:
            verified[shard.file] = stamp
    if verified != known:
        with contextlib.suppress(UserError):  # a read-only folder is checked anew at each opening
            write_whole(record, json.dumps(verified))


def _read_record(path: Path) -> dict[str, list]:
    try:
        record = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
