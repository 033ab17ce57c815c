"""A folder appears whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys

import pytest

from unmask.data import publish
from unmask.data.publish import building
from unmask.errors import UserError


def names(folder):
    return sorted(os.listdir(folder))


def test_nothing_is_seen_before_the_end(tmp_path):
    out = tmp_path / "new" / "out"
    with building(out, replace=False) as partial:
        (partial / "a").write_text("a")
        assert names(out.parent) == [".out.partial"]
    assert names(out.parent) == ["out"] and names(out) == ["a"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError])
def test_an_early_end_leaves_nothing(tmp_path, error):
    with pytest.raises(error):
        with building(tmp_path / "out", replace=False) as partial:
            (partial / "a").write_text("a")
            raise error
    assert names(tmp_path) == []


def test_replacing_and_not_replacing(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with building(out, replace=False) as partial:  # an empty folder may be filled
        (partial / "a").write_text("a")
    with pytest.raises(UserError, match="cannot write .*out"):
        with building(out, replace=False):
            pass
    with pytest.raises(ValueError):
        with building(out, replace=True):
            raise ValueError
    assert names(tmp_path) == ["out"] and names(out) == ["a"]
    with building(out, replace=True) as partial:
        (partial / "b").write_text("b")
    assert names(tmp_path) == ["out"] and names(out) == ["b"]


def test_through_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with building(tmp_path / "link", replace=False) as partial:
        (partial / "a").write_text("a")
    assert names(tmp_path) == ["link", "real"] and (tmp_path / "link").is_symlink()
    assert names(tmp_path / "real") == ["a"]


def test_leavings_of_the_killed_are_cleared(tmp_path):
    (tmp_path / ".out.partial" / "folder").mkdir(parents=True)
    (tmp_path / ".out.partial" / "folder" / "x").write_text("x")
    (tmp_path / ".out.old").mkdir()
    (tmp_path / ".out.old" / "before").write_text("kept")
    with pytest.raises(ValueError):  # killed between its two renames: what was there before comes back
        with building(tmp_path / "out", replace=True) as partial:
            assert names(partial) == []
            raise ValueError
    assert names(tmp_path) == ["out"] and names(tmp_path / "out") == ["before"]


def test_two_writers(tmp_path):
    with building(tmp_path / "out", replace=False) as partial:
        (partial / "mine").write_text("mine")
        with pytest.raises(UserError, match="another process is writing"):
            with building(tmp_path / "out", replace=False):
                pass
        assert names(partial) == ["mine"]
    assert names(tmp_path / "out") == ["mine"]


def test_a_kill_right_after_the_name_leaves_no_lock(tmp_path):
    """A real process that ends between naming the folder and all that follows."""
    code = f"""
import os
from pathlib import Path
from unmask.data.publish import building
rename = Path.rename
def last(self, target):
    rename(self, target)
    os._exit(7)
Path.rename = last
with building(Path({str(tmp_path / "out")!r}), replace=False) as partial:
    (partial / "a").write_text("a")
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 7
    assert names(tmp_path) == ["out"] and names(tmp_path / "out") == ["a"]


def test_where_folders_cannot_be_locked(tmp_path, monkeypatch):
    """As on NFS: a file is locked instead, which is gone at the end."""
    flock = publish.fcntl.flock

    def files_only(handle, how):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EBADF, "Bad file descriptor")
        flock(handle, how)

    monkeypatch.setattr(publish.fcntl, "flock", files_only)
    with building(tmp_path / "out", replace=False) as partial:
        (partial / "mine").write_text("mine")
        with pytest.raises(UserError, match="another process is writing"):
            with building(tmp_path / "out", replace=False):
                pass
        assert names(partial) == [".lock", "mine"]
    assert names(tmp_path / "out") == ["mine"]


def test_unwritable(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*file/out: Not a directory; choose a folder you may write"):
        with building(tmp_path / "file" / "out", replace=False):
            pass


def test_full_disk(tmp_path):
    # A real write that the system refuses: files may not grow beyond 1,000 bytes in that process.
    code = f"""
import resource
from pathlib import Path
from unmask.data.publish import building
from unmask.errors import UserError
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with building(Path({str(tmp_path / "out")!r}), replace=False) as partial:
        (partial / "a").write_bytes(bytes(5000))
except UserError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"cannot write {tmp_path / 'out'}: File too large; free some space" in done.stdout
    assert names(tmp_path) == []
