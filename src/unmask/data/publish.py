"""A folder that appears whole or not at all: built under a hidden sibling name, renamed when it is finished.

    with building(Path("data/sotu"), replace=False) as partial:
        (partial / "manifest.json").write_text(...)
    # now data/sotu is there; after an exception, a kill or a power cut it is not

The sibling is ``.sotu.partial``. A lock on it tells a writer that is still at work from one that was killed, whose
leavings the next writer clears. The folder itself is locked; only where the file system cannot (NFS), a file ``.lock``
in it is, which goes when the folder has its name.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from unmask.errors import UserError
from unmask.files import NO_ROOM, sync

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
                (out / LOCK).unlink(missing_ok=True)
                shutil.rmtree(aside, ignore_errors=True)
                with contextlib.suppress(OSError):  # the rename lasts through a power cut, where the file system can
                    sync(out.parent)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
    except OSError as error:
        mend = "free some space" if error.errno in NO_ROOM else "choose a folder you may write"
        raise UserError(f"cannot write {out}: {error.strerror or error}; {mend}, or give another --out") from error


def clear_lock(out: Path) -> None:
    """Takes away the lock that a finished folder kept of a writer who was killed right after naming it."""
    with contextlib.suppress(OSError):
        (out / LOCK).unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(partial: Path) -> Iterator[None]:
    while True:
        partial.mkdir(parents=True, exist_ok=True)
        try:
            place, handle = partial, os.open(partial, os.O_RDONLY)
        except FileNotFoundError:  # finished and renamed in between
            continue
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise
            except OSError:  # the file system locks no folders
                os.close(handle)
                place, handle = partial / LOCK, os.open(partial / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise UserError(f"another process is writing {partial}; wait for it, or give another --out") from error
        # Between opening and locking, the folder may have been finished and renamed by its writer.
        if place.exists() and os.path.samestat(os.fstat(handle), place.stat()):
            break
        os.close(handle)
    try:
        if place == partial:
            (partial / LOCK).unlink(missing_ok=True)  # as earlier versions made it
        yield
    finally:
        os.close(handle)


def _clear(partial: Path) -> None:
    for path in partial.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()
