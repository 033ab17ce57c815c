"""Places that results go to, checked before anything is measured.

    check_folders(options.out, options.plot)
"""

from __future__ import annotations

from pathlib import Path

from unmask.errors import UserError


def check_folders(*paths: str | None) -> None:
    """Raises `UserError` for a file whose folder is not there."""
    for path in paths:
        if path and not Path(path).resolve().parent.is_dir():
            raise UserError(f"{path}: its folder does not exist; make it, or give another file")
