"""Which files a path names: links followed once, and whatever is left out said in a line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from unmask.data.finding import files_of
from unmask.errors import UserError


def found(spec: Path | str, tell: list[str] | None = None) -> list[str]:
    return [file.path.read_text() for file in files_of(str(spec), None if tell is None else tell.append)]


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """Two files here, two in a folder that is linked, and every kind of loop."""
    for name in ("src/a.txt", "src/deep/b.txt", "elsewhere/c.txt", "elsewhere/in/d.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(Path(name).stem)
    (tmp_path / "src" / "0more").symlink_to("../elsewhere")
    (tmp_path / "src" / "again").symlink_to("../elsewhere/in")
    (tmp_path / "src" / "loop").symlink_to(".")
    (tmp_path / "src" / "loop2").symlink_to("loop2")
    (tmp_path / "elsewhere" / "back").symlink_to("../src")
    (tmp_path / "src" / "deep" / "same").symlink_to("../deep")
    (tmp_path / "src" / "gone.txt").symlink_to("nowhere")
    (tmp_path / "src" / "0copy.txt").symlink_to("a.txt")
    return tmp_path


@pytest.mark.parametrize("spec", ["src", "src/*", "src/**", "src/**/*.txt", "**/*.txt", "."])
def test_each_real_folder_is_read_once(linked: Path, spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(linked)
    told: list[str] = []
    assert sorted(found(spec, told)) == ["a", "b", "c", "d"]
    (line,) = told
    assert line.startswith("left out ") and "src/gone.txt" in line and line.endswith(": a link to nothing")


def test_loops_of_links_end(tmp_path: Path) -> None:
    """Two loops are two to the fortieth ways to a file, which `glob` walks."""
    for number in range(3):
        (tmp_path / f"loop{number}").symlink_to(".")
    (tmp_path / "a.txt").write_text("a")
    for spec in (tmp_path, tmp_path / "**", tmp_path / "**" / "*.txt"):
        code = f"from unmask.data.finding import files_of; print(len(files_of({str(spec)!r})))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
        assert done.stdout == "1\n"


def test_a_linked_folder_keeps_its_own_name_where_it_has_one(linked: Path) -> None:
    """So a link beside it changes no fingerprint."""
    keys = {file.key for file in files_of(str(linked / "src"))}
    assert {"a.txt", "deep/b.txt", "0more/c.txt", "0more/in/d.txt"} == keys


def manifest(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"schema_version": 1, "settings": {"sources": ["x"]}}, indent=1))
    (folder / "tokenizer.json").write_text("{}")


def test_what_this_program_made_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    manifest(tmp_path / "data" / "prepared")
    (tmp_path / "runs" / "mdm" / "checkpoints" / "step-1").mkdir(parents=True)
    for name in ("recipe.yaml", "versions.json", "metrics.jsonl", "checkpoints/step-1/config.json"):
        (tmp_path / "runs" / "mdm" / name).write_text("{}")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.json").write_text('{"name": "another program\'s"}')
    for spec in (tmp_path, tmp_path / "*", tmp_path / "**"):
        told: list[str] = []
        assert found(spec, told) == ["a", '{"name": "another program\'s"}']
        assert told == [
            f"left out {tmp_path}/data/prepared: a folder of prepared data",
            f"left out {tmp_path}/runs/mdm: the folder of a run",
        ]
    with pytest.raises(
        UserError, match="prepared' holds no text: .*prepared is left out, since it is a folder of prep"
    ):
        files_of(str(tmp_path / "data" / "prepared"))
    assert found(tmp_path / "data" / "prepared" / "tokenizer.json") == ["{}"]  # named itself, it is what is meant


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    os.mkfifo(tmp_path / "pipe")
    told: list[str] = []
    assert found(tmp_path, told) == ["a"] and told == [f"left out {tmp_path}/pipe: no regular file"]
    with pytest.raises(UserError, match="pipe' is no regular file"):
        files_of(str(tmp_path / "pipe"))
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(UserError, match="link' is a link to nothing"):
        files_of(str(tmp_path / "link"))


def test_many_that_are_left_out_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    for number in range(30):
        (tmp_path / f"l{number:02d}").symlink_to("nowhere")
    told: list[str] = []
    assert found(tmp_path, told) == ["a"]
    assert len(told) == 1 and told[0].endswith(f"{tmp_path}/l04 and 25 more: a link to nothing")


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("**", ["a.md", "d/a.txt", "d/e/b.txt", "d/e/f.md", "x.txt"]),
        ("**/*.txt", ["d/a.txt", "d/e/b.txt", "x.txt"]),
        ("d/**/*.txt", ["d/a.txt", "d/e/b.txt"]),
        ("**/e/*", ["d/e/b.txt", "d/e/f.md"]),
        ("**/e", ["d/e/b.txt", "d/e/f.md"]),
        ("**/?.txt", ["d/a.txt", "d/e/b.txt", "x.txt"]),
        ("*/**/*.md", ["d/e/f.md"]),
        ("[dx]*", ["d/a.txt", "d/e/b.txt", "d/e/f.md", "x.txt"]),
        ("**/", ["a.md", "d/a.txt", "d/e/b.txt", "d/e/f.md", "x.txt"]),
    ],
)
def test_globs(tmp_path: Path, pattern: str, wanted: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("x.txt", "a.md", "d/a.txt", "d/e/b.txt", "d/e/f.md", "d/.hidden", ".h/y.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert found(f"{tmp_path}/{pattern}") == wanted
    monkeypatch.chdir(tmp_path)
    assert found(pattern) == wanted
