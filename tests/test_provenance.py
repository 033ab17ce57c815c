"""Where a number came from: versions, commit, machine; and that the ground floor has one of each tool."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
from pathlib import Path

import pytest

from unmask import provenance
from unmask.provenance import code, commit_of, cpuinfo, machine, processor_name, usable_cores, versions

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "src" / "unmask").rglob("*.py"))


def test_versions_are_those_installed() -> None:
    found = versions()
    assert list(found)[:2] == ["unmask", "python"]
    assert found["torch"] == importlib.metadata.version("torch")
    assert versions(["no-such-package"]).keys() == {"unmask", "python"}


def test_a_commit_is_told_of_a_checkout_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit_of(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "a"], check=True)
    commit = commit_of(tmp_path)
    assert commit is not None and re.fullmatch("[0-9a-f]{12}", commit)
    monkeypatch.setenv("PATH", str(tmp_path))  # no git there
    assert commit_of(tmp_path) is None
    assert code()["version"] == versions()["unmask"]


def test_the_machine_has_no_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = machine()
    assert set(found) == {"cpu", "architecture", "cores", "system"}
    assert os.uname().nodename not in str(found).split()
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
    monkeypatch.setattr(provenance, "CPUINFO", tmp_path / "nothing")
    assert cpuinfo() == []
    processor_name.cache_clear()
    assert processor_name()
    processor_name.cache_clear()


# What has one home: pattern -> files that may hold it. A second writer, live line or palette shows here.
ONE_HOME = {
    r"def versions\(|def machine\(\) -> dict": {"provenance.py"},
    r"rev-parse": {"provenance.py"},
    r"[\"']#[0-9a-fA-F]{6}[\"']": {"style.py"},
    r"\\r\\x1b|\\x1b\[K": {"terminal.py"},
    r"NamedTemporaryFile|\.partial-\{": {"files.py"},
    r"file=sys\.stderr": {"terminal.py"},
}


@pytest.mark.parametrize("pattern", ONE_HOME)
def test_there_is_one_of_each(pattern: str) -> None:
    found = {str(path.relative_to(ROOT / "src/unmask")) for path in SOURCES if re.search(pattern, path.read_text())}
    assert found and found <= ONE_HOME[pattern], found - ONE_HOME[pattern]
