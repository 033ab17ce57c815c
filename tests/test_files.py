"""Text files that are whole or not there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from unmask.errors import UserError
from unmask.files import parse_json, write_tensors, write_whole


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
        ("from unmask.bench.tune import read_sweep as f; f(folder / 'result.json', folder)", "result.json"),
        ("from unmask.data.manifest import Manifest; Manifest.load(folder)", "manifest.json"),
        ("from unmask.model.tokenizers import Tokenizer; Tokenizer.from_file(folder)", "tokenizer.json"),
        ("from unmask.model.tokenizers import _declared_eos as f; f([folder / 'config.json'])", "config.json"),
        ("from unmask.decoding.trace import load_trace as f; f(folder / 'trace.json')", "trace.json"),
    ],
)
def test_deep_json_is_one_line_wherever_a_file_is_read(tmp_path, call, name):
    (tmp_path / name).write_text(DEEP)
    with pytest.raises(UserError, match=name) as caught:
        exec(call, {"folder": tmp_path})
    assert "\n" not in str(caught.value) and "deep" in str(caught.value).lower() or "recursion" in str(caught.value)
