"""Text files that are whole or not there."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from unmask.errors import UserError
from unmask.files import cache_folder, clear_leftovers, parse_json, write_cached, write_tensors, write_whole
from unmask.model.config import ModelConfig
from unmask.model.folder import save
from unmask.model.transformer import Transformer


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
    with pytest.raises(UserError, match="missing/a.json cannot be written: there is no folder"):
        write_whole(tmp_path / "missing" / "a.json", "text")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="is a folder; give a file"):
        write_whole(tmp_path / "folder", "text")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_tensors_get_the_permissions_of_the_umask(tmp_path):
    before = os.umask(0o022)
    try:
        write_tensors(tmp_path / "a.safetensors", {"x": torch.ones(3)})
        os.umask(0o077)
        write_tensors(tmp_path / "b.safetensors", {"x": torch.ones(3)})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.safetensors").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "b.safetensors").stat().st_mode) == 0o600


def test_the_same_tensors_are_the_same_bytes(tmp_path):
    tensors = {"x": torch.arange(6).view(2, 3), "y": torch.ones(2)}
    metadata = {name: name * 3 for name in "zyxwvutsrqponmé"}
    written = {write_tensors(tmp_path / f"{i}.safetensors", tensors, metadata).read_bytes() for i in range(8)}
    assert len(written) == 1
    with safe_open(tmp_path / "0.safetensors", "pt") as file:
        assert file.metadata() == metadata
        assert torch.equal(file.get_tensor("x"), tensors["x"])


DEAD = 2**22 + 1  # above any process number


def test_what_dead_writers_left_goes_with_the_next_write(tmp_path):
    path = tmp_path / "a.json"
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        others = {f".a.json.partial-{sleeper.pid}", f".b.json.partial-{DEAD}", ".a.json.partial"}
        for name in (f".a.json.partial-{DEAD}", *others):
            (tmp_path / name).write_text("half")
        (tmp_path / f".a.json.old-{DEAD}").mkdir()
        (tmp_path / f".a.json.old-{DEAD}" / "x").write_text("old")
        path.write_text("before")
        write_whole(path, "after")
        # A writer that lives, another's file, and what is no writer's name stay.
        assert {p.name for p in tmp_path.iterdir()} == {"a.json", *others}
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_folder_that_was_set_aside_and_not_replaced_comes_back(tmp_path):
    old = tmp_path / f".model.old-{DEAD}"
    old.mkdir()
    (old / "config.json").write_text("{}")
    (tmp_path / f".model.partial-{DEAD}").mkdir()
    clear_leftovers(tmp_path / "model")
    assert [p.name for p in tmp_path.iterdir()] == ["model"] and (tmp_path / "model" / "config.json").is_file()
    clear_leftovers(tmp_path / "nowhere" / "model")


KILLED = """
import os, sys
from pathlib import Path
from unmask.model import folder
from unmask.model.config import ModelConfig
from unmask.model.transformer import Transformer
network = Transformer(ModelConfig(n_layer=1, n_head=2, n_embd=8, block_size=16, vocab_size=20))
if sys.argv[2] == "write":
    folder.sync_folder = lambda path: os.kill(os.getpid(), 9)
elif sys.argv[2] == "swap":
    folder.save(sys.argv[1], network)
    rename = Path.rename
    Path.rename = lambda self, to: os.kill(os.getpid(), 9) if ".partial-" in self.name else rename(self, to)
folder.save(sys.argv[1], network)
"""


@pytest.mark.parametrize("when", ["write", "swap"])
def test_a_model_folder_whose_writer_was_killed(tmp_path, when):
    command = [sys.executable, "-c", KILLED, str(tmp_path / "model")]
    assert subprocess.run([*command, when], timeout=100).returncode == -9
    left = {p.name.rpartition("-")[0] for p in tmp_path.iterdir()}
    assert left == {".model.partial"} | ({".model.old"} if when == "swap" else set())
    network = Transformer(ModelConfig(n_layer=1, n_head=2, n_embd=8, block_size=16, vocab_size=20))
    save(tmp_path / "model", network)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
def test_json_of_others_is_refused_in_one_line():
    assert parse_json('\ufeff{"a": [1]}') == parse_json(b'{"a": [1]}') == {"a": [1]}
    for text in ("[" * 50_000 + "]" * 50_000, '{"a":' * 50_000 + "1" + "}" * 50_000, "1" * 5000, "{", ""):
        with pytest.raises(ValueError) as caught:
            parse_json(text)
        assert "\n" not in str(caught.value)


DEEP = '{"schema_version": 1, "model": ' + "[" * 50_000 + "]" * 50_000 + "}"


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("from unmask.model.folder import read_config as f; f(folder)", "config.json"),
        ("from unmask.model.defaults import read_file as f; f(folder)", "generation.json"),
        ("from unmask.interop.files import read_object as f; f(folder / 'config.json')", "config.json"),
        ("from unmask.evaluation.paired import read_result as f; f(folder / 'result.json')", "result.json"),
        ("from unmask.bench.decode.tune import read_sweep as f; f(folder / 'result.json', folder)", "result.json"),
        ("from unmask.data.manifest import Manifest; Manifest.load(folder)", "manifest.json"),
        ("from unmask.model.tokenizers import Tokenizer; Tokenizer.from_file(folder)", "tokenizer.json"),
        ("from unmask.model.special_tokens import declared as f; f([folder / 'config.json'], 'x')", "config.json"),
        ("from unmask.decoding.show.trace import load_trace as f; f(folder / 'trace.json')", "trace.json"),
    ],
)
def test_deep_json_is_one_line_wherever_a_file_is_read(tmp_path, call, name):
    (tmp_path / name).write_text(DEEP)
    with pytest.raises(UserError, match=name) as caught:
        exec(call, {"folder": tmp_path})
    assert "\n" not in str(caught.value) and "deep" in str(caught.value).lower() or "recursion" in str(caught.value)


def test_the_cache_lies_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNMASK_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "unmask"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_folder() == tmp_path / "x" / "unmask"
    monkeypatch.setenv("UNMASK_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    assert not list(tmp_path.iterdir()), "nothing is made before it is needed"


def test_a_cache_makes_its_folder_and_says_nothing_where_it_cannot(tmp_path: Path) -> None:
    write_cached(tmp_path / "deep" / "a.json", "text")
    assert (tmp_path / "deep" / "a.json").read_text() == "text"
    write_cached(tmp_path / "deep" / "a.json" / "b.json", "text")  # a file stands where the folder would be
