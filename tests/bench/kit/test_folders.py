"""Places that results go to are checked before anything is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from unmask.bench.kit.folders import check_folders
from unmask.errors import UserError


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    check_folders(None, str(tmp_path / "a.json"), "here.png")
    with pytest.raises(UserError, match="its folder does not exist"):
        check_folders(str(tmp_path / "no" / "a.json"))
