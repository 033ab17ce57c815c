"""The Makefile's promises, with a stand-in for Python: `make test ARGS=tests/test_make.py`.

It refuses an old Python in one line, installs torch first and once, and keeps a torch that is there already.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

NOT_PYTHON = """#!/bin/sh
# Stands for a Python: answers what the Makefile asks, notes what it is told to install.
case "$*" in
  *sha256*) echo 0123456789abcdef ;;
  *version_info*) exit {too_old} ;;
  -V) echo "Python 3.9.1" ;;
  *importlib.metadata*) echo "{torch}"; [ -n "{torch}" ] ;;
  *"pip install"*) echo "$*" >> installs.log ;;
esac
"""


@pytest.fixture
def workshop(tmp_path):
    """A folder with the Makefile and its two inputs, and a stand-in for Python in place of the real one."""
    if not shutil.which("make"):
        pytest.skip("needs make")
    for name in ("Makefile", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)

    def stand_in(path: str, torch: str = "", too_old: int = 0) -> str:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(NOT_PYTHON.format(torch=torch, too_old=too_old))
        file.chmod(0o755)
        return f"PYTHON={file}"

    return tmp_path, stand_in


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # A `make` that runs these tests hands its own flags down, which would change what the inner one prints.
    outer = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES", "ARGS", "PYTHON")
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    return subprocess.run(["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True)


def test_setup_refuses_an_old_or_missing_python(workshop):
    folder, stand_in = workshop
    old = make(folder, "setup", stand_in("old/python", too_old=1))
    assert old.returncode != 0
    assert "needs Python 3.11 or newer" in old.stderr and "Python 3.9.1" in old.stderr
    missing = make(folder, "setup", "PYTHON=no-such-python")
    assert missing.returncode != 0
    assert "'no-such-python' was not found" in missing.stderr
    assert not (folder / ".venv").exists()


def test_setup_installs_torch_first_and_only_once(workshop):
    folder, stand_in = workshop
    stand_in(".venv/bin/python")
    python = stand_in("python")
    assert make(folder, "setup", python).returncode == 0
    first, second = (folder / "installs.log").read_text().splitlines()
    pin = re.search(r"^torch==.*$", (folder / "constraints.txt").read_text(), re.M)[0]
    assert pin in first.split() and "-c .venv/constraints.txt -e .[dev,data,demo]" in second
    again = make(folder, "setup", python)
    assert again.returncode == 0 and "Nothing to be done" in again.stdout
    assert len((folder / "installs.log").read_text().splitlines()) == 2
    # Other extras are installed although the usual ones are.
    assert make(folder, "setup", "EXTRAS=dev,eval", python).returncode == 0
    assert "-e .[dev,eval]" in (folder / "installs.log").read_text().splitlines()[-1]


def test_setup_keeps_a_torch_that_is_there(workshop):
    folder, stand_in = workshop
    stand_in(".venv/bin/python", torch="2.7.1")
    assert make(folder, "setup", stand_in("python")).returncode == 0
    (install,) = (folder / "installs.log").read_text().splitlines()
    assert "torch" not in install
    ours, theirs = ((folder / name).read_text() for name in ("constraints.txt", ".venv/constraints.txt"))
    assert theirs == re.sub(r"^torch==.*$", "torch==2.7.1", ours, flags=re.M)


def test_every_makefile_target_is_known_to_help(workshop):
    folder, stand_in = workshop
    targets = re.search(r"^\.PHONY: (.*)$", (folder / "Makefile").read_text(), re.M)[1].split()
    shown = make(folder, "help", stand_in("python")).stdout
    assert {"setup", "demo", "test", "lint", "clean"} <= set(targets)
    assert all(f"make {target}" in shown for target in targets if target != "help")


def test_ci_runs_the_make_targets():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    commands = re.findall(r"^(?:within .*)?\bmake (\S+)", script.read_text(), re.M)
    assert commands == ["setup", "lint", "test-slow", "test"]


@pytest.mark.parametrize(
    ("fails", "status", "told"),
    [
        ("", 0, ""),
        ("lint", 2, ""),
        ("test-slow", 2, ""),
        ("test", 2, ""),
        ("hangs", 124, "'make test-slow' was ended after 1 s"),
    ],
)
def test_ci_runs_all_of_it_whatever_fails_and_ends_what_hangs(tmp_path, fails, status, told):
    """The script itself, with a stand-in for make that notes its target."""
    (tmp_path / ".ci").mkdir()
    text = (ROOT / ".ci" / "run").read_text()
    assert "HOUR=3600 SLOW=1800" in text
    script = tmp_path / ".ci" / "run"
    script.write_text(text.replace("SLOW=1800", "SLOW=1") if fails == "hangs" else text)
    stand_in = tmp_path / "bin" / "make"
    stand_in.parent.mkdir()
    hang = 'if [ "$1" = test-slow ]; then sleep 60; fi\n' if fails == "hangs" else ""
    stand_in.write_text(f'#!/bin/sh\necho "$1" >> made.log\n{hang}[ "$1" != "{fails}" ] || exit 2\n')
    stand_in.chmod(0o755)
    environment = {**os.environ, "PATH": f"{stand_in.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", script], env=environment, capture_output=True, text=True, timeout=50)
    assert done.returncode == status and told in done.stdout
    assert (tmp_path / "made.log").read_text().split() == ["setup", "lint", "test-slow", "test"]


def test_skipped_tests_are_told_with_their_reason(workshop):
    folder, stand_in = workshop
    stand_in(".venv/bin/python")
    for target in ("test", "test-slow"):
        printed = make(folder, "-n", target, stand_in("python")).stdout
        (command,) = [line for line in printed.splitlines() if " -m pytest " in line]
        assert " -rs " in command
