"""A folder that appears whole or not at all: built under a hidden sibling name, renamed when it is finished.

    with building(Path("data/sotu"), replace=False) as partial:
        (partial / "manifest.json").write_text(...)
    # now data/sotu is there; after an exception, a kill or a power cut it is not

The sibling is ``.sotu.partial``. A lock in it tells a writer that is still at work from one that was killed,
whose leavings the next writer clears.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from unmask.errors import UserError

LOCK = ".lock"


@contextlib.contextmanager
def building(out: Path, *, replace: bool) -> Iterator[Path]:
    """Yields a folder that becomes `out` at the end of the block; `replace`: even where there is one.

    An error of the file system inside the block is raised as a `UserError` that names `out`; whatever ends
    the block early, the folder is removed.
    """
    out = Path(os.path.realpath(out))
    partial, aside = out.with_name(f".{out.name}.partial"), out.with_name(f".{out.name}.old")
    try:
        with _locked(partial):
            try:
                if aside.exists() and not out.exists():  # killed between the two renames below
                    aside.rename(out)
                _clear(partial)
                shutil.rmtree(aside, ignore_errors=True)
                yield partial
                if replace and out.exists():
                    out.rename(aside)
                elif out.exists():
                    out.rmdir()  # an empty folder may be filled; any other raises
                partial.rename(out)
                (out / LOCK).unlink()
                shutil.rmtree(aside, ignore_errors=True)
                _sync(out.parent)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
    except OSError as error:
        mend = (
            "free some space"
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            else "choose a folder you may write"
        )
        raise UserError(f"cannot write {out}: {error.strerror or error}; {mend}, or give another --out") from error


@contextlib.contextmanager
def _locked(partial: Path) -> Iterator[None]:
    while True:
        partial.mkdir(parents=True, exist_ok=True)
        lock = open(partial / LOCK, "w")  # noqa: SIM115
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise UserError(f"another process is writing {partial}; wait for it, or give another --out") from error
        # Between opening and locking, the folder may have been finished and renamed by its writer.
        if (partial / LOCK).exists() and os.path.samestat(os.fstat(lock.fileno()), (partial / LOCK).stat()):
            break
        lock.close()
    with lock:
        yield


def _clear(partial: Path) -> None:
    for path in partial.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def _sync(folder: Path) -> None:
    """Makes a rename last through a power cut, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
