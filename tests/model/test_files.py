"""Text files that are whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from unmask.errors import UserError
from unmask.model.files import write_whole


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for text in ("one\n", "two ü\n"):
        assert write_whole(path, text) == path and path.read_text(encoding="utf-8") == text
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_whole(link, "new")
    assert link.is_symlink() and target.read_text() == "new"


def test_what_cannot_be_written_is_one_line_and_leaves_the_old(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="missing/a.json cannot be written: No such file.*choose another file"):
        write_whole(tmp_path / "missing" / "a.json", "text")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="folder cannot be written"):
        write_whole(tmp_path / "folder", "text")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]
