"""A model folder's own defaults of decoding: written, read, refused, left behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import unmask
from unmask.errors import UserError
from unmask.model.config import ModelConfig
from unmask.model.defaults import FILE, read_file, remove_defaults, write_defaults
from unmask.model.folder import save
from unmask.model.transformer import Transformer

OPTIONS: dict[str, Any] = {"order": "confidence", "quota": "threshold:0.9", "block": 8, "steps_per_token": 0.5}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    network = Transformer(ModelConfig(n_layer=1, n_head=2, n_embd=16, vocab_size=9, block_size=32), seed=0)
    return save(tmp_path / "model", network)


def test_there_and_back(folder: Path, tmp_path: Path) -> None:
    assert unmask.load(folder).defaults == {} and read_file(folder) is None
    assert write_defaults(folder, OPTIONS, {"target": "speed"}) == folder / FILE
    model = unmask.load(folder)
    assert model.defaults == OPTIONS
    whole = read_file(folder)
    assert whole is not None and whole["measured"] == {"target": "speed"} and whole["schema_version"] == 1
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", FILE, "model.safetensors"]

    shutil.copytree(folder, tmp_path / "copy")
    assert unmask.load(tmp_path / "copy").defaults == OPTIONS, "a copy keeps them"
    assert unmask.load(save(tmp_path / "again", model.network)).defaults == {}, "new weights have none"
    assert unmask.load(save(folder, model.network)).defaults == {}, "nor what replaces the folder"
    assert not remove_defaults(folder)


def test_taken_away(folder: Path) -> None:
    write_defaults(folder, OPTIONS, {})
    assert remove_defaults(folder) and unmask.load(folder).defaults == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON"),
        ([], "has no `options` entry"),
        ({"schema_version": 1}, "has no `options` entry"),
        ({"schema_version": 2, "options": {}}, "schema_version is 2, this version reads 1"),
        ({"options": {}}, "schema_version is None"),
        ({"schema_version": 1, "options": {"ordr": "x"}}, "options.ordr is unknown (did you mean 'order'?)"),
        ({"schema_version": 1, "options": {"order": 3}}, "options.order is 3, which is not text"),
        ({"schema_version": 1, "options": {"block": 1.5}}, "options.block is 1.5, which is not a whole number"),
        ({"schema_version": 1, "options": {"block": True}}, "options.block is True"),
        ({"schema_version": 1, "options": {"temperature": "hot"}}, "options.temperature is 'hot', which is not a"),
        ({"schema_version": 1, "options": {"steps_per_token": 0}}, "options.steps_per_token is 0, which is not above"),
    ],
)
def test_a_bad_file_is_named(folder: Path, content: Any, message: str) -> None:
    (folder / FILE).write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(UserError) as caught:
        unmask.load(folder)
    assert message in str(caught.value) and FILE in str(caught.value) and "\n" not in str(caught.value)


def test_nothing_wrong_is_written(folder: Path) -> None:
    with pytest.raises(UserError, match="options.order is 5"):
        write_defaults(folder, {"order": 5}, {})
    assert not (folder / FILE).exists()
