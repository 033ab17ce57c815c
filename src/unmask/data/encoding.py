"""Documents to token ids on several processes, in the order they came.

    for train_ids, validation_ids in encode_batches(pairs_of_side_and_text, tokenizer, workers=4): ...

Workers are spawned, so it does not matter which threads the caller has. Each loads the tokenizer once;
batches of about a megabyte go to them, a few ahead of the one awaited. A worker whose parent is killed ends
by itself.
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

import numpy as np

from unmask.model.tokenizers import Tokenizer

BATCH_CHARS = 1_000_000
AHEAD = 2  # batches in flight for each worker

Batch = list[tuple[int, str]]  # side (0 train, 1 validation), text
Encoded = tuple[np.ndarray, np.ndarray]  # ids of each side, end of sequence after each document

_tokenizer: Tokenizer  # of this worker process


def encode_batches(texts: Iterable[tuple[int, str]], tokenizer: Tokenizer, workers: int) -> Iterator[Encoded]:
    """The ids of all texts, batch after batch."""
    if workers <= 1:
        for batch in _batches(texts):
            yield _encode(tokenizer, batch)
        return
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(tokenizer.to_json(),),
    )
    waiting: deque[Future[Encoded]] = deque()
    try:
        for batch in _batches(texts):
            with _without_interrupts():
                waiting.append(pool.submit(_encode_here, batch))
            if len(waiting) > AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes started in the block never see Ctrl-C, not even while they start; their parent ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _batches(texts: Iterable[tuple[int, str]]) -> Iterator[Batch]:
    batch: Batch = []
    chars = 0
    for item in texts:
        batch.append(item)
        chars += len(item[1])
        if chars >= BATCH_CHARS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch


def _encode(tokenizer: Tokenizer, batch: Batch) -> Encoded:
    end = np.array([tokenizer.eos_id], dtype=np.uint32)
    parts: tuple[list[np.ndarray], list[np.ndarray]] = ([end[:0]], [end[:0]])
    for side, text in batch:
        parts[side].extend((tokenizer.encode_array(text), end))
    return np.concatenate(parts[0]), np.concatenate(parts[1])


def _start_worker(tokenizer_json: str) -> None:
    global _tokenizer
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _tokenizer = Tokenizer(tokenizer_json)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _encode_here(batch: Batch) -> Encoded:
    return _encode(_tokenizer, batch)
