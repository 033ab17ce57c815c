"""The manifest of prepared data."""

from __future__ import annotations

import json

import pytest

from unmask.data.manifest import Manifest


@pytest.fixture
def folder(make, texts, tmp_path):
    make(sources=[texts], out=tmp_path / "data", shard_tokens=1000)
    return tmp_path / "data"


def test_the_manifest_gives_back_itself(folder):
    manifest = Manifest.load(folder)
    assert json.loads((folder / "manifest.json").read_text()) == json.loads(manifest.to_json())
    assert manifest["vocab_size"] == 257 and not manifest.created
    assert "validation" in manifest.summary()
