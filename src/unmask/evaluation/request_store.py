"""Answers of a long evaluation on disk as they come, so that one that was killed goes on where it was.

    with RequestStore(Path("eval.partial.jsonl"), protocol) as store:
        if (answer := store.get(key)) is None:
            store.put(key, answer := work())

The first line holds the protocol; a file of another protocol is refused, with the first place where they differ, and
one that was begun with a plug-in that is not loaded with the option to add. Later
lines are {"key": ..., "answer": ...}; a last line that was cut short by a kill is dropped.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from unmask.errors import UserError
from unmask.terminal import say

SCHEMA_VERSION = 1


def request_key(*what: Any) -> str:
    """24 hex digits of JSON values: which request an answer belongs to."""
    return hashlib.sha256(json.dumps(what, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()[:24]


def first_difference(a: Any, b: Any, where: str = "") -> str | None:
    """`` guidance: 0.0 and 0.7`` for the first place where two JSON values differ; None where they are equal."""
    if isinstance(a, dict) and isinstance(b, dict):
        for name in sorted({*a, *b}):
            path = f"{where}.{name}" if where else str(name)
            if (difference := first_difference(a.get(name), b.get(name), path)) is not None:
                return difference
        return None
    return None if a == b else f"{where}: {a!r} and {b!r}"


def answered(
    store: Store, keys: Sequence[str], ask: Callable[[list[int]], Iterable[Any]], at_once: int, what: tuple[str, str]
) -> list[Any]:
    """The answer to each key: the store's, or asked for now, so many at once, each kept as it comes.

    ask: the answers at some places, in their order. what: (task, unit) of the lines that tell how far it is.
    """
    missing = [i for i, key in enumerate(keys) if store.get(key) is None]
    for first in range(0, len(missing), at_once):
        part = missing[first : first + at_once]
        for i, answer in zip(part, ask(part), strict=True):
            store.put(keys[i], answer)
        say(f"eval: {what[0]}: {min(first + at_once, len(missing))} of {len(missing)} {what[1]}")
    return [store.get(key) for key in keys]


class Store(Protocol):
    """Where answers are kept: a `RequestStore`, or in memory."""

    def get(self, key: str) -> Any: ...

    def put(self, key: str, answer: Any) -> None: ...


class RequestStore:
    """A mapping from request keys to JSON values, written through. `path` None keeps it in memory only."""

    def __init__(self, path: Path | None, protocol: dict[str, Any]) -> None:
        self._answers: dict[str, Any] = {}
        self._file: Any = None
        if path is None:
            return
        header = {"schema_version": SCHEMA_VERSION, "protocol": json.loads(json.dumps(protocol))}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "a+", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}; choose another file") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise UserError(f"another process is writing {path}; wait for it, or give another file") from error
        whole = self._read(path, header)
        self._file.truncate(whole)
        if whole == 0:
            self._write(header)

    def _read(self, path: Path, header: dict[str, Any]) -> int:
        """Takes in what is there; returns how many bytes of it are whole lines."""
        self._file.seek(0)
        whole = 0
        for number, line in enumerate(path.read_bytes().splitlines(keepends=True)):
            if not line.endswith(b"\n"):
                break
            try:
                record = json.loads(line)
                if number:
                    self._answers[record["key"]] = record["answer"]
                elif (where := first_difference(record, header)) is not None:
                    from unmask.decoding.rules.plugins import need

                    need(record["protocol"].get("plugins"), path)
                    raise UserError(
                        f"{path} holds results of another protocol, {where}; delete it, or give another file"
                    )
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise UserError(f"{path}, line {number + 1}: not a result of an evaluation; delete it") from error
            whole += len(line)
        return whole

    def get(self, key: str) -> Any:
        return self._answers.get(key)

    def put(self, key: str, answer: Any) -> None:
        self._answers[key] = answer
        if self._file is not None:
            self._write({"key": key, "answer": answer})

    def _write(self, record: dict[str, Any]) -> None:
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._file.flush()

    def __enter__(self) -> RequestStore:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
