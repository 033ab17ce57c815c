"""Documents to token ids on several processes, in the order they came.

    for train_ids, validation_ids in encode_batches(pairs_of_side_and_document, tokenizer, workers=4): ...

Workers are spawned, so it does not matter which threads the caller has. Each loads the tokenizer once;
batches of about a megabyte go to them, a few ahead of the one awaited. A long document goes in pieces where the
tokenizer's pattern allows to encode them apart, else it is encoded here, window by window; either way no more than a
few megabytes of it are held. A worker whose parent is killed ends by itself.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import chain

import numpy as np

from unmask.data.document import LONG, Document
from unmask.model.cutting import plain_pieces
from unmask.model.tokenizers import Tokenizer

BATCH_CHARS = 1_000_000
AHEAD = 2  # batches in flight for each worker

Batch = list[tuple[int, str, bool]]  # side (0 train, 1 validation), text, whether a document ends with it
Long = tuple[int, Iterator[str]]  # side, parts of a document or of its rest
Encoded = tuple[np.ndarray, np.ndarray]  # ids of each side, end of sequence after each document


def encode_batches(documents: Iterable[tuple[int, Document]], tokenizer: Tokenizer, workers: int) -> Iterator[Encoded]:
    """The ids of all documents, batch after batch."""
    if workers <= 1:
        for batch in _batches(documents, apart=False):
            yield from [_encode(tokenizer, batch)] if isinstance(batch, list) else _encode_long(tokenizer, *batch)
        return
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(tokenizer.to_json(),),
    )
    waiting: deque[Future[Encoded]] = deque()
    try:
        for batch in _batches(documents, apart=tokenizer.cuts_plainly):
            if isinstance(batch, list):
                with without_interrupts():
                    waiting.append(pool.submit(_encode_here, batch))
            while waiting and (len(waiting) > AHEAD * workers or not isinstance(batch, list)):
                yield waiting.popleft().result()
            if not isinstance(batch, list):
                yield from _encode_long(tokenizer, *batch)
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def without_interrupts() -> Iterator[None]:
    """Processes started in the block never see Ctrl-C, not even while they start; their parent ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _batches(documents: Iterable[tuple[int, Document]], apart: bool) -> Iterator[Batch | Long]:
    """What is encoded at once; `apart`: long documents in pieces that need not know of each other."""
    batch: Batch = []
    chars = 0
    for side, document in documents:
        long = document.again is not None or len(document.text) > LONG
        if not long:
            batch.append((side, document.text, True))
            chars += len(document.text)
        if batch and (long or chars >= BATCH_CHARS):
            yield batch
            batch, chars = [], 0
        if not long:
            continue
        parts = document.parts()
        if not apart:
            yield side, parts
            continue
        pieces = plain_pieces(parts, BATCH_CHARS)
        for piece, clean in pieces:
            if not clean:
                yield side, chain([piece], parts)
                break
            yield [(side, piece, False)]
        else:
            yield [(side, "", True)]
    if batch:
        yield batch


def _encode(tokenizer: Tokenizer, batch: Batch) -> Encoded:
    end = np.array([tokenizer.eos_id], dtype=np.uint32)
    parts: tuple[list[np.ndarray], list[np.ndarray]] = ([end[:0]], [end[:0]])
    for side, text, ends in batch:
        parts[side].append(tokenizer.encode_array(text))
        if ends:
            parts[side].append(end)
    return np.concatenate(parts[0]), np.concatenate(parts[1])


def _encode_long(tokenizer: Tokenizer, side: int, parts: Iterator[str]) -> Iterator[Encoded]:
    end = np.array([tokenizer.eos_id], dtype=np.uint32)
    for ids in chain(tokenizer.encode_parts(parts), [end]):
        yield (ids, end[:0]) if side == 0 else (end[:0], ids)


_tokenizer: Tokenizer  # of this worker process


def _start_worker(tokenizer_json: str) -> None:
    global _tokenizer
    threading.Thread(target=end_with_parent, daemon=True).start()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _tokenizer = Tokenizer(tokenizer_json)


def end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _encode_here(batch: Batch) -> Encoded:
    return _encode(_tokenizer, batch)
