"""Files and folders that are there either whole or not at all, with the permissions that the umask says.

    write_whole(Path("result.json"), text)
    write_tensors(folder / "model.safetensors", tensors)

Below every room, and the only place that writes tensors: the safetensors library makes its files readable by their
owner alone and orders a header's metadata anew each time.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask.errors import UserError

if TYPE_CHECKING:
    import torch

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)


def write_whole(path: str | Path, text: str) -> Path:
    """Writes beside the place and renames; an old file is replaced. Raises `UserError` where it cannot be written."""
    check_writable([path])
    path = Path(path)
    target = path.resolve()  # what a link names, not the link
    with beside(target, "choose another file", path) as partial:
        partial.write_text(text, encoding="utf-8")
        partial.replace(target)
    return path


@contextlib.contextmanager
def beside(target: Path, mend: str = "choose another", named: Path | None = None) -> Iterator[Path]:
    """A hidden sibling's name, to write a file or a folder under and rename; what is left of it goes with the block.

    Leavings of killed writers are cleared first. Raises `UserError` for errors of the file system, which names the
    target (or `named`) and the mend, also as the library of tensors calls them.
    """
    clear_leftovers(target)
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    remove(partial)
    try:
        yield partial
    except OSError as error:
        raise UserError(f"{named or target} cannot be written: {error.strerror}; free space or {mend}") from error
    except Exception as error:
        if type(error).__name__ != "SafetensorError":
            raise
        raise UserError(f"{named or target} cannot be written: {error}; free space or {mend}") from error
    finally:
        remove(partial)


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """An empty folder beside `folder` to fill, which takes its name and place when the block ends well."""
    with beside(folder) as partial:
        partial.mkdir(parents=True)
        yield partial
        replace_folder(partial, folder)


def check_writable(paths: Iterable[str | Path | None]) -> None:
    """Raises `UserError` for paths that `write_whole` could not write, before any work is done for them."""
    seen: set[Path] = set()
    for path in paths:
        if path is None:
            continue
        try:
            target = Path(path).resolve()
            folder, taken, regular = target.is_dir(), target.exists(), target.is_file()
        except (OSError, ValueError, RuntimeError) as error:  # too long, a zero byte, a loop of links
            reason = getattr(error, "strerror", None) or str(error)
            raise UserError(f"{str(path)[:60]} cannot be written: {reason}; choose another file") from error
        if folder:
            raise UserError(f"{str(path)!r} is a folder; give a file")
        if taken and not regular:
            raise UserError(f"{path} is not a regular file; choose another")
        if not target.parent.is_dir():
            raise UserError(f"{path} cannot be written: there is no folder {target.parent}; make it first")
        if not os.access(target.parent, os.W_OK):
            raise UserError(f"{path} cannot be written: no permission in {target.parent}; choose another")
        if target in seen:
            raise UserError(f"{path} is named for two outputs; give each its own file")
        seen.add(target)


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None) -> Path:
    """A safetensors file, the same bytes for the same content.

    Raises OSError and `safetensors.SafetensorError` as the library does: whoever writes a folder of several files says
    which one could not be written.
    """
    from safetensors.torch import save_file

    path.unlink(missing_ok=True)
    with path.open("xb") as file:
        mode = os.fstat(file.fileno()).st_mode & 0o777
    save_file({name: t.detach().contiguous().cpu() for name, t in tensors.items()}, path, dict(metadata or {}) or None)
    if metadata and len(metadata) > 1:
        _sort_metadata(path)
    path.chmod(mode)
    return path


def _sort_metadata(path: Path) -> None:
    """Rewrites the header of a safetensors file in place: a JSON object of the same length, its metadata in order."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) > length:
            raise ValueError(f"{path}: the header of the safetensors library is no longer compact JSON")
        file.seek(8)
        file.write(text.ljust(length))


def parse_json(text: str | bytes) -> Any:
    """`json.loads` for what others wrote: a byte order mark goes, and all it refuses is a ValueError in one line."""
    try:
        return json.loads(text.removeprefix("\ufeff") if isinstance(text, str) else text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def file_sha256(path: Path) -> str:
    """What names a file's content, such as the weights that a number or a run rests on."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """For what can be made again: `UNMASK_CACHE`, else `XDG_CACHE_HOME`/unmask, else ~/.cache/unmask.

    Raises `UserError` for a user without a home who has set neither.
    """
    if own := os.environ.get("UNMASK_CACHE"):
        return Path(own)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "unmask")
    except RuntimeError as error:
        raise UserError("there is no home folder to keep a cache in; set UNMASK_CACHE to a folder") from error


def write_cached(path: Path, text: str) -> None:
    """`write_whole` for what can be made again: a cache that cannot be written costs the next caller, not this one."""
    with contextlib.suppress(OSError, UserError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)


def sync_folder(folder: Path) -> None:
    """Forces a folder's files, then its entries, to disk."""
    for path in [*(p for p in folder.rglob("*") if p.is_file()), folder]:
        sync(path)


def sync(path: Path) -> None:
    """Forces a file, or a folder's entries, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def clear_leftovers(target: Path) -> None:
    """Removes what writers of `target` that were killed have left beside it.

    A folder that one of them had set aside and not yet replaced comes back. A writer counts as dead where no process of
    its number lives on this machine: what machines share, a run folder, has a lock besides.
    """
    pattern = re.compile(rf"\.{re.escape(target.name)}\.(partial|old)-(\d+)")
    try:
        matches = [pattern.fullmatch(name) for name in os.listdir(target.parent)]
    except OSError:
        return  # whoever writes there says why it cannot
    for match in matches:
        if match is not None and not _alive(int(match[2])):
            left = target.with_name(match[0])
            if match[1] == "old" and not os.path.lexists(target):
                left.rename(target)
            else:
                remove(left)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # another user's
    return True


def remove(path: Path) -> None:
    """Takes a file, a link or a folder away as far as that can be done."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Calls a missing permission by its name: to the libraries that read tensors it is a file that is not there."""
    try:
        yield
    except PermissionError as error:
        mend = "ask its owner, or check who may read it (chmod)"
        raise UserError(f"no permission to read {error.filename}; {mend}") from error


def replace_folder(partial: Path, folder: Path) -> None:
    """Gives `partial` its final name; an old folder of that name is set aside first and removed after."""
    if folder.exists():
        aside = folder.with_name(f".{folder.name}.old-{os.getpid()}")
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
        partial.rename(folder)
        shutil.rmtree(aside, ignore_errors=True)
    else:
        partial.rename(folder)
