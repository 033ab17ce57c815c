"""A text file that is there either whole or not at all.

    write_whole(Path("result.json"), text)
"""

from __future__ import annotations

import os
from pathlib import Path

from unmask.errors import UserError


def write_whole(path: Path, text: str) -> Path:
    """Writes beside the place and renames; an old file is replaced. Raises `UserError` where it cannot be written."""
    target = path.resolve()  # what a link names, not the link
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(target)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}; free space or choose another file") from error
    finally:
        partial.unlink(missing_ok=True)
    return path
