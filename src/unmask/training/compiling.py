"""Where `torch.compile` keeps what it has made, so that the second process that trains a shape need not make it again.

    keep_compiled()         # before the first compiled step

A folder of the user's cache (`files.cache_folder`), unless TORCHINDUCTOR_CACHE_DIR names another. PyTorch's own default
is a folder for temporary files, which a restart may clear.
"""

from __future__ import annotations

import os
from pathlib import Path

from unmask.files import cache_folder

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


def keep_compiled() -> Path | None:
    """Names the folder to PyTorch; None where it cannot be written, and PyTorch's default stays."""
    if VARIABLE not in os.environ:
        folder = cache_folder() / "compiled"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return None
        os.environ[VARIABLE] = str(folder)
    return Path(os.environ[VARIABLE])
