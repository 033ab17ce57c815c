"""Work that needs no order, by several processes: for stages that only read, such as the scoring of checkpoints.

    for name, value, seconds in by_processes(make, {"a": (1, 2), "b": (3, 4)}, jobs=2): ...    # make(1, 2), make(3, 4)

`make` is a function of a module and what it takes and gives can be pickled; results come as they are ready. Whoever
takes them keeps them, so that after a stop only what was under way is done again. Ctrl-C ends the processes with the
one that started them, and so does its death.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from unmask.data.encoding import end_with_parent, without_interrupts
from unmask.errors import UserError


def by_processes(
    make: Callable[..., Any], asks: Mapping[str, Sequence[Any]], jobs: int
) -> Iterator[tuple[str, Any, float]]:
    """(name, what `make` gives, its seconds) of each.

    Raises what `make` raises, and `UserError` where a process is killed.
    """
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(asks)), mp_context=context, initializer=_started)
    done = False
    try:
        with without_interrupts():
            under_way = {pool.submit(_timed, make, ask): name for name, ask in asks.items()}
        for future in as_completed(under_way):
            yield under_way[future], *future.result()
        done = True
    except BrokenProcessPool as error:
        raise UserError("a process was killed, for lack of memory perhaps; --resume with fewer --jobs") from error
    finally:
        if not done:
            for process in multiprocessing.active_children():
                process.terminate()
        pool.shutdown(cancel_futures=True)


def _timed(make: Callable[..., Any], ask: Sequence[Any]) -> tuple[Any, float]:
    began = time.monotonic()
    return make(*ask), time.monotonic() - began


def _started() -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
